// Command stead-guest is the process that Stead puts into containers which an engine on another kind
// of machine runs: on macOS the engine is a Linux virtual machine, where the stead binary itself can't
// run. Built for the engine's machine, static, and laid beside the stead binary:
//
//	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -o stead-guest-linux-arm64 ./cmd/stead-guest
//
// On Linux it is smaller than the stead binary, which can do the same, and starts faster.
package main

import (
	"os"

	"github.com/stead-dev/stead/internal/environment/guest"
)

func main() { os.Exit(guest.Main(os.Args[1:])) }
