package gvisor

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/stead-dev/stead"
)

// find returns the path of a static stead-gvisor.
func (c Config) find() (string, error) {
	path := c.Binary
	if path == "" {
		path = beside()
	}
	if path == "" {
		found, err := exec.LookPath(program)
		if err != nil {
			return "", missing(err, "the program %s is neither beside stead nor in PATH", program)
		}
		path = found
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", missing(err, "find %s", program)
	}
	if err := static(path); err != nil {
		return "", err
	}
	return path, nil
}

// beside is the program next to the running one, or "".
func beside() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	path := filepath.Join(filepath.Dir(self), program)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return path
}

// static refuses a program that needs a loader: gVisor starts itself again in an empty root.
func static(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return missing(err, "%s can't be read as a program", path)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return missing(nil, "%s is linked dynamically, and gVisor can only start a static program again in its empty root", path)
		}
	}
	return nil
}

func missing(err error, format string, args ...any) error {
	e := stead.Wrap(stead.KindUnavailable, err, format, args...)
	e.Hint = remedy
	return e
}
