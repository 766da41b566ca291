// Command stead-gvisor holds one gVisor sandbox for the gvisor driver of stead. It is a program of
// its own so that stead itself links nothing of gVisor: see docs/decisions/0005.
//
//	stead-gvisor supervise    speaks the driver's protocol on descriptor 3; not for people
//	stead-gvisor version      says which gVisor it links
//
// Shape: the driver starts one supervisor for each sandbox, as the first process of namespaces of its
// own (processes, mounts, names, System V IPC; users too where it is not root):
//
//	stead ── socket ── supervisor ─┬─ runsc-sandbox   the kernel of the inside, and the inside's memory
//	                               └─ runsc-gofer     the only one that opens files of the host
//
// The kernel kills them all when the supervisor ends, and takes the mounts away; the supervisor ends
// with its socket, its sandbox, or its parent.
//
// Built with CGO_ENABLED=0: sandbox and gofer start themselves again in an empty root, where a dynamic
// binary finds no loader.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/google/subcommands"
	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd"
	"gvisor.dev/gvisor/runsc/specutils"

	// First of all packages here, so that the first process inside is small: see there.
	_ "github.com/stead-dev/stead/cmd/stead-gvisor/inside"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// socketFD is where the driver's socket is.
const socketFD = 3

func main() {
	// gVisor starts this program again as its own: by these names, and by the path alone.
	if name := os.Args[0]; strings.HasPrefix(filepath.Base(name), "runsc-") || name == specutils.ExePath {
		cli.Run(func(add func(subcommands.Command, string), _ *cli.Help) {
			add(new(cmd.Boot), "")
			add(new(cmd.Gofer), "")
			add(new(cmd.Umount), "")
		})
		return
	}
	if len(os.Args) != 2 {
		usage()
	}
	switch os.Args[1] {
	case "supervise":
		if err := supervise(os.NewFile(socketFD, "socket of the driver")); err != nil {
			fmt.Fprintln(os.Stderr, "stead-gvisor:", err)
			os.Exit(1)
		}
	case "version":
		fmt.Printf("stead-gvisor protocol %d, gVisor %s\n", wire.Version, gvisorVersion())
	default:
		usage()
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: stead-gvisor version\nstead starts it by itself; there is nothing to do by hand.")
	os.Exit(2)
}

// gvisorVersion is the version of the linked module.
func gvisorVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == "gvisor.dev/gvisor" {
			return m.Version
		}
	}
	return "unknown"
}
