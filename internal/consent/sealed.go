package consent

import (
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
)

// Sealed says where consents, and the clients that authorization servers registered, are: a part of each is sealed.
func Sealed() []reseal.Place {
	label := func(d document.Document) seal.Label {
		return seal.Label{Project: d.Project, Kind: string(d.Kind), ID: d.ID}
	}
	return []reseal.Place{{Kind: kind, Label: label}, {Kind: clientKind, Label: label}}
}
