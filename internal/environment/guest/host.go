package guest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Options say what the host's end does for an environment.
type Options struct {
	// Env is of every command, over the image's.
	Env    map[string]string
	Limits environment.Limits
	// Services is the directory whose sockets Listen forwards to; a name in Listen is a name in it.
	Services string
	// Listen maps a name in Services to where it answers inside: "tcp:HOST:PORT" or "unix:PATH". Unix
	// sockets are made by the guest, for environments that Services is not mounted into.
	Listen map[string]string
	// Link are symbolic links that the guest makes first: path → target.
	Link map[string]string
	// GiveBack is for commands that run as root over somebody else's workspace: when the conversation
	// ends, the guest gives what they made there to the workspace's owner, who could not remove it.
	GiveBack bool
}

// Client is the host's end of a conversation with one guest. It does the parts of
// environment.Environment that are about commands.
type Client struct {
	mux  *mux
	conn io.Closer
	opts Options
	seen Seen
	env  map[string]string
	work sync.WaitGroup // commands

	interrupting sync.RWMutex // read by a command that begins: an Interrupt that is under way would kill it as well

	mu    sync.Mutex
	over  bool // no command may begin
	calls map[*call]bool
	usage environment.Usage
}

// call is a command that runs.
type call struct{ kill context.CancelCauseFunc }

// killed is a Reason as the cause of a context's end.
type killed struct{ reason environment.Reason }

func (k killed) Error() string { return "killed: " + string(k.reason) }

// New speaks to a guest at the other end of r and w, and returns once it is ready. closer breaks both;
// it is called when the handshake fails, and by Close.
func New(ctx context.Context, r io.Reader, w io.Writer, closer io.Closer, opts Options) (*Client, error) {
	opts.Limits = opts.Limits.OrDefault()
	c := &Client{conn: closer, opts: opts, calls: map[*call]bool{}}
	c.mux = newMux(r, w, true, c.serve)
	c.mux.cut = func() { closer.Close() }
	ctx, cancel := context.WithTimeout(ctx, HandshakeTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { closer.Close() })
	err := c.handshake()
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		closer.Close()
		return nil, stead.Wrap(stead.KindUnavailable, err, "the guest in the container does not answer")
	}
	go func() { _ = c.mux.run() }() // ends with the connection; Done says so
	return c, nil
}

func (c *Client) handshake() error {
	var h hello
	if err := c.mux.expect(kindHello, &h); err != nil {
		return err
	}
	if h.Version != Version {
		return stead.Errorf(stead.KindUnavailable, "the guest speaks version %d, this server %d: use the binary of this release in both places", h.Version, Version)
	}
	c.seen, c.env = h.Seen, map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, v := range h.Env[:min(len(h.Env), MaxHelloEnv)] {
		if name, value, ok := strings.Cut(v, "="); ok && name != "" {
			c.env[name] = value
		}
	}
	c.env["HOME"] = environment.WorkspaceDir // what an engine sets need not be there, or not be writable
	for name, value := range c.opts.Env {
		c.env[name] = value
	}
	if err := c.mux.sendJSON(kindConfig, 0, config{Listen: c.opts.Listen, Link: c.opts.Link, GiveBack: c.opts.GiveBack}); err != nil {
		return err
	}
	var ready outcome
	if err := c.mux.expect(kindReady, &ready); err != nil {
		return err
	}
	return ready.err()
}

// Seen is what the guest found around itself.
func (c *Client) Seen() Seen { return c.seen }

// Done is closed when the conversation has ended, and with it the guest.
func (c *Client) Done() <-chan struct{} { return c.mux.done }

// Kill kills the commands that run, for a reason, and lets none begin. Processes in the background
// live until the conversation ends.
func (c *Client) Kill(why environment.Reason) { c.killCalls(why, true) }

// Interrupt kills every process in the container, for a reason. Commands may begin afterwards.
func (c *Client) Interrupt(ctx context.Context, why environment.Reason) {
	c.interrupting.Lock()
	defer c.interrupting.Unlock()
	c.killCalls(why, false)
	s, err := c.mux.open(request{Op: opKillAll})
	if err != nil {
		return // it has ended, with all its processes
	}
	defer context.AfterFunc(ctx, s.stop)()
	defer time.AfterFunc(interruptTime, func() { c.mux.end(errSilent) }).Stop()
	_, _ = s.outcome()
}

func (c *Client) killCalls(why environment.Reason, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = c.over || over
	for k := range c.calls {
		k.kill(killed{why})
	}
}

// KillCommands is how long Close waits for the outcomes of the commands that it kills.
const KillCommands = 2 * time.Second

// Close kills the commands, waits a moment for their outcomes, and ends the conversation. The guest
// ends with it; whoever owns the container waits for that.
func (c *Client) Close() {
	c.Kill(environment.ReasonCancelled)
	over := make(chan struct{})
	go func() { c.work.Wait(); close(over) }()
	select {
	case <-over:
	case <-c.mux.done:
	case <-time.After(KillCommands):
	}
	c.mux.end(stead.Errorf(stead.KindUnavailable, "the environment is closed"))
	c.conn.Close() // before it returns, and not only by cut
	<-over         // commands end with the conversation
	c.mux.work.Wait()
}

// Usage counts what the commands used.
func (c *Client) Usage() environment.Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usage
}

// Exec implements environment.Environment.
func (c *Client) Exec(ctx context.Context, cmd environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	if err := cmd.Check(c.env); err != nil {
		return environment.Exit{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cmd.TimeLimit(c.opts.Limits), killed{environment.ReasonTimeout})
	defer cancel()
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	k := &call{kill}
	s, err := c.open(ctx, k, cmd)
	if _, ok := errors.AsType[*environment.NotStartedError](err); ok {
		return environment.Exit{}, err
	}
	defer c.forget(k)
	if err != nil {
		// The frame may have been on the line when it broke: only a refusal of our own is sure.
		if stead.KindOf(err) == stead.KindLimited || stead.KindOf(err) == stead.KindTooLarge {
			return environment.Exit{}, &environment.NotStartedError{Err: err}
		}
		return environment.Exit{}, gone(err)
	}
	start := time.Now()
	over := make(chan struct{})
	stopped := context.AfterFunc(ctx, func() { c.killCommand(s, over) })
	output := cmd.Output(c.opts.Limits, out)
	if cmd.Stdin != nil {
		go feed(s, cmd.Stdin)
	}
	o, err := follow(s, output)
	ended := !stopped()
	close(over)
	c.count(output.Close(), o)
	if in, ok := cmd.Stdin.(io.Closer); ok {
		in.Close()
	}
	if err != nil {
		return environment.Exit{}, gone(err)
	}
	if err := o.err(); err != nil {
		return environment.Exit{}, &environment.NotStartedError{Err: err}
	}
	exit := environment.Exit{Code: o.Code & 0xff, Duration: time.Since(start), CPU: time.Duration(max(o.CPU, 0))}
	if ended {
		exit.Code, exit.Reason = -1, reasonOf(context.Cause(ctx))
	}
	return exit, nil
}

// open begins a command. A NotStartedError says that nobody need forget it.
func (c *Client) open(ctx context.Context, k *call, cmd environment.Command) (*stream, error) {
	c.interrupting.RLock()
	defer c.interrupting.RUnlock()
	if err := c.begin(ctx, k); err != nil {
		return nil, err
	}
	return c.mux.open(execRequest(cmd, c.env))
}

// killCommand kills a command, and the whole conversation if that does not help.
func (c *Client) killCommand(s *stream, over <-chan struct{}) {
	go s.stop()
	select {
	case <-over:
	case <-time.After(KillTime):
		c.mux.end(errSilent)
	}
}

// begin registers a command, unless the environment or the call has ended.
func (c *Client) begin(ctx context.Context, k *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.mux.done:
		return &environment.NotStartedError{Err: stead.Errorf(stead.KindUnavailable, "the environment has ended")}
	default:
	}
	if c.over || ctx.Err() != nil {
		return &environment.NotStartedError{Err: stead.Errorf(stead.KindUnavailable, "the environment or the call has ended")}
	}
	if len(c.calls) >= environment.MaxParallelCommands {
		return &environment.NotStartedError{Err: stead.Errorf(stead.KindLimited, "%d commands run in the environment already, which is the most", environment.MaxParallelCommands)}
	}
	c.usage.Commands++
	c.calls[k] = true
	c.work.Add(1)
	return nil
}

func (c *Client) forget(k *call) {
	c.mu.Lock()
	delete(c.calls, k)
	c.mu.Unlock()
	c.work.Done()
}

func (c *Client) count(output int64, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.usage.OutputBytes += output
	c.usage.CPU += time.Duration(max(o.CPU, 0))
}

func execRequest(cmd environment.Command, env map[string]string) request {
	r := request{Op: opExec, Dir: []byte(cmp.Or(cmd.Dir, environment.WorkspaceDir)), In: cmd.Stdin != nil}
	for _, a := range cmd.Args {
		r.Args = append(r.Args, []byte(a))
	}
	for _, v := range cmd.Environ(env) {
		r.Env = append(r.Env, []byte(v))
	}
	return r
}

// feed passes standard input on. It is left behind when the reader blocks past the command's end.
func feed(s *stream, in io.Reader) {
	buf := make([]byte, MaxDataBytes)
	for {
		n, err := in.Read(buf)
		if n > 0 && s.send(chanIn, buf[:n]) != nil {
			return
		}
		if err != nil {
			_ = s.end()
			return
		}
	}
}

// follow passes the output on until the outcome is there.
func follow(s *stream, output *environment.Output) (outcome, error) {
	for {
		c, err := s.next()
		if err != nil {
			break
		}
		stream := environment.Stdout
		if c.channel == chanErr {
			stream = environment.Stderr
		}
		output.Write(stream, c.data)
		s.used(len(c.data))
	}
	return s.outcome()
}

// serve connects what the guest dials with a socket of Services.
func (c *Client) serve(s *stream, r request) {
	_, known := c.opts.Listen[r.Name]
	if r.Op != opDial || !known {
		s.finish(outcome{Kind: stead.KindInvalid, Message: "there is no such service"})
		return
	}
	conn, err := net.Dial("unix", filepath.Join(c.opts.Services, filepath.Base(r.Name)))
	if err != nil {
		s.finish(outcome{Kind: stead.KindUnavailable, Message: "the service does not answer"})
		return
	}
	join(s, conn)
	s.finish(outcome{})
}

// join copies both ways until both have ended or one has failed, and closes conn.
func join(s *stream, conn net.Conn) {
	stop := make(chan struct{})
	defer close(stop)
	go func() { // what waits in conn is woken
		select {
		case <-s.kill:
		case <-s.m.done:
		case <-stop:
		}
		conn.Close()
	}()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		buf := make([]byte, MaxDataBytes)
		for {
			n, err := conn.Read(buf)
			if n > 0 && s.send(chanOut, buf[:n]) != nil {
				conn.Close()
				return
			}
			if err != nil {
				_ = s.end()
				return
			}
		}
	}()
	for {
		c, err := s.next()
		if err != nil {
			break
		}
		_, err = conn.Write(c.data)
		s.used(len(c.data)) // also what can't be written: the other side must not wait for its credit
		if err != nil {
			conn.Close()
		}
	}
	if w, ok := conn.(interface{ CloseWrite() error }); ok && !s.isOver() {
		_ = w.CloseWrite()
	} else {
		conn.Close()
	}
	<-sent
}

// gone gives the end of a conversation its kind.
func gone(err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok && e.Kind == stead.KindUnavailable {
		return e
	}
	return stead.Wrap(stead.KindUnavailable, err, "the environment died while the command ran")
}

func reasonOf(cause error) environment.Reason {
	if k, ok := errors.AsType[killed](cause); ok {
		return k.reason
	}
	return environment.ReasonCancelled
}
