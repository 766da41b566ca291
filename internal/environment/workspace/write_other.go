//go:build !linux

package workspace

import (
	"errors"
	"io/fs"

	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// writeWhole makes a file that is not there in the directory that is entered, with its bytes, mode and time.
func (r *restorer) writeWhole(in *held, name string, e manifest.Entry, data []byte) error {
	f, err := r.create(in.root, name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(fs.FileMode(e.Mode)), f.Close(), setMTime(in.root, name, e.MTime))
}

// learnMask: modes are always set here.
func (r *restorer) learnMask() {}
