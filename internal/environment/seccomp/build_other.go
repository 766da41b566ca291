//go:build !linux || !(amd64 || arm64)

package seccomp

import (
	"runtime"

	"github.com/stead-dev/stead"
)

// Build is refused: the numbers of this system's calls are not known.
func Build(Options) ([]Instruction, error) {
	return nil, stead.Errorf(stead.KindNotImplemented, "no filter of system calls for %s/%s", runtime.GOOS, runtime.GOARCH)
}

// Install is refused like Build.
func Install([]Instruction) error {
	return stead.Errorf(stead.KindNotImplemented, "no filter of system calls for %s/%s", runtime.GOOS, runtime.GOARCH)
}
