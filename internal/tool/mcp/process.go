package mcp

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// process is the stdio transport of the operator's servers: one process of this host a link.
//
// The SDK's own CommandTransport is not used: it ends only the process and not its children, its
// writes can't be called off, and a line on stdout that is no JSON breaks it.
type process struct {
	config Configured
	log    *slog.Logger
	life   context.Context // its end kills
	work   *sync.WaitGroup
}

// Connect implements the SDK's Transport: it starts the process.
func (p *process) Connect(ctx context.Context) (sdk.Connection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := exec.Command(p.config.Command, p.config.Args...)
	cmd.Dir = p.config.Dir
	cmd.Env = environment(p.config.Env)
	ownGroup(cmd)
	ours, theirs, err := pipes()
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	err = cmd.Start()
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, fmt.Errorf("start the tool server's command: %w", err)
	}
	log := p.log.With("server", p.config.Label)
	c := &child{cmd: cmd, stdin: ours[0], stdout: ours[1], stderr: ours[2], log: log, exited: make(chan struct{})}
	l := newLines(c, log)
	p.work.Go(c.await)
	p.work.Go(l.readMessages)
	p.work.Go(func() { readLog(log, c.stderr) })
	context.AfterFunc(p.life, c.kill)
	return l, nil
}

// environment is the little that a server needs of ours, and what the operator gives it.
func environment(more map[string]string) []string {
	env := []string{}
	for _, name := range []string{"PATH", "HOME", "LANG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range more {
		env = append(env, name+"="+value) // the last of equal names counts
	}
	return env
}

// pipes makes stdin, stdout and stderr: our ends and the process's.
func pipes() (ours, theirs []*os.File, err error) {
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours)
			closeAll(theirs)
			return nil, nil, err
		}
		if i == 0 {
			r, w = w, r
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	return ours, theirs, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// child is a process of this host. It implements peer.
type child struct {
	cmd                   *exec.Cmd
	stdin, stdout, stderr *os.File
	log                   *slog.Logger
	exited                chan struct{} // closed when the process and its group are gone
}

// Read implements peer.
func (c *child) Read(p []byte) (int, error) { return c.stdout.Read(p) }

func (c *child) send(ctx context.Context, message []byte) error {
	calledOff := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.stdin.SetWriteDeadline(time.Unix(1, 0))
		close(calledOff)
	})
	n, err := c.stdin.Write(message)
	if !stop() {
		<-calledOff
		c.stdin.SetWriteDeadline(time.Time{})
	}
	if err != nil && n > 0 {
		c.stdin.Close() // the server would take the next message for the rest of this one
	}
	return err
}

// end does as the protocol asks: close stdin, then signal, then kill.
func (c *child) end() {
	c.stdin.Close()
	if !c.exitsWithin(CloseGrace / 4) {
		terminateGroup(c.cmd)
		if !c.exitsWithin(CloseGrace / 4) {
			killGroup(c.cmd)
			<-c.exited
		}
	}
	c.stdout.Close()
	c.stderr.Close()
}

func (c *child) exitsWithin(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.exited:
		return true
	case <-t.C:
		return false
	}
}

func (c *child) kill() {
	select {
	case <-c.exited: // the number may belong to somebody else by now
	default:
		killGroup(c.cmd)
	}
}

// await reaps the process, and ends what it left behind in its group: a grandchild that holds
// stdout would keep the connection open for ever.
func (c *child) await() {
	err := c.cmd.Wait()
	killGroup(c.cmd)
	close(c.exited)
	c.log.Debug("tool server process ended", "status", c.cmd.ProcessState.String(), "err", err)
}
