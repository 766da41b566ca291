// Command stead-guest is the process that Stead puts into containers which an engine on another kind
// of machine runs: on macOS the engine is a Linux virtual machine, where the stead binary itself can't
// run. Built for the engine's machine, static, and laid beside the stead binary:
//
//	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -o stead-guest-linux-arm64 ./cmd/stead-guest
//
// In a cluster an init container puts it where other containers of the pod find it, without a shell:
//
//	stead-guest install /.stead/stead-guest-init
//
// On Linux it is smaller than the stead binary, which can do the same, and starts faster.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stead-dev/stead/internal/environment/guest"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "install" {
		if err := install(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "stead-guest:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(guest.Main(os.Args[1:]))
}

// install copies the program that runs.
func install(name string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
