package docker

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/stead-dev/stead"
)

// placeGuest puts the guest into a directory that the engine sees, under a name made of its content:
// a server that is replaced while it runs still mounts its own guest.
func placeGuest(opts Options) (string, error) {
	source, err := findGuest(opts)
	if err != nil {
		return "", err
	}
	in, err := os.Open(source)
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "open the guest program")
	}
	defer in.Close()
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "make the docker driver's directory")
	}
	out, err := os.CreateTemp(opts.Dir, "guest-*.tmp")
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "store the guest program")
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), in)
	if err == nil {
		err = out.Chmod(0o755)
	}
	err = errors.Join(err, out.Close())
	name, absErr := filepath.Abs(filepath.Join(opts.Dir, "guest-"+hex.EncodeToString(sum.Sum(nil))[:16]))
	err = errors.Join(err, absErr)
	if err == nil {
		err = os.Rename(out.Name(), name)
	}
	if err != nil {
		_ = os.Remove(out.Name()) // the first error matters
		return "", stead.Wrap(stead.KindUnavailable, err, "store the guest program")
	}
	return name, nil
}

// findGuest returns the program that becomes the guest.
func findGuest(opts Options) (string, error) {
	if opts.Guest != "" {
		return opts.Guest, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	v, err := newAPI(opts.Socket).hello(ctx)
	if err != nil {
		return "", err
	}
	arch := v.Arch
	if arch == "" {
		arch = runtime.GOARCH
	}
	self, err := os.Executable()
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "find the own program")
	}
	beside := filepath.Join(filepath.Dir(self), "stead-guest-linux-"+arch)
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	if runtime.GOOS == "linux" && runtime.GOARCH == arch && static("/proc/self/exe") {
		return "/proc/self/exe", nil // the very file that runs, whatever has been put in its place
	}
	e := stead.Errorf(stead.KindUnavailable, "there is no guest program for the engine's containers, which are linux/%.20s", arch)
	e.Hint = "Build it with CGO_ENABLED=0 GOOS=linux GOARCH=" + arch + " go build -o stead-guest-linux-" + arch + " ./cmd/stead-guest and put it beside the stead binary."
	return "", e
}

// static says that a Linux program needs no loader, so that it runs in every image.
func static(name string) bool {
	f, err := elf.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}
