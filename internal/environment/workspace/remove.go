package workspace

import (
	"errors"
	"io/fs"
	"os"

	"github.com/stead-dev/stead"
)

// Remove removes the workspace at hostDir with everything in it, whatever modes are in the way, which
// os.RemoveAll does not do for its owner. No process may work in it. One that is not there is no error.
func Remove(hostDir string) error {
	err := os.RemoveAll(hostDir)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return stead.Wrap(stead.KindUnavailable, err, "remove workspace")
	}
	d, err := Open(hostDir)
	if err != nil {
		return err
	}
	d.unlockSelf()
	if err := errors.Join(removeBelow(d.root), d.Close(), os.RemoveAll(hostDir)); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "remove workspace")
	}
	return nil
}
