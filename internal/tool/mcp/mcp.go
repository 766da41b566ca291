// Package mcp reaches tools over the Model Context Protocol: streamable HTTP for any URL, stdio on
// this host only for the commands that the operator's configuration names. What a request declares
// with an origin runs inside that origin, a session's environment, or is dialled from there.
//
// Shape:
//
//	Manager ─ link (one connection, shared by sessions; label, or URL and headers) ─ listing ─ tool
//	               (with an origin: one for each key of it and label, never shared)
//	tool.Call ─▶ tools/call {name, arguments, _meta{stead.dev/idempotency-key, …/session, …metadata}}
//	          ◀─ content → input_text, input_image (data: URL)
//
// Delivery. A call is sent at most once. Package mcp never repeats one, and keeps others from it:
// see link.go for what the SDK does, http.go for what net/http does. *tool.NotSentError is returned
// only when no byte of the call can have reached the server: no connection could be made, a ping
// before the call failed, or the call ended before a connection was given to it. Everything after
// that, a refusal by HTTP status included, is an outcome that is missing, unless the server
// answered in JSON-RPC.
//
// A process inside an origin lives until its stream ends, which is when the environment is suspended
// or closed, or until MaxConnections makes room; the next use starts it, and the environment, again.
//
// Units and limits: bytes and time.Duration; the constants below, in http.go and in process.go.
//
// Errors: Tools gives KindInvalid (a server that is not configured, a URL or header that can't be),
// KindTooLarge (a listing above the limits) and KindUnavailable (can't be reached now: try again).
// Call gives what tool.Tool promises.
//
// Source: Model Context Protocol 2025-11-25 (lifecycle, transports, tools, cancellation, progress),
// over github.com/modelcontextprotocol/go-sdk v1.8.0. The revision 2026-07-28 is not offered yet:
// its input-required results ask the client to send a call again.
package mcp

import (
	"context"
	"log/slog"

	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// Limits of the connections.
const (
	// MaxConnections is the most servers connected at once, unless configured.
	MaxConnections = 256
	// IdleTimeout closes a connection, and ends its process, that nobody has used for so long.
	IdleTimeout = 10 * time.Minute
	// CloseGrace is how long a server may take over a farewell before it is cut off.
	CloseGrace = 2 * time.Second
	// ListingTTL is how long a listing is believed when the server does not say that it changed.
	ListingTTL = 5 * time.Minute
	// PingAfter is the silence after which a connection is tried with a ping before it carries a
	// call, so that a server that went away costs a new connection and not a lost outcome.
	PingAfter = 5 * time.Second
	// PingTimeout bounds that ping.
	PingTimeout = 5 * time.Second
)

// Configured is a server that the operator's configuration names: by URL, or by command line.
type Configured struct {
	Label    string
	URL      string            // streamable HTTP
	Headers  map[string]string // with URL; may hold secrets
	Command  string            // stdio: looked up in PATH
	Args     []string
	Env      map[string]string // with Command: added to PATH, HOME and LANG; may hold secrets
	Dir      string            // with Command: working directory; empty: ours
	Effects  map[string]tool.Effect
	Projects []stead.ProjectID // that have it: to others it is as if it were not there; none: all
	// Identified: with URL, each request carries the credential that tool.Server has. Without one it is not sent.
	Identified bool
	Untrusted  bool // strangers may write what it says of its tools
}

// Config is what a Manager needs. The zero value reaches servers by URL only.
type Config struct {
	Servers        []Configured
	CallTimeout    time.Duration // of one call; 0: stead.ToolTimeout
	ConnectTimeout time.Duration // connecting and listing; 0: tool.ConnectTimeout
	IdleTimeout    time.Duration // 0: IdleTimeout
	MaxConnections int           // 0: MaxConnections
	Version        string        // of Stead, told to servers
	Logger         *slog.Logger  // nil: nothing is logged
	// Guard, if set, makes the connections to servers that agents name by their URLs, and refuses addresses. The
	// operator's own servers are not asked about.
	Guard Guard
}

// Manager implements tool.Source. Safe for concurrent use.
type Manager struct {
	config  Config
	log     *slog.Logger
	wire    *http.Transport
	named   *named                                // nil without a guard
	servers atomic.Pointer[map[string]Configured] // by label

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup // goroutines of dials and links

	mu     sync.Mutex
	closed bool
	links  map[string]*link // by target.identity: those that new calls may use
	open   map[*link]struct{}
	dials  map[string]*dial // by target.identity: connections being made
}

var _ tool.Source = (*Manager)(nil)

// New returns a Manager. It connects when asked for tools, not before. Call Close when done.
func New(c Config) *Manager {
	c.CallTimeout = orDefault(c.CallTimeout, stead.ToolTimeout)
	c.ConnectTimeout = orDefault(c.ConnectTimeout, tool.ConnectTimeout)
	c.IdleTimeout = orDefault(c.IdleTimeout, IdleTimeout)
	if c.MaxConnections <= 0 {
		c.MaxConnections = MaxConnections
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{
		config: c, log: c.Logger, wire: newWire(nil), named: newNamed(c.Guard),
		links: map[string]*link{}, open: map[*link]struct{}{}, dials: map[string]*dial{},
	}
	m.life, m.end = context.WithCancel(context.Background())
	m.Replace(c.Servers)
	return m
}

// Replace puts other servers in the place of the operator's. Calls that are under way get their answers; what has changed of a server
// counts for those that begin from here on.
func (m *Manager) Replace(servers []Configured) {
	now, kept := make(map[string]Configured, len(servers)), map[string]bool{}
	for _, s := range servers {
		now[s.Label], kept[configuredIdentity(s)] = s, true
	}
	m.servers.Store(&now)
	m.mu.Lock()
	defer m.mu.Unlock()
	for l := range m.open {
		if l.target.operators && !kept[l.target.configured] {
			m.dropLocked(l, errReplaced)
		}
	}
}

// Labels are the operator's servers that a project has, sorted, and the labels of those that it doesn't have.
func (m *Manager) Labels(project stead.ProjectID) (own, others []string) {
	for label, s := range *m.servers.Load() {
		if s.has(project) {
			own = append(own, label)
		} else {
			others = append(others, label)
		}
	}
	slices.Sort(own)
	slices.Sort(others)
	return own, others
}

// Untrusted reports whether strangers may write what the operator's server of a label says of its tools.
func (m *Manager) Untrusted(label string) bool { return (*m.servers.Load())[label].Untrusted }

func (c Configured) has(project stead.ProjectID) bool {
	return len(c.Projects) == 0 || slices.Contains(c.Projects, project)
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Check says what is wrong with a configuration; the command calls it before New.
func (c Config) Check() error {
	seen := map[string]bool{}
	for _, s := range c.Servers {
		switch {
		case s.Label == "":
			return stead.Invalid("servers", "a tool server has no label")
		case seen[s.Label]:
			return stead.Invalid("servers", "two tool servers have the label %q", s.Label)
		case (s.URL == "") == (s.Command == ""):
			return stead.Invalid("servers", "tool server %q needs either a URL or a command", s.Label)
		case s.URL != "" && len(s.Args)+len(s.Env)+len(s.Dir) > 0:
			return stead.Invalid("servers", "tool server %q has a URL and so neither arguments, environment nor directory", s.Label)
		case s.Command != "" && len(s.Headers) > 0:
			return stead.Invalid("servers", "tool server %q has a command and so no headers", s.Label)
		}
		seen[s.Label] = true
		if _, err := configuredTarget(s); err != nil {
			return err
		}
		for name, effect := range s.Effects {
			if !slices.Contains([]tool.Effect{tool.Pure, tool.Idempotent, tool.Unknown}, effect) {
				return stead.Invalid("servers", "tool server %q gives %q the unknown effect %q", s.Label, name, effect)
			}
		}
	}
	return nil
}

// Tools implements tool.Source. Names in s.Allowed that the server lacks are no error.
func (m *Manager) Tools(ctx context.Context, s tool.Server) ([]tool.Tool, error) {
	to, err := m.target(s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.config.ConnectTimeout)
	defer cancel()
	l, err := m.connected(ctx, to)
	if err != nil {
		return nil, to.unavailable(err)
	}
	defer m.release(l)
	specs, err := l.list(ctx)
	if err != nil {
		if l.gone.Load() {
			m.drop(l, err)
		}
		return nil, to.unavailable(err)
	}
	tools := make([]tool.Tool, 0, len(specs))
	for _, spec := range specs {
		if s.Allowed == nil || slices.Contains(s.Allowed, spec.Name) {
			tools = append(tools, &remote{manager: m, target: to, spec: spec, metadata: s.Metadata})
		}
	}
	return tools, nil
}

// Close ends every connection and process. It waits for them until ctx ends; what is left then is
// killed, and the error is that of ctx.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	for l := range m.open {
		m.dropLocked(l, errClosed)
		m.finishLocked(l, errClosed)
	}
	m.mu.Unlock()
	m.end() // ends dials; links say farewell first, each within CloseGrace
	done := make(chan struct{})
	go func() {
		m.work.Wait()
		m.wire.CloseIdleConnections()
		m.named.CloseIdleConnections()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err() // CloseGrace ends the rest soon
	}
}

func (m *Manager) labels(project stead.ProjectID) string {
	labels, _ := m.Labels(project)
	if len(labels) == 0 {
		return "none is configured"
	}
	return "configured are: " + strings.Join(labels, ", ")
}
