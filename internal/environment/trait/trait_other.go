//go:build !linux

package trait

import (
	"encoding/json"
	"io"
	"os"

	"github.com/stead-dev/stead"
)

// Write lists nothing: only engines make layers here, as archives that hold all of it.
func Write(_ *os.Root, w io.Writer) error {
	if err := json.NewEncoder(w).Encode(header{Version: version}); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "list the owners and marks of a layer")
	}
	return nil
}

// Apply does nothing: see Write. Layers that are no archives are for drivers that are not here.
func Apply(*os.Root, io.Reader, func(bytes, files int64) error) error { return nil }
