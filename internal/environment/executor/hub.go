package executor

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/stead-dev/stead"
)

// Registration is what the server keeps of an environment for its executor.
type Registration struct {
	Project stead.ProjectID // of the environment
	Digest  string          // of the token: see Digest
	Before  []string        // digests of tokens that count, too: those of before the server's key was replaced
	Over    bool            // the environment has expired or was deleted: its executor can stop
	// Workspace is the environment's workspace_directory, an absolute path; "": none is named.
	Workspace string

	by *Certificate // that opened it; nil: a token did
}

// HubConfig is what a Hub needs. Only Lookup is required.
type HubConfig struct {
	// Lookup finds an environment for what an executor shows, a token that nobody has checked; KindNotFound for one
	// that never was.
	Lookup func(ctx context.Context, environmentID, token string) (Registration, error)
	// Admits says until when another token than the environment's own opens it, a session token: KindUnauthenticated where it
	// does not. nil: none does.
	Admits func(ctx context.Context, token, environmentID string) (until time.Time, err error)
	// Shown says what the TLS client certificate of a connection is good for; the zero Certificate where there is none.
	// KindUnauthenticated or KindForbidden for one that is not valid. nil: nobody shows any.
	Shown func(r *http.Request) (Certificate, error)
	// In is Lookup of an executor that came with a certificate and no token.
	In func(ctx context.Context, project stead.ProjectID, environmentID string) (Registration, error)
	// Admitted is told of such an executor before it is let in, and may refuse it. nil: nobody is.
	Admitted func(r *http.Request, by Certificate, environmentID string) error
	// Changed is told when an executor came or went, one call at a time, the latest state of each
	// environment: one that left and came back in between may not be told. It may block.
	Changed func(Change)
	Timing  Timing
	Log     *slog.Logger // nil: nothing is logged
}

// Certificate is a TLS client certificate that is valid.
type Certificate struct {
	ID, Name string
	Project  stead.ProjectID // whose executor it makes its bearer; "": nobody's
	Until    time.Time       // zero: there is none
}

// Change says whether an environment's executor is connected.
type Change struct {
	Project     stead.ProjectID
	Environment string
	Connected   bool
	Reason      string // why not, a sentence
	Info        Info   // of the executor
}

// Info is what an executor says of itself: a stranger's words, short and printable.
type Info struct {
	Executor     string // changes with each process
	Platform     string // "linux/amd64"
	Workspace    string // where commands see the workspace
	Sandbox      string // the driver's name
	Capabilities []string
}

// Hub is where executors connect to. Safe for concurrent use.
type Hub struct {
	config HubConfig
	timing Timing
	log    *slog.Logger
	life   context.Context // ends with Close
	end    context.CancelFunc
	work   sync.WaitGroup // connections, and those that tell of changes

	mu      sync.Mutex
	closed  bool
	came    uint64           // connections so far: the number of the last
	links   map[string]*link // by environment
	changes changes
}

// link is an environment's executor as the server sees it, connected or awaited. Guarded by Hub.mu.
type link struct {
	project     stead.ProjectID
	environment string
	info        Info
	attempt     uint64
	number      uint64 // of its last connection
	c           *conversation
	socket      *socket       // nil: not connected
	gone        chan struct{} // closed when socket's pump has ended
	grace       *time.Timer   // ends the conversation while there is no socket
}

// NewHub returns a Hub. Call Close when done.
func NewHub(config HubConfig) *Hub {
	h := &Hub{config: config, timing: config.Timing.orDefault(), log: config.Log, links: map[string]*link{}}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.life, h.end = context.WithCancel(context.Background())
	return h
}

// ServeExecutor serves the connection of an environment's executor, for as long as it lasts. An error
// means that nothing was answered yet: KindUnauthenticated, KindNotFound, KindInvalid for a request
// that is no WebSocket's, KindUnavailable or KindLimited.
func (h *Hub) ServeExecutor(w http.ResponseWriter, r *http.Request, environmentID string) error {
	found, until, err := h.authenticate(r, environmentID)
	if err != nil {
		return err
	}
	by := found.by
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		e := stead.Invalid("", "this is where executors connect to, over WebSocket")
		e.Hint = "Run stead executor --remote with the environment's remote_url."
		return e
	}
	if by != nil && h.config.Admitted != nil {
		if err := h.config.Admitted(r, *by, environmentID); err != nil {
			return err
		}
	}
	h.mu.Lock()
	if h.closed || len(h.links) >= MaxExecutors && h.links[environmentID] == nil {
		h.mu.Unlock()
		return &stead.Error{Kind: stead.KindUnavailable, Code: codeExecutors, Message: "this node takes no more executors", RetryAfter: h.timing.BackoffMax}
	}
	h.work.Add(1)
	h.came++
	number := h.came // before the upgrade is answered: who connects afterwards has a higher one
	h.mu.Unlock()
	defer h.work.Done()
	if found.Workspace != "" {
		w.Header().Set(headerWorkspace, url.PathEscape(found.Workspace))
	}
	ws, err := websocket.Accept(w, r, nil) // which answers its own errors
	if err != nil {
		h.log.Debug("executor not upgraded", "environment", environmentID, "err", err)
		return nil
	}
	s := newSocket(ws, h.timing)
	if !until.IsZero() {
		ctx, done := context.WithCancel(r.Context())
		defer done()
		go h.guard(ctx, s, r, environmentID, until)
	}
	h.greet(s, found.Project, environmentID, number)
	return nil
}

// guard ends a connection with what it was let in with: when that expires, and soon after it was revoked. Who came with a
// certificate may come again with its next one.
func (h *Hub) guard(ctx context.Context, s *socket, r *http.Request, environmentID string, until time.Time) {
	for {
		t := time.NewTimer(min(time.Until(until), h.timing.Heartbeat))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		_, _, err := h.authenticate(r, environmentID)
		over := !time.Now().Before(until)
		switch e, _ := errors.AsType[*stead.Error](err); {
		case e != nil && e.Code == CodeCertificate || over && h.certified(r):
			s.part(bye{CodeCertificate, "the client certificate of this connection has expired, or does not count any more"})
			return
		case over || stead.KindOf(err) == stead.KindUnauthenticated:
			s.part(bye{CodeToken, "the token of this connection has expired, or was revoked"})
			return
		}
	}
}

// certified reports whether a connection's certificate is what ends it: it is over, whatever else the connection came with.
func (h *Hub) certified(r *http.Request) bool {
	by, err := h.shown(r)
	return err != nil || !by.Until.IsZero() && !time.Now().Before(by.Until)
}

// shown is what a connection's certificate is good for.
func (h *Hub) shown(r *http.Request) (Certificate, error) {
	if h.config.Shown == nil {
		return Certificate{}, nil
	}
	by, err := h.config.Shown(r)
	if k := stead.KindOf(err); k == stead.KindUnauthenticated || k == stead.KindForbidden {
		return by, &stead.Error{Kind: stead.KindUnauthenticated, Code: CodeCertificate, Message: "the client certificate does not count here", Err: err}
	}
	return by, err
}

// authenticate finds the environment of a connection's token or certificate, and until when that counts; zero: as long as the
// environment. A certificate that does not count is refused beside a token too.
func (h *Hub) authenticate(r *http.Request, environmentID string) (found Registration, until time.Time, err error) {
	by, err := h.shown(r)
	if err != nil {
		return Registration{}, until, err
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case ok:
		found, until, err = h.byToken(r, environmentID, token)
		if until.IsZero() || !by.Until.IsZero() && by.Until.Before(until) {
			until = by.Until
		}
	case by.Project != "" && h.config.In != nil:
		if found, err = h.config.In(r.Context(), by.Project, environmentID); stead.KindOf(err) == stead.KindNotFound {
			err = &stead.Error{Kind: stead.KindUnauthenticated, Code: CodeCertificate, Message: "the certificate's project has no such environment"}
		}
		found.by, until = &by, by.Until
	default:
		err = wrongToken()
	}
	if err != nil {
		return Registration{}, time.Time{}, err
	}
	if found.Over {
		return Registration{}, until, &stead.Error{Kind: stead.KindNotFound, Code: CodeGone, Message: "the environment is over"}
	}
	return found, until, nil
}

func wrongToken() error {
	return &stead.Error{Kind: stead.KindUnauthenticated, Code: CodeToken, Message: "the token is not that of this environment's executor"}
}

// byToken is authenticate of an executor that shows a token.
func (h *Hub) byToken(r *http.Request, environmentID, token string) (found Registration, until time.Time, err error) {
	if found, err = h.config.Lookup(r.Context(), environmentID, token); err != nil && stead.KindOf(err) != stead.KindNotFound {
		return Registration{}, until, err
	}
	ours := func(digest string) bool { return match(token, digest) }
	if err == nil && !ours(found.Digest) && !slices.ContainsFunc(found.Before, ours) {
		err = wrongToken()
		if h.config.Admits != nil {
			until, err = h.config.Admits(r.Context(), token, environmentID)
		}
	}
	if k := stead.KindOf(err); k == stead.KindNotFound || k == stead.KindUnauthenticated {
		err = wrongToken()
	}
	return found, until, err
}

// greet takes the hello, and carries the conversation on or begins one.
func (h *Hub) greet(s *socket, project stead.ProjectID, environmentID string, number uint64) {
	var hi hello
	err := s.hear(h.life, kindHello, &hi)
	if err == nil {
		err = hi.check(environmentID)
	}
	switch {
	case err != nil:
		s.refuse(bye{codeProtocol, err.Error()})
	case hi.Version != Version:
		s.refuse(bye{codeVersion, "this server speaks another version of the executor's protocol: update the older of the two"})
	default:
		h.attach(s, hi, project, environmentID, number)
	}
}

// attach makes the connection the environment's only one, and serves it.
func (h *Hub) attach(s *socket, hi hello, project stead.ProjectID, environmentID string, number uint64) {
	l, answer, no := h.adopt(s, hi, project, environmentID, number)
	if no != nil {
		s.refuse(*no)
		return
	}
	err := s.say(h.life, kindWelcome, answer)
	if err != nil {
		_ = s.ws.CloseNow() // the executor will come again
	} else {
		h.log.Info("executor connected", "environment", environmentID, "executor", hi.Executor, "resumed", answer.Resumed)
		h.mu.Lock()
		h.tell(Change{Project: l.project, Environment: environmentID, Connected: true, Info: l.info})
		h.mu.Unlock()
		err = s.pump(h.life, l.c, byeFor)
		h.log.Info("executor disconnected", "environment", environmentID, "executor", hi.Executor, "reason", err)
	}
	h.detach(l, judge(l.c, err))
}

// adopt finds or makes the link. Its socket is s then, and no other pump of its conversation runs. Which
// of two executors is the newer one is decided by when they connected: a hello that was late on its way
// replaces nobody who came after it.
func (h *Hub) adopt(s *socket, hi hello, project stead.ProjectID, environmentID string, number uint64) (*link, welcome, *bye) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if h.closed {
			return nil, welcome{}, &bye{codeStopping, "the server stops"}
		}
		old := h.links[environmentID]
		if old == nil {
			break
		}
		same := old.info.Executor == hi.Executor
		if same && hi.Attempt <= old.attempt {
			return nil, welcome{}, &bye{codeOvertaken, "a later attempt of this executor is connected"}
		}
		if !same && number < old.number {
			return nil, welcome{}, &bye{codeReplaced, "another executor of this environment has connected"}
		}
		if old.socket == nil {
			if l, answer := h.resume(old, s, hi); l != nil {
				l.number = number
				return l, answer, nil
			}
			continue // the link is gone now
		}
		code := bye{codeReplaced, "another executor of this environment has connected"}
		if same {
			code = bye{codeOvertaken, "a later attempt of this executor is connected"}
		}
		h.displace(old, code)
	}
	l := &link{project: project, environment: environmentID, attempt: hi.Attempt, number: number, c: newConversation(newID("conv_"), nil), socket: s, gone: make(chan struct{})}
	l.info = Info{hi.Executor, hi.Platform, hi.Workspace, hi.Sandbox, hi.Capabilities}
	h.links[environmentID] = l
	return l, welcome{Version: Version, Conversation: l.c.id}, nil
}

// displace ends the connection of a link, and waits for it, with the lock held before and after.
func (h *Hub) displace(l *link, why bye) {
	s, gone := l.socket, l.gone
	s.part(why)
	h.mu.Unlock()
	defer h.mu.Lock()
	t := time.NewTimer(displaceTime)
	defer t.Stop()
	select {
	case <-gone:
		return
	case <-t.C: // it is half dead, and its last write waits for a connection that is no more
	}
	_ = s.ws.CloseNow()
	<-gone
}

// displaceTime is how long an older connection may take to hear why it ends.
const displaceTime = 250 * time.Millisecond

// resume carries the conversation of a link without a connection on. nil: it can't be, and the link
// is gone.
func (h *Hub) resume(l *link, s *socket, hi hello) (*link, welcome) {
	l.grace.Stop()
	var received uint64
	var why error
	switch {
	case l.info.Executor != hi.Executor:
		why = errOther
	case hi.Conversation == "":
		why = errUnheard
	case hi.Conversation != l.c.id || hi.Over:
		why = errForgotten
	default:
		received, why = l.c.resume(hi.Received)
	}
	if why != nil {
		l.c.end(why)
		delete(h.links, l.environment)
		return nil, welcome{}
	}
	l.attempt, l.socket, l.gone = hi.Attempt, s, make(chan struct{})
	return l, welcome{Version: Version, Conversation: l.c.id, Resumed: true, Received: received}
}

// detach leaves the link waiting for its executor's next connection.
func (h *Hub) detach(l *link, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell(Change{Project: l.project, Environment: l.environment, Reason: reason, Info: l.info})
	close(l.gone) // whoever waits to take over tells of it after this
	l.socket = nil
	if l.c.cause() != nil || h.closed {
		delete(h.links, l.environment)
		return
	}
	l.grace = time.AfterFunc(h.timing.Grace, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.links[l.environment] == l && l.socket == nil {
			l.c.end(errAway)
			delete(h.links, l.environment)
		}
	})
}

// newID makes an id that nobody can guess.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
