package computer

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/tool"
)

// processes are the background processes of all sessions of the node.
type processes struct {
	began Began

	mu   sync.Mutex
	next int
	all  map[stead.SessionKey]map[string]*proc
}

func newProcesses(began Began) *processes {
	return &processes{began: began, all: map[stead.SessionKey]map[string]*proc{}}
}

// proc is one background process.
type proc struct {
	id     string
	env    environment.Environment
	args   shellArgs
	stdin  io.WriteCloser
	cancel context.CancelFunc

	mu      sync.Mutex
	output  []byte
	dropped int64
	exit    *environment.Exit
	killed  bool // by the tool
	err     error
	changed chan struct{} // closed and replaced when there is something new
}

// start runs a command in the background. It returns once the command surely runs, or has ended.
func (ps *processes) start(w work, args shellArgs) (tool.Result, error) {
	in, stdin := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	p := &proc{env: w.env, args: args, stdin: stdin, cancel: cancel, changed: make(chan struct{})}
	if err := ps.add(w.Session, p); err != nil {
		cancel()
		return failed(err)
	}
	c := args.toCommand()
	c.OutputBytes, c.Timeout = environment.Unbounded, environment.MaxCommandTime
	if args.TimeoutMS > 0 {
		c.Timeout = time.Duration(args.TimeoutMS) * time.Millisecond
	}
	c.Stdin = io.MultiReader(strings.NewReader(args.Stdin), in)
	over := ps.began(w.Session, args.Command)
	go func() {
		defer over()
		exit, err := w.env.Exec(ctx, c, p.print)
		cancel()
		_ = in.Close() // who writes to it is told
		p.ended(exit, err)
	}()
	const begin = 200 * time.Millisecond
	text := p.read(context.Background(), begin)
	return said(fmt.Sprintf("Process %s runs in the background.\n%s", p.id, text)), nil
}

// add gives a process its id. Those of an environment that is gone, and ended ones nobody asked
// about, make room.
func (ps *processes) add(key stead.SessionKey, p *proc) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	mine := ps.all[key]
	if mine == nil {
		mine = map[string]*proc{}
		ps.all[key] = mine
	}
	for id, other := range mine {
		if other.env != p.env {
			delete(mine, id)
		}
	}
	for id, other := range mine {
		if len(mine) >= MaxProcesses && other.over() {
			delete(mine, id)
		}
	}
	if len(mine) >= MaxProcesses {
		return stead.Errorf(stead.KindLimited, "%d background processes run already, which is the limit: end one first", MaxProcesses)
	}
	ps.next++
	p.id = "p" + strconv.Itoa(ps.next)
	mine[p.id] = p
	go ps.forget(key, p)
	return nil
}

// forget drops the processes of an environment that ends.
func (ps *processes) forget(key stead.SessionKey, p *proc) {
	<-p.env.Done()
	p.cancel()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if mine := ps.all[key]; mine[p.id] == p {
		delete(mine, p.id)
		if len(mine) == 0 {
			delete(ps.all, key)
		}
	}
}

func (ps *processes) find(w work, id string) *proc {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.all[w.Session][id]; p != nil && p.env == w.env {
		return p
	}
	return nil
}

func (p *proc) print(c environment.Chunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output = append(p.output, c.Data...)
	if over := len(p.output) - MaxBufferBytes; over > 0 {
		p.output = append(p.output[:0], p.output[over:]...)
		p.dropped += int64(over)
	}
	p.wake()
}

func (p *proc) ended(exit environment.Exit, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exit, p.err = &exit, err
	p.wake()
}

func (p *proc) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *proc) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit != nil
}

// settle is how long a process that has begun to print is given to finish what it says.
const settle = 50 * time.Millisecond

// read takes out what was printed. It waits for something, or for the end, at most so long.
func (p *proc) read(ctx context.Context, wait time.Duration) string {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		p.mu.Lock()
		changed, over, some := p.changed, p.exit != nil, len(p.output) > 0
		p.mu.Unlock()
		if over {
			break
		}
		var quiet <-chan time.Time
		if some {
			quiet = time.After(settle)
		}
		select {
		case <-changed:
			continue
		case <-quiet:
		case <-timer.C:
		case <-ctx.Done():
		}
		break
	}
	return p.take()
}

// why says in words what ended a process that did not end by itself.
func (p *proc) why() string {
	switch {
	case p.exit.Reason == environment.ReasonCancelled && p.killed:
		return "killed, as you asked"
	case p.exit.Reason == environment.ReasonCancelled:
		return "killed with its environment"
	case p.exit.Reason == environment.ReasonTimeout && p.args.TimeoutMS == 0:
		return fmt.Sprintf("killed: it ran for %v, which is the limit", environment.MaxCommandTime)
	}
	return reason(*p.exit, p.args)
}

func (p *proc) kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	p.cancel()
}

func (p *proc) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	if p.dropped > 0 {
		fmt.Fprintf(&b, "[%d earlier bytes of output were dropped]\n", p.dropped)
	}
	text := p.output
	if over := len(text) - MaxOutputBytes; over > 0 {
		fmt.Fprintf(&b, "[%d earlier bytes of output were left out]\n", over)
		text = text[over:]
	}
	b.WriteString(strings.ToValidUTF8(string(text), "\uFFFD"))
	p.output, p.dropped = nil, 0
	switch {
	case p.exit == nil:
		b.WriteString("\n[it is running]")
	case p.err != nil:
		fmt.Fprintf(&b, "\n[it ended: %s]", p.err)
	case p.exit.Reason != "":
		fmt.Fprintf(&b, "\n[it was %s]", p.why())
	default:
		fmt.Fprintf(&b, "\n[it ended with exit code %d]", p.exit.Code)
	}
	return b.String()
}
