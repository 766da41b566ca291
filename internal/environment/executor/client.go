package executor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"time"

	"github.com/coder/websocket"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Config is what an executor needs.
type Config struct {
	Remote    string               // the environment's remote_url, with its token
	Workspace string               // directory of this machine; with Place, which may choose another one
	Sandbox   environment.Provider // runs the commands; the caller closes it
	// Seen is where commands see the workspace; "": environment.WorkspaceDir.
	Seen string
	// Place decides where the environment works, which names a directory of this machine or "": it returns
	// that directory, or the one that stands for it, and where commands see it. It is asked on each connection. An error ends Run with it.
	// nil: in Workspace, whatever the environment names.
	Place func(named string) (workspace, seen string, err error)
	// Dial makes the connections that the server asks for; nil: none.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// PlainHTTP allows http to other hosts than this one.
	PlainHTTP bool
	// Told hears of each change of state, and Ran of each command that ended, one call at a time each
	// of Told; both must not block for long.
	Told func(State)
	Ran  func(args []string, exit environment.Exit, err error)

	Client *http.Client // nil: one of its own
	// Certified is that Client shows a TLS certificate: then Remote need have no token.
	Certified bool
	Timing    Timing
	Log       *slog.Logger // nil: nothing is logged

	environment string // from Remote
}

// State is what an executor is doing.
type State struct {
	Connected bool
	Host      string        // of the server
	Resumed   bool          // connected: the conversation of the connection before goes on
	Err       error         // not connected: why
	Retry     time.Duration // not connected: until the next attempt
}

// client is the executor's end, across connections.
type client struct {
	config Config
	timing Timing
	remote remote
	id     string

	attempt uint64
	known   string        // id of the last conversation
	talk    *conversation // nil: none, or it has ended and nothing of it runs
	lapse   time.Time     // when talk ends, unless there is a connection by then
	grace   *time.Timer   // that sees to it
}

// Run connects to the server and does what it says until ctx ends, which is no error, or until it is
// of no use any more: KindInvalid for a bad configuration, KindUnauthenticated for a wrong token,
// KindNotFound when the environment is over, KindConflict when another executor has taken over. It
// tries again, for ever, after everything else. An error of Place is its own. When it returns, no command runs any more.
func Run(ctx context.Context, config Config) error {
	r, err := parseRemote(config.Remote, config.PlainHTTP, config.Certified)
	if err != nil {
		return err
	}
	if config.Workspace, err = filepath.Abs(config.Workspace); err != nil {
		return stead.Wrap(stead.KindInvalid, err, "the workspace can't be found")
	}
	if config.Seen == "" {
		config.Seen = environment.WorkspaceDir
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Client == nil {
		config.Client = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	config.environment = r.environment
	c := &client{config: config, timing: config.Timing.orDefault(), remote: r, id: newID("exec_")}
	defer c.hangUp(errStopped)
	defer c.disarm()
	return c.run(ctx)
}

func (c *client) run(ctx context.Context) error {
	wait := c.timing.BackoffMin
	for {
		began := time.Now()
		err := c.connect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if final := finalError(err); final != nil {
			return final
		}
		if time.Since(began) > c.timing.Heartbeat {
			wait = c.timing.BackoffMin // it had worked
		}
		pause := wait/2 + rand.N(wait/2+1) // not all executors at once
		wait = min(2*wait, c.timing.BackoffMax)
		c.tell(State{Host: c.remote.host, Err: err, Retry: pause})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// arm ends the conversation when there is no connection in time.
func (c *client) arm() {
	if talk := c.talk; talk != nil {
		c.grace = time.AfterFunc(time.Until(c.lapse), func() { talk.end(errAway) })
	}
}

func (c *client) disarm() {
	if c.grace != nil {
		c.grace.Stop()
	}
}

func (c *client) tell(s State) {
	if c.config.Told != nil {
		c.config.Told(s)
	}
}

// hangUp ends the conversation and all that runs in it.
func (c *client) hangUp(why error) {
	if c.talk != nil {
		c.talk.end(why)
		c.talk.windUp(context.Background())
		c.talk = nil
	}
}

// connect makes one connection and serves it until it ends.
func (c *client) connect(ctx context.Context) error {
	c.attempt++
	if c.talk != nil && c.talk.cause() != nil {
		c.hangUp(errAway)
	}
	s, named, err := c.dial(ctx)
	if err != nil {
		return err
	}
	if err := c.place(named); err != nil {
		_ = s.ws.CloseNow() // nothing was said yet
		return err
	}
	c.disarm()
	resumed, err := c.greet(ctx, s)
	if err != nil {
		_ = s.ws.CloseNow()
		c.arm()
		return err
	}
	c.tell(State{Connected: true, Host: c.remote.host, Resumed: resumed})
	talk := c.talk
	stop := context.AfterFunc(ctx, func() { // Run ends: commands first, so that their outcomes still leave
		patience, cancel := context.WithTimeout(context.Background(), c.timing.KillGrace)
		defer cancel()
		talk.windUp(patience)
		s.part(bye{codeStopped, "the executor was stopped"})
	})
	defer stop()
	err = s.pump(context.Background(), talk, byeFor)
	if _, broken := errors.AsType[*ruleError](err); broken {
		talk.end(err)
	}
	if b, ok := errors.AsType[*bye](err); ok && b.Code != codeOvertaken && b.Code != CodeCertificate { // the next certificate goes on
		talk.end(err)
	}
	c.lapse = time.Now().Add(c.timing.Grace)
	c.arm()
	return err
}

// place settles where the environment works, before the server hears a word.
func (c *client) place(named string) error {
	if c.config.Place == nil {
		return nil
	}
	dir, err := url.PathUnescape(named)
	if err != nil || len(dir) > environment.MaxPathBytes || dir != line1(dir) || dir != "" && !filepath.IsAbs(dir) {
		return &refusal{stead.Invalid("workspace", "the server names a workspace that is no absolute path: %.200q", named)}
	}
	if dir != "" {
		dir = filepath.Clean(dir)
	}
	workspace, seen, err := c.config.Place(dir)
	if err != nil {
		return &refusal{err}
	}
	c.config.Workspace, c.config.Seen = workspace, seen
	return nil
}

// refusal is why this executor will not work for the environment, however often it is asked.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// dial makes the WebSocket, and returns what the answer says of the workspace. What the server refuses
// with an error of ours is that error.
func (c *client) dial(ctx context.Context) (s *socket, workspace string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timing.Handshake)
	defer cancel()
	once := *c.config.Client
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token is for one server
	header := http.Header{}
	if c.remote.token != "" {
		header.Set("Authorization", "Bearer "+c.remote.token)
	}
	ws, answer, err := websocket.Dial(ctx, c.remote.url, &websocket.DialOptions{HTTPClient: &once, HTTPHeader: header})
	if err == nil {
		return newSocket(ws, c.timing), answer.Header.Get(headerWorkspace), nil
	}
	if answer == nil {
		return nil, "", stead.Wrap(stead.KindUnavailable, err, "the server at %s can't be reached", c.remote.host)
	}
	var body struct {
		Error struct{ Message, Code string }
	}
	const most = 1024 // that the library keeps of the body
	b, _ := io.ReadAll(io.LimitReader(answer.Body, most))
	if json.Unmarshal(b, &body) == nil && body.Error.Code != "" {
		return nil, "", &bye{clip(line1(body.Error.Code)), clip(line1(body.Error.Message))}
	}
	return nil, "", stead.Wrap(stead.KindUnavailable, err, "the server at %s answers with status %d", c.remote.host, answer.StatusCode)
}

// greet says hello, and carries the conversation on or begins the one that the server wants.
func (c *client) greet(ctx context.Context, s *socket) (resumed bool, err error) {
	hi := hello{
		Version: Version, Environment: c.remote.environment, Executor: c.id, Attempt: c.attempt,
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Workspace: c.config.Seen, Sandbox: c.config.Sandbox.Name(),
		Capabilities: []string{"exec", "files"},
	}
	if c.config.Dial != nil {
		hi.Capabilities = append(hi.Capabilities, "dial")
	}
	hi.Conversation, hi.Over = c.known, c.talk == nil || c.talk.cause() != nil
	if c.talk != nil {
		hi.Received = c.talk.received()
	}
	if err := s.say(ctx, kindHello, hi); err != nil {
		return false, err
	}
	var w welcome
	if err := s.hear(ctx, kindWelcome, &w); err != nil {
		return false, err
	}
	if w.Version != Version || w.Conversation == "" {
		return false, &bye{codeVersion, "the server speaks another version of the executor's protocol"}
	}
	if w.Resumed && c.talk != nil && w.Conversation == c.talk.id {
		_, err := c.talk.resume(w.Received)
		if err == nil {
			return true, nil
		}
		c.hangUp(err)
		return false, err
	}
	c.hangUp(errForgotten)
	c.talk, c.known = newConversation(w.Conversation, newHost(c.config).serve), w.Conversation
	return false, nil
}

// finalError says that trying again is of no use; nil: it is.
func finalError(err error) error {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.err
	}
	b, ok := errors.AsType[*bye](err)
	if !ok {
		return nil
	}
	e := &stead.Error{Code: b.Code, Err: err}
	switch b.Code {
	case CodeToken:
		e.Kind, e.Message = stead.KindUnauthenticated, "the server does not accept the token"
		e.Hint = "Pass the environment's remote_url unchanged, in quotes. A token is good for one environment, as long as that lasts."
	case CodeGone:
		e.Kind, e.Message = stead.KindNotFound, "the environment is over"
	case codeReplaced:
		e.Kind, e.Message = stead.KindConflict, "another executor of this environment has taken over"
	case codeVersion:
		e.Kind, e.Message, e.Hint = stead.KindInvalid, "the server and this executor speak different versions of the protocol", "Update the older of the two."
	default:
		return nil
	}
	return e
}
