// Package inside is the first process inside a gVisor sandbox: the same program as outside, by another
// name. Everything that it says is hostile to the outside, as all of the inside is.
//
// Shape: one JSON object a line, orders on standard input, answers on standard output:
//
//	Order{ID, Claim{UID, Services, Egress}}  show the workspace and the services, open the bridge
//	Order{ID, Kill: group}                   kill a process group
//	Order{ID, Dir: path}                     refuse what is there and no directory
//	Order{ID, Sweep{Running}}                kill what belongs to no command that runs
//	Answer{ID, Error, Killed}                for each
//
// It reaps the processes whose parents are gone, and ends, and with it the sandbox, when standard
// input does. The bridge passes connections from loopback port EgressPort on to the egress socket.
//
// Limits: lines have at most MaxLine bytes, the bridge maxConnections at once.
package inside

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

const (
	// Slot is a directory in which the outside makes the workspace and the services appear, after the
	// start: mounts can't be added at their own places then. They are bound from here.
	Slot = wire.InsideDir + "/slot"
	// MaxLine is the longest order or answer.
	MaxLine = 64 << 10
)

// Names in Slot.
const (
	SlotWorkspace = "workspace"
	SlotServices  = "services"
)

// Order is what the outside wants: an ID, and one of the others.
type Order struct {
	ID    uint64 `json:"id"`
	Claim *Claim `json:"claim,omitempty"`
	Kill  int    `json:"kill,omitempty"`
	Dir   string `json:"dir,omitempty"`
	Sweep *Sweep `json:"sweep,omitempty"`
}

// Claim shows what is in Slot.
type Claim struct {
	UID      int  `json:"uid"` // who may connect to the sockets
	Services bool `json:"services"`
	Egress   bool `json:"egress"`
}

// Answer says how an Order went.
type Answer struct {
	ID    uint64 `json:"id"`
	Error string `json:"error,omitempty"`
	// Killed is how many a Sweep killed, or more.
	Killed int `json:"killed,omitempty"`
}

// init leaves the program before the packages of gVisor come to life, whose import paths sort behind
// this one's: they take 15 ms outside and several times that inside, and memory in every sandbox.
func init() {
	if len(os.Args) > 0 && os.Args[0] == wire.InsideProgram {
		os.Exit(run(os.Args[1:]))
	}
}

func run(args []string) int {
	if len(args) == 1 && args[0] == wire.ProbeArg {
		return probe()
	}
	if len(args) > 1 && args[0] == wire.ExecArg {
		fmt.Fprintln(os.Stderr, execute(args[1:]))
		return notFound
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve() error {
	r := &reaper{}
	go r.reap()
	in := bufio.NewReaderSize(os.Stdin, MaxLine)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil // the outside is gone
		}
		var o Order
		if err := json.Unmarshal(line, &o); err != nil {
			return err
		}
		a := Answer{ID: o.ID}
		if a.Killed, err = o.do(r); err != nil {
			a.Error = fmt.Sprintf("%.500v", err)
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func (o Order) do(r *reaper) (killed int, err error) {
	switch {
	case o.Claim != nil:
		return 0, o.Claim.do()
	case o.Kill > 1:
		if err := syscall.Kill(-o.Kill, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			return 0, err
		}
		return 0, nil
	case o.Sweep != nil:
		return o.Sweep.do(r), nil
	}
	if o.Dir != "" {
		if info, err := os.Stat(o.Dir); err == nil && !info.IsDir() {
			return 0, syscall.ENOTDIR
		}
		return 0, nil // what this user can't see is for gVisor to judge
	}
	return 0, errors.New("an order without anything to do")
}

func (c Claim) do() error {
	if err := syscall.Mount(Slot+"/"+SlotWorkspace, wire.WorkspaceDir, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("show the workspace: %w", err)
	}
	if c.Services {
		if err := os.MkdirAll(wire.ServicesDir, 0o755); err != nil { // in a /run of memory
			return err
		}
		if err := syscall.Mount(Slot+"/"+SlotServices, wire.ServicesDir, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("show the services: %w", err)
		}
	}
	if c.Egress {
		return bridge(c.UID)
	}
	return nil
}
