package server

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit/stream"
	"github.com/stead-dev/stead/internal/identity"
)

// health says that the process answers.
func (s *server) health(w http.ResponseWriter, _ *http.Request, _ stead.Principal) error {
	return s.write(w, s.answers("ok"))
}

// answers also warns of a full disk. That is no reason to send requests elsewhere: whoever makes room has to get through.
func (s *server) answers(status string) map[string]string {
	m := map[string]string{"status": status, "version": s.Version}
	if err := s.full(); err != nil {
		e, _, _ := wireErrorOf(err)
		m["warning"] = e.Message
	} else if s.unreadable() > 0 {
		m["warning"] = "something is sealed by a key that this node does not have, and can't be used: its log says what"
	}
	return m
}

func (s *server) unreadable() int64 {
	if s.Unreadable == nil {
		return 0
	}
	return s.Unreadable()
}

// ready says whether requests should be sent here: not while the server stops, nor when what it
// depends on is away.
func (s *server) ready(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	select {
	case <-s.Stopping:
		return stead.Errorf(stead.KindUnavailable, "the server is stopping")
	default:
	}
	if s.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), ReadyTimeout)
		defer cancel()
		if err := s.Ready(ctx); err != nil {
			return stead.Wrap(stead.KindUnavailable, err, "the server is not ready")
		}
	}
	return s.write(w, s.answers("ready"))
}

func (s *server) spec(w http.ResponseWriter, _ *http.Request, _ stead.Principal) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(s.openAPI())
	return err
}

// metrics counts what this door did. Text format: Prometheus 0.0.4.
type metrics struct {
	started time.Time
	streams atomic.Int64
	events  atomic.Int64
	dropped atomic.Int64

	mu       sync.Mutex
	shares   map[shareOf]int64 // open streams
	requests map[requestKey]*requestCount
}

type requestKey struct {
	route  string // as in the table, never a path: its values would be without number
	status int
}

type requestCount struct {
	n    int64
	took time.Duration
}

func newMetrics(now time.Time) *metrics {
	return &metrics{started: now, shares: map[shareOf]int64{}, requests: map[requestKey]*requestCount{}}
}

func (m *metrics) request(method, pattern string, status int, took time.Duration) {
	if !strings.HasPrefix(pattern, method+" ") {
		pattern = "other"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := requestKey{pattern, status}
	c := m.requests[k]
	if c == nil {
		c = &requestCount{}
		m.requests[k] = c
	}
	c.n++
	c.took += took
}

// shareOf names whose streams are counted together: a project's, or those of one principal of it.
type shareOf struct {
	project stead.ProjectID
	kind    stead.PrincipalKind
	id      string
}

// openStream takes a place among the node's streams, for whoever opens one, and says how it is given back. Nobody has all of them. A nil
// principal is of a server that knows nobody.
func (m *metrics) openStream(p *stead.Principal) (done func(), err error) {
	full := func(whose string) error {
		return &stead.Error{Kind: stead.KindLimited, Message: whose + " as many open streams as it can have", RetryAfter: time.Second}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams.Load() >= MaxStreams {
		return nil, full("this node has")
	}
	var of []shareOf
	if p != nil {
		of = []shareOf{{project: p.Project}, {p.Project, p.Kind, p.ID}}
		switch {
		case m.shares[of[0]] >= MaxProjectStreams:
			return nil, full("the project has, on this node,")
		case m.shares[of[1]] >= MaxPrincipalStreams:
			return nil, full("this key's user or service has, on this node,")
		}
	}
	m.count(1, of)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.count(-1, of)
	}, nil
}

// count adds to the open streams of the node, and of some; whose are closed is forgotten.
func (m *metrics) count(n int64, of []shareOf) {
	m.streams.Add(n)
	for _, s := range of {
		if m.shares[s] += n; m.shares[s] == 0 {
			delete(m.shares, s)
		}
	}
}

// scrapes refuses a server's figures, which are of all its tenants, to those who are not its operator's: root, and owners, operators and auditors of the default project.
func (s *server) scrapes(p stead.Principal) error {
	if s.Authenticate == nil || p.Project == stead.DefaultProject && slices.Contains([]stead.Role{identity.Owner, identity.Operator, identity.Auditor}, p.Role) {
		return nil
	}
	e := stead.Errorf(stead.KindForbidden, "the node's figures are not for this key")
	e.Hint = "They are for owners, operators and auditors of the project " + string(stead.DefaultProject) + ", and the root key."
	return e
}

func (s *server) exposeMetrics(w http.ResponseWriter, _ *http.Request, p stead.Principal) error {
	if err := s.scrapes(p); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m := s.metrics
	gauge := func(kind, name, help string, value int64) {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", name, help, name, kind, name, value)
	}
	fmt.Fprintf(w, "# HELP stead_build_info The build that runs.\n# TYPE stead_build_info gauge\nstead_build_info{version=%q} 1\n", s.Version)
	m.exposeRequests(w)
	gauge("gauge", "stead_http_streams_open", "Event streams that are open.", m.streams.Load())
	gauge("counter", "stead_http_stream_events_total", "Events written to streams.", m.events.Load())
	gauge("counter", "stead_http_streams_dropped_total", "Streams dropped because the client was gone or did not read.", m.dropped.Load())
	gauge("gauge", "process_start_time_seconds", "When the process began to serve, in Unix seconds.", m.started.Unix())
	full := int64(0)
	if s.full() != nil {
		full = 1
	}
	gauge("gauge", "stead_storage_full", "1 while the disk is full and nothing new is taken.", full)
	gauge("gauge", "stead_sealed_unreadable", "Credentials, templates and others that are sealed by a key that this node does not have.", s.unreadable())
	s.exposeStreams(w)
	s.exposeGuardrails(w)
	if rss := residentBytes(); rss > 0 {
		gauge("gauge", "process_resident_memory_bytes", "Resident memory.", rss)
	}
	gauge("gauge", "go_goroutines", "Goroutines that exist.", int64(runtime.NumGoroutine()))
	return nil
}

// exposeStreams says how far audit logs were sent on by this node.
func (s *server) exposeStreams(w io.Writer) {
	if s.AuditStreams == nil {
		return
	}
	all := s.AuditStreams()
	for _, m := range []struct {
		kind, name, help string
		of               func(stream.Status) int64
	}{
		{"counter", "stead_audit_stream_records_total", "Audit records that this node has sent.", func(s stream.Status) int64 { return s.Sent }},
		{"gauge", "stead_audit_stream_behind", "Audit records that the receiver does not have yet.", func(s stream.Status) int64 { return s.Behind }},
		{"gauge", "stead_audit_stream_failing", "1 while the receiver does not take what is sent.", func(s stream.Status) int64 {
			if s.Failing {
				return 1
			}
			return 0
		}},
	} {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		for _, one := range all {
			fmt.Fprintf(w, "%s{stream=%q} %d\n", m.name, one.Name, m.of(one))
		}
	}
}

func (m *metrics) exposeRequests(w io.Writer) {
	m.mu.Lock()
	counts := make(map[requestKey]requestCount, len(m.requests))
	for k, c := range m.requests {
		counts[k] = *c
	}
	m.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b requestKey) int {
		if c := strings.Compare(a.route, b.route); c != 0 {
			return c
		}
		return a.status - b.status
	})
	fmt.Fprint(w, "# HELP stead_http_requests_total Requests answered, by route and status.\n# TYPE stead_http_requests_total counter\n")
	for _, k := range keys {
		fmt.Fprintf(w, "stead_http_requests_total{route=%q,status=\"%d\"} %d\n", k.route, k.status, counts[k].n)
	}
	fmt.Fprint(w, "# HELP stead_http_request_seconds_total Time spent in requests, streams included.\n# TYPE stead_http_request_seconds_total counter\n")
	for _, k := range keys {
		fmt.Fprintf(w, "stead_http_request_seconds_total{route=%q,status=\"%d\"} %g\n", k.route, k.status, counts[k].took.Seconds())
	}
}

// residentBytes reads the second field of statm, in pages. It is 0 where there is no /proc.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
