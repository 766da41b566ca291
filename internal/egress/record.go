package egress

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Phase says when a record is written.
type Phase string

// The phases.
const (
	PhaseDecided Phase = "decided" // before the first byte leaves
	PhaseEnded   Phase = "ended"   // of what was allowed: with its numbers
)

// What a record is about.
const (
	KindTunnel  = "tunnel"  // CONNECT, with bytes that are not seen
	KindRequest = "request" // one HTTP request
	KindDial    = "dial"    // DialContext, of the server's own
)

// Record is one line of the audit: one tunnel, request or dial, decided and, if allowed, ended. It
// never holds a secret, a placeholder, a query, or a header.
type Record struct {
	ID       uint64        `json:"id"` // joins the two phases, within one Proxy
	Phase    Phase         `json:"phase"`
	Time     time.Time     `json:"time"`
	Kind     string        `json:"kind"`
	Host     string        `json:"host"` // as asked for: canonical, or cut to 253 bytes when it is no host
	Port     uint16        `json:"port,omitempty"`
	Addr     netip.Addr    `json:"addr,omitzero"` // that is dialled; the first of several while decided
	Allowed  bool          `json:"allowed"`
	Rule     string        `json:"rule,omitempty"`     // that refused it, or ended it
	Reason   string        `json:"reason,omitempty"`   // a sentence, for the operator
	Repeated int           `json:"repeated,omitempty"` // refusals by the same limit since the last record, not recorded
	Method   string        `json:"method,omitempty"`
	Path     string        `json:"path,omitempty"`        // without query, cut to MaxPathBytes
	Opened   bool          `json:"opened,omitempty"`      // TLS was opened for a credential
	Creds    []string      `json:"credentials,omitempty"` // names of those that were put in
	Status   int           `json:"status,omitempty"`      // of the answer
	Up       int64         `json:"up_bytes,omitempty"`
	Down     int64         `json:"down_bytes,omitempty"`
	Duration time.Duration `json:"duration_ns,omitempty"`
}

// Recorder stores a record durably. While PhaseDecided, an error means no: nothing is sent. It may be
// called from many goroutines, and ctx ends with Timeouts.Record. Records of refusals are final.
type Recorder func(ctx context.Context, r Record) error

// record writes one record; what it returns counts for allowed decisions only.
func (p *Proxy) record(r *Record) error {
	r.Time = p.cfg.Now()
	r.Reason = maskText(r.Reason, p.secrets.known()) // it may quote what a server answered
	r.Host, r.Path, r.Reason = p.withoutPlaceholders(r.Host), p.withoutPlaceholders(r.Path), p.withoutPlaceholders(r.Reason)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), p.times.Record)
	defer cancel()
	err := p.cfg.Recorder(ctx, *r)
	if err != nil {
		p.cfg.Log.Error("egress record not stored", "host", r.Host, "phase", string(r.Phase), "err", err)
	}
	return err
}

// withoutPlaceholders keeps placeholders out of what the inside wrote.
func (p *Proxy) withoutPlaceholders(s string) string {
	for _, c := range p.creds {
		s = strings.ReplaceAll(s, c.Placeholder, "{"+c.Name+"}")
	}
	return s
}

// authorityOf is what a record holds of a target that could not be read: without scheme, user, path
// and query, and cut to the length of a name.
func authorityOf(target string) string {
	if _, rest, ok := strings.Cut(target, "://"); ok {
		target = rest
	}
	if i := strings.IndexAny(target, "/?#\\"); i >= 0 {
		target = target[:i]
	}
	return cutTo(target[strings.LastIndexByte(target, '@')+1:], maxNameBytes)
}

// decided records that something is allowed, before it happens.
func (p *Proxy) decided(r *Record) *refusal {
	r.Phase, r.Allowed = PhaseDecided, true
	if p.ctx.Err() != nil {
		return outside(503, nil, "the environment is ending")
	}
	if err := p.record(r); err != nil {
		return &refusal{status: 503, rule: RuleRecord, reason: "the decision could not be recorded, so nothing was sent"}
	}
	p.accepted.Add(1)
	return nil
}

// ended records how it went. Its error changes nothing any more; it is logged.
func (p *Proxy) ended(r *Record, began time.Time, why *refusal) {
	r.Phase = PhaseEnded
	r.Duration = p.cfg.Now().Sub(began)
	if why != nil {
		r.Rule, r.Reason = why.rule, why.words()
	}
	_ = p.record(r) // logged there
}

// denied records a refusal. Those of a limit, and of what is no request, may come in floods: one record
// a second tells of all. All others are counted by the limit per minute.
func (p *Proxy) denied(r *Record, why *refusal) {
	p.refused.Add(1)
	if why.flood {
		repeated, ok := p.flood.pass(why.rule, p.cfg.Now())
		if !ok {
			return
		}
		r.Repeated = repeated
	}
	r.Phase, r.Allowed, r.Rule, r.Reason = PhaseDecided, false, why.rule, why.words()
	_ = p.record(r) // logged there: a no stays a no
}

// words are the reason for the operator.
func (r *refusal) words() string {
	if r.detail == "" {
		return r.reason
	}
	return r.reason + " (" + r.detail + ")"
}

// flood counts the refusals of each limit that were not recorded.
type flood struct {
	mu    sync.Mutex
	last  map[string]time.Time // rule → its last record
	count map[string]int
}

func (f *flood) pass(rule string, now time.Time) (repeated int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		f.last, f.count = map[string]time.Time{}, map[string]int{}
	}
	if last, seen := f.last[rule]; seen && now.Sub(last) < floodPause {
		f.count[rule]++
		return 0, false
	}
	repeated = f.count[rule]
	f.last[rule], f.count[rule] = now, 0
	return repeated, true
}
