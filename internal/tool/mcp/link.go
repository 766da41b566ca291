package mcp

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// protocolVersion is offered to servers; they may answer with an older one.
const protocolVersion = "2025-11-25"

// link is one connection to one server.
//
// What the SDK (v1.8.0) does with a tools/call, as read in its source, and what that means here:
//   - mcp/streamable.go, Write: one POST a message. It repeats the POST only after an OAuthHandler
//     has authorized a 401 or 403; we set no handler. It calls every failure of http.Client.Do
//     "rejected", which is no proof that nothing was sent, so it is not taken for one.
//   - handleSSE, connectSSE: a reply stream that breaks is resumed with GET and Last-Event-ID, and
//     only if the server gave event ids; never with POST. Without ids the call ends with an error.
//   - mcp/mrtr.go: a result that asks for input makes the client send the call again, up to ten
//     times. It is switched off.
//   - transport.go, call: when the context ends, the call returns at once and
//     notifications/cancelled goes out beside it.
//   - A reply that can't be read, or a 4xx without a JSON-RPC body, breaks the whole connection:
//     all calls on it end with an error.
//   - Its own errors (closing, rejected) are JSON-RPC errors with codes -32003 to -32005: they must
//     not be taken for the server's answer.
//   - connectStandaloneSSE waits for the answer to a GET without regard to the context: http.go
//     bounds it.
type link struct {
	target  target
	session *sdk.ClientSession

	calls    context.Context // ends the calls on this link
	endCalls context.CancelCauseFunc
	wire     context.Context // ends its requests and its process
	endWire  context.CancelFunc

	heard  atomic.Int64 // Unix nanoseconds of the last answer
	tokens atomic.Int64
	stale  atomic.Bool // the server said that its tools changed
	gone   atomic.Bool // the server said that it does not know this session
	denied denial      // of a request that belongs to no call

	refused atomic.Int64 // the status of the last answer that says that we may not ask; 0: there was none

	progressMu sync.Mutex
	progress   map[string]func(string) // progress token → who is told

	listing listing

	// Guarded by Manager.mu.
	holders  int
	released time.Time
	dropped  bool
	idle     *time.Timer
}

// connect makes a connection and initializes it, within ConnectTimeout.
func (m *Manager) connect(to target) (*link, error) {
	l := &link{target: to, progress: map[string]func(string){}, released: time.Now()}
	l.listing.turn = make(chan struct{}, 1)
	l.calls, l.endCalls = context.WithCancelCause(context.Background())
	l.wire, l.endWire = context.WithCancel(context.Background())

	ctx, cancel := context.WithTimeout(m.life, m.config.ConnectTimeout)
	defer cancel()
	// The SDK's Connect does not always end with its context; it does when the wire is cut.
	uncut := context.AfterFunc(ctx, l.endWire)
	client := sdk.NewClient(&sdk.Implementation{Name: "stead", Version: m.version()}, &sdk.ClientOptions{
		Capabilities:                &sdk.ClientCapabilities{},
		MultiRoundTrip:              &sdk.MultiRoundTripOptions{Disabled: true},
		ToolListChangedHandler:      func(context.Context, *sdk.ToolListChangedRequest) { l.stale.Store(true) },
		ProgressNotificationHandler: l.progressed,
	})
	session, err := client.Connect(ctx, m.transport(l), &sdk.ClientSessionOptions{ProtocolVersion: protocolVersion})
	if err == nil && !uncut() {
		_ = session.Close()
		err = ctx.Err()
	}
	if err != nil {
		l.endWire()
		l.endCalls(err)
		if denied := l.denied.last(); denied != nil {
			return nil, denied
		}
		err = bare(err)
		if s := l.refused.Load(); s != 0 {
			err = turnedAway{int(s), err}
		}
		return nil, fmt.Errorf("connect to tool server %s: %w", quoted(to.label), err)
	}
	l.session = session
	l.hear()
	m.log.Debug("tool server connected", "server", to.label)
	return l, nil
}

func (m *Manager) transport(l *link) sdk.Transport {
	if l.target.process != nil {
		return &process{config: *l.target.process, log: m.log, life: l.wire, work: &m.work}
	}
	if l.target.command != nil {
		return &inside{command: *l.target.command, origin: l.target.origin, label: l.target.label, log: m.log, life: l.wire, work: &m.work}
	}
	var wire http.RoundTripper = m.wire
	if l.target.named && m.named != nil {
		wire = m.named
	}
	if l.target.origin != nil { // its connections are never shared with another's
		own := newWire(l.dialInside)
		own.Proxy = nil // ours does not count there
		wire = own
	}
	return &sdk.StreamableClientTransport{
		Endpoint:     l.target.url,
		HTTPClient:   newClient(wire, l),
		MaxEventSize: MaxMessageBytes,
	}
}

// dialInside makes a connection from the link's origin. It ends with the link.
func (l *link) dialInside(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := l.target.origin.Dial(ctx, network, address)
	if err == nil {
		context.AfterFunc(l.wire, func() { c.Close() })
	}
	return c, err
}

func (m *Manager) version() string {
	if m.config.Version == "" {
		return "dev"
	}
	return m.config.Version
}

// farewell ends the session politely, and cuts the wire when that takes too long. The calls have
// been ended before, because the SDK waits for them.
func (l *link) farewell() {
	cut := time.AfterFunc(CloseGrace, l.endWire)
	_ = l.session.Close() // nobody can do anything about it
	cut.Stop()
	l.endWire()
}

func (l *link) hear() { l.heard.Store(time.Now().UnixNano()) }

// alive makes sure that a connection that was silent for a while still leads to the server.
func (l *link) alive(ctx context.Context) error {
	if time.Since(time.Unix(0, l.heard.Load())) < PingAfter {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, PingTimeout)
	defer cancel()
	f := &flight{}
	err := l.session.Ping(f.attach(ctx), nil)
	if err != nil && (answer(err) == nil || f.refused()) {
		return err
	}
	l.hear()
	return nil
}

// expect registers who is told of a call's progress.
func (l *link) expect(told func(string)) (token string, forget func()) {
	token = "stead-" + strconv.FormatInt(l.tokens.Add(1), 10)
	l.progressMu.Lock()
	defer l.progressMu.Unlock()
	l.progress[token] = told
	return token, func() {
		l.progressMu.Lock()
		defer l.progressMu.Unlock()
		delete(l.progress, token)
	}
}

// maxProgressBytes is the longest progress message that is passed on.
const maxProgressBytes = 4 << 10

func (l *link) progressed(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
	token, _ := r.Params.ProgressToken.(string)
	l.progressMu.Lock()
	defer l.progressMu.Unlock() // held while told runs, so that nothing is told after forget
	told := l.progress[token]
	if told == nil {
		return
	}
	message := r.Params.Message
	if message == "" {
		message = strconv.FormatFloat(r.Params.Progress, 'g', -1, 64)
		if r.Params.Total > 0 {
			message += " of " + strconv.FormatFloat(r.Params.Total, 'g', -1, 64)
		}
	}
	told(clip(message, maxProgressBytes))
}
