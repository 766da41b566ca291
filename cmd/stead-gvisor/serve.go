package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// memoryPause is the time between two looks at the memory in use, where no control group looks after it.
const memoryPause = 100 * time.Millisecond

// supervisor answers one driver about one sandbox.
type supervisor struct {
	conn *wire.Conn
	box  *box // nil before Boot
}

// supervise serves until the driver hangs up. When it returns the process ends, and with it all of
// its namespaces.
func supervise(socket *os.File) error {
	conn, err := wire.New(socket)
	if err != nil {
		return err
	}
	s := &supervisor{conn: conn}
	if err := conn.Send(wire.Reply{Hello: &wire.Hello{Version: wire.Version, GVisor: gvisorVersion()}}); err != nil {
		return err
	}
	for {
		var q wire.Request
		files, err := conn.Receive(&q)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.answer(q, files)
	}
}

// answer does what is asked. Boot and Claim are waited for: nothing can be done before them.
func (s *supervisor) answer(q wire.Request, files []*os.File) {
	defer func() {
		if q.Exec == nil {
			closeFiles(files)
		}
	}()
	var err error
	var r wire.Reply
	switch {
	case q.Boot != nil && s.box == nil:
		if s.box, err = boot(*q.Boot); err == nil {
			r.Booted = &wire.Booted{}
			go s.endWithBox()
			if q.Boot.MemoryBytes > 0 {
				go s.endAbove(uint64(q.Boot.MemoryBytes))
			}
		}
	case q.Claim != nil && s.box != nil:
		r.Claimed, err = s.box.claim(*q.Claim)
	case q.Exec != nil && s.box != nil && len(files) == wire.MaxFiles:
		go s.exec(q, files)
		return
	case q.Kill != nil && s.box != nil:
		go s.reply(q.ID, wire.Reply{}, s.box.kill(q.Kill.Exec))
		return
	case q.Count != nil && s.box != nil:
		go func() {
			n, err := s.box.count()
			s.reply(q.ID, wire.Reply{Counted: n}, err)
		}()
		return
	case q.Sweep != nil && s.box != nil:
		go func() {
			n, err := s.box.sweep()
			s.reply(q.ID, wire.Reply{Swept: n}, err)
		}()
		return
	default:
		closeFiles(files)
		err = errors.New("out of order: boot, claim, and then commands")
	}
	s.reply(q.ID, r, err)
}

// exec runs a command and says when it started and when it ended.
func (s *supervisor) exec(q wire.Request, files []*os.File) {
	pid, err := s.box.start(q.ID, *q.Exec, files)
	closeFiles(files) // the sandbox has its own copies
	if err != nil {
		s.reply(q.ID, wire.Reply{}, err)
		return
	}
	s.reply(q.ID, wire.Reply{Started: &wire.Started{PID: int(pid)}}, nil)
	status, err := s.box.wait(q.ID, pid)
	s.reply(q.ID, wire.Reply{Exited: &wire.Exited{Status: uint32(status)}}, err)
}

func (s *supervisor) reply(id uint64, r wire.Reply, err error) {
	if err != nil {
		r = wire.Reply{Error: err.Error()}
	}
	r.ID = id
	if s.conn.Send(r) != nil {
		os.Exit(1) // the driver is gone: so is the sandbox
	}
}

// endWithBox ends the process when the sandbox has ended.
func (s *supervisor) endWithBox() {
	status, err := s.box.container.Wait()
	fmt.Fprintf(os.Stderr, "stead-gvisor: the sandbox ended: status %#x, %v\n", uint32(status), err)
	os.Exit(1)
}

// endAbove ends the process when the inside uses more memory than that, in all its processes and its
// memory file systems together.
func (s *supervisor) endAbove(bytes uint64) {
	for range time.Tick(memoryPause) {
		u, err := s.box.container.Sandbox.Usage(false)
		if err != nil {
			return // it has ended
		}
		if u.Total > bytes {
			os.Exit(wire.ExitMemory)
		}
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
