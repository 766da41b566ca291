package workload

import (
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
)

// Sealed says where the keys of workload tokens are, whose private halves are sealed.
func Sealed() reseal.Place {
	return reseal.Place{Kind: keyKind, Own: true, Label: func(d document.Document) seal.Label { return labelOf(d.ID) }}
}
