// Package server is the HTTP door: the OpenAI Agents API, and what Stead adds to it.
//
// Shape: a request passes the guard (request id, host and origin, authentication), finds its route,
// and becomes one call of session.Service or session.Agents, or of a model (gateway.go); the answer is JSON, an event stream
// or an error envelope.
//
//	request ── guard ──▶ route ──▶ decode ──▶ Service ──▶ JSON | text/event-stream | {"error": {…}}
//
// The routes stand in one table (route.go), of which the OpenAPI document is made as well. Routes
// of the contract that have not landed answer 501; everything unknown 404; a wrong method 405.
//
// Delivery: what was answered with 2xx is durable, but for the stateless doors, which keep nothing. A stream carries each event with its cursor as
// SSE id; a client that comes back with it as Last-Event-ID or ?after= gets every later event once,
// in order. A client that stops reading is dropped after WriteTimeout; its session carries on.
//
// Limits: stead.MaxRequestBytes, MaxTextBytes, MaxInputEvents, MaxPageSize and those below.
//
// Errors: one table from stead.Kind to status and type (error.go). The cause of an error is logged
// and never shown.
//
// Source: npm openai 7.57.0, resources/beta/agents; HTML Living Standard, server-sent events;
// OpenAPI 3.1.
package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/audit/stream"
	"github.com/stead-dev/stead/internal/capacity"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/held"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/trace"
	"github.com/stead-dev/stead/internal/usage"
)

// Limits that this package alone enforces.
const (
	// BodyTimeout is how long a client may take to send a request body.
	BodyTimeout = 2 * time.Minute
	// KeepAliveInterval is how long a stream stays silent before a comment is sent.
	KeepAliveInterval = 15 * time.Second
	// MaxStreams is the most open streams of one node.
	MaxStreams = 20_000
	// MaxProjectStreams is how many of them one project has at a time, and MaxPrincipalStreams one user or service: none can take all.
	MaxProjectStreams   = 16_000
	MaxPrincipalStreams = 12_000
	// MaxImportBytes is the largest file that a session is imported from.
	MaxImportBytes = 4 << 30
	// MaxImageURLBytes is the longest https URL of an image; data URLs have stead.MaxTextBytes.
	MaxImageURLBytes = 8 << 10
	// ReadyTimeout bounds one readiness check.
	ReadyTimeout = 5 * time.Second
)

// Config is what the door needs.
type Config struct {
	Sessions session.Service
	Agents   session.Agents
	Traces   trace.Service
	// Responses keeps responses and conversations of the Responses API.
	Responses session.Responses
	// Executors is where self-hosted environments connect to; nil: there are none.
	Executors Executors
	// Environments are the computers of sessions, and Planner says how one is made; nil: there are none.
	Environments session.Environments
	Planner      Planner
	// RemoteURL is where the executor of a self-hosted environment connects, with its token; nil: the
	// one that the session shows.
	RemoteURL func(p stead.Principal, environmentID string) string
	// FileContent reads a file of the Files API, of at most max bytes: KindTooLarge above, before anything
	// is read. nil: there is none.
	FileContent func(ctx context.Context, p stead.Principal, id string, max int64) ([]byte, error)
	Templates   Templates
	Files       Files
	Skills      Skills
	Memory      Memory
	Vectors     Vectors
	Sources     Sources
	Vaults      Vaults // nil: there are none
	Usage       Usage
	Budgets     Budgets
	Models      model.Catalog
	// Keys keeps API keys; nil: there are none.
	Keys Keys
	// Issuer publishes what tokens of agents can be checked with; nil: agents have none.
	Issuer Issuer
	// Consents ask users whether agents may act for them; nil: nobody is asked. SecureCookies: browsers reach this server by TLS.
	Consents      Consents
	SecureCookies bool
	// Policies shows the policies in force; nil: there are none.
	Policies Policies
	// PolicySets keep those that projects upload; nil: none can.
	PolicySets PolicySets
	// SemanticModels keep those that projects upload, and SemanticLayer answers in their terms; nil: there are none.
	SemanticModels SemanticModels
	SemanticLayer  SemanticLayer
	// Approvals are the requests of the API that wait for somebody's approval; nil: none does.
	Approvals Approvals
	// Audit shows audit logs; nil: there are none.
	Audit Audit
	// Erasures delete with certificates; nil: there are none, and sessions are deleted without.
	Erasures Erasures
	// Retention shows how long things are kept; nil: for ever.
	Retention Retention
	// AuditStreams says how far audit logs were sent on; nil: they are not.
	AuditStreams func() []stream.Status
	// Watch ends a model call that was allowed, by end and with a *stead.Error, when it is stopped while it is under way, until
	// done is called: see package killswitch. nil: nothing is.
	Watch func(end context.CancelCauseFunc, req policy.Request) (done func())
	// Stopped refuses the calls of who was stopped, with KindForbidden, and records that; nil: nobody is.
	Stopped func(ctx context.Context, p stead.Principal) error
	// StillReads refuses, with KindForbidden, who may not read a session any more: streams that are open ask it now and then. nil: everybody may.
	StillReads func(ctx context.Context, p stead.Principal, of stead.SessionID) error
	// KillSwitches stop what must not go on.
	KillSwitches KillSwitches
	// Gate decides about the calls of the stateless doors; nil: none is allowed. Meter is told of them;
	// nil: nobody is.
	Gate  Gate
	Meter Meter
	// Guardrails check the calls of the stateless doors; nil: there are none.
	Guardrails *guardrail.Guard
	// Purse are the budgets of stateless calls; nil: there are none. Prices is the price book.
	Purse  Purse
	Prices *usage.Book
	// Seals closes and opens compactions; nil: none are made.
	Seals Seals
	// Reseals seals anew what an older key sealed; nil: nothing is sealed.
	Reseals Reseals
	// Unreadable is how much of all projects is sealed by a key that this node does not have; nil: it is not known.
	Unreadable func() int64
	// ModelIdleTimeout cuts off a stateless call whose upstream says nothing; 0: stead.ModelIdleTimeout.
	ModelIdleTimeout time.Duration
	// Explain says which routes a call to a model would take, and why; nil: each has but one.
	Explain func(name string, call model.Caller) ([]router.Considered, error)
	// Capacity says how the node's pools of throughput stand; nil: there are none.
	Capacity func() []capacity.Status
	// Authenticate says who asks. nil is a server without authentication: everybody is
	// stead.LocalPrincipal, and only requests to a loopback name or address are served, so that a
	// web page can't reach it by rebinding a name of its own.
	Authenticate func(*http.Request) (identity.Caller, error)
	// TurnedAway is told of calls by those who had no valid key or token: why, and the key that their secret names. It must not
	// block. nil: nobody is.
	TurnedAway func(c audit.Call, code, why, claimed string)
	// Origins are those of web pages that may call the routes that session tokens open. They count with Authenticate alone.
	Origins []string
	// Pace is how many requests are taken a minute.
	Pace Pace
	// ToolServers are the labels of the operator's tool servers that a project has, and of those that it doesn't have; nil: there are none.
	ToolServers func(stead.ProjectID) (own, others []string)
	// Schema checks that a JSON Schema can be compiled. nil: agents are not checked for that.
	Schema func(json.RawMessage) error
	Log    *slog.Logger // nil: slog.Default
	// Version is what /healthz, /metrics and the OpenAPI document call this build.
	Version string
	// Ready says whether the node can serve; nil: always.
	Ready func(context.Context) error
	// Full says why nothing new is taken, because the disk is full; nil: it never is.
	Full func() error
	// Stopping is closed when the server begins to stop: streams end and readiness fails. nil: never.
	Stopping <-chan struct{}
}

type server struct {
	Config
	rules      agent.Rules
	mux        *http.ServeMux
	routes     []route
	origin     *http.CrossOriginProtection
	metrics    *metrics
	openAPI    func() []byte
	warned     sync.Map     // [project, model] → true: that it is deprecated was logged
	skillBytes *held.Budget // see MaxHeldSkillBytes
	bodies     *held.Budget // see MaxHeldBodyBytes
	learned    learned
	pacer      *pacer
	pages      *template.Template
	pagePolicy string
	relayed    sync.Pool // of *[relayBuffer]byte, which answers are relayed through
	lent       sync.Pool // of *[]byte: see lend
}

// New makes the handler.
func New(c Config) http.Handler {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &server{
		Config:     c,
		rules:      agent.Rules{Schema: c.Schema, Environments: c.Environments != nil, Search: searchOptions(c.Vectors != nil)},
		mux:        http.NewServeMux(),
		origin:     http.NewCrossOriginProtection(),
		metrics:    newMetrics(time.Now()),
		skillBytes: held.New("skills that are uploaded", MaxHeldSkillBytes),
		bodies:     held.New("requests", MaxHeldBodyBytes),
		pacer:      newPacer(c.Pace, time.Now),
		relayed:    sync.Pool{New: func() any { return new([relayBuffer]byte) }},
	}
	style := sha256.Sum256([]byte(pageStyle))
	s.pages, s.pagePolicy = newPages(), fmt.Sprintf(pagePolicy, base64.StdEncoding.EncodeToString(style[:]))
	s.routes = s.table()
	if c.Authenticate == nil {
		s.Origins = nil
	}
	for _, r := range s.routes {
		s.mux.Handle(r.method+" "+cmp.Or(r.mux, r.path), s.endpoint(r))
	}
	for _, path := range shadowed() {
		for _, method := range []string{"GET", "POST", "DELETE"} { // those of /v1/agents/{id}
			s.mux.Handle(method+" "+path, s.endpoint(route{handle: s.unknown}))
		}
	}
	s.openAPI = sync.OnceValue(func() []byte { return document(s.routes, c.Version) })
	return s
}

// rulesFor are the rules of what a caller may say of agents.
func (s *server) rulesFor(ctx context.Context, p stead.Principal) agent.Rules {
	r := s.rules
	if s.Memory != nil {
		r.MemoryStore = func(id string) bool {
			_, err := s.Memory.GetStore(ctx, p, id)
			return stead.KindOf(err) != stead.KindNotFound // what else there is, is said when it is used
		}
	}
	if s.ToolServers != nil {
		r.Labels, r.Taken = s.ToolServers(p.Project)
	}
	return r
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	out := &response{ResponseWriter: w, id: newRequestID(), body: s.bodies.Lease()}
	out.begin(r)
	out.Header().Set("X-Request-Id", out.id)
	if r.TLS != nil {
		out.Header().Set("Strict-Transport-Security", "max-age=31536000") // a year, RFC 6797
	}
	defer func() {
		out.body.Release()
		if v := recover(); v != nil {
			s.panicked(out, r, v)
		}
		out.end()
		s.metrics.request(r.Method, r.Pattern, out.status(), time.Since(start))
		if s.Log.Enabled(r.Context(), slog.LevelDebug) { // else nothing of it is worth putting together
			s.Log.Debug("request", "id", out.id, "method", r.Method, "path", r.URL.Path, "status", out.status(), "took", time.Since(start))
		}
	}()
	if s.shares(out, r) {
		return
	}
	if err := s.guard(r); err != nil {
		s.fail(out, r, err)
		return
	}
	h, pattern := s.mux.Handler(r)
	switch {
	case pattern == "":
		s.endpoint(route{handle: s.unknown}).ServeHTTP(out, r)
	case strings.IndexByte(pattern, '{') < 0: // nothing of the path is to be told: the mux need not look a second time
		r.Pattern = pattern
		h.ServeHTTP(out, r)
	default:
		s.mux.ServeHTTP(out, r)
	}
}

// endpoint makes a route's handler: it authenticates, calls and writes the error.
func (s *server) endpoint(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var c identity.Caller
		var err error
		if !rt.open {
			if c, err = s.who(r); err == nil {
				err = rt.admits(c.Principal, r)
			}
			if err == nil {
				err = s.pacer.admit(w.Header(), c)
			}
			if err == nil && s.Authenticate != nil {
				ownKey(r, c.Principal)
			}
			r = s.inAct(w, s.inCall(w, r, c), rt)
			if err == nil {
				err = s.stopped(rt, r, c.Principal)
			}
		}
		if err == nil {
			err = s.takes(rt)
		}
		if err == nil && !rt.oauth && !rt.lenient {
			err = rt.asks(r)
		}
		if err == nil {
			err = rt.handle(w, r, c.Principal)
		}
		if err != nil {
			if rt.oauth { // it told who was turned away itself, and its errors are in other words
				s.failOAuth(w, r, err)
				return
			}
			s.turnedAway(w, r, err, rt.open || c.ID == "")
			s.fail(w, r, err)
		}
	})
}

// stopped refuses who was stopped, but to look at kill switches and to lift them: nobody locks everybody out. Where that can't be found out
// just now, reading goes on.
func (s *server) stopped(rt route, r *http.Request, p stead.Principal) error {
	if s.Stopped == nil || strings.HasPrefix(rt.path, killSwitches) {
		return nil
	}
	err := s.Stopped(r.Context(), p)
	if stead.KindOf(err) == stead.KindUnavailable && rt.method == http.MethodGet {
		return nil
	}
	return err
}

// takes refuses what is new on a full disk.
func (s *server) takes(rt route) error {
	if rt.method != http.MethodPost || rt.always {
		return nil
	}
	return s.full()
}

func (s *server) full() error {
	if s.Full == nil {
		return nil
	}
	return s.Full()
}

func (s *server) who(r *http.Request) (identity.Caller, error) {
	if s.Authenticate == nil {
		return identity.Caller{Principal: stead.LocalPrincipal()}, nil
	}
	return s.Authenticate(r)
}
