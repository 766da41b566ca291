package egress

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
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

// Record is one line of the audit: one tunnel, request or dial, decided and, if allowed, ended; or the
// number of refusals of a kind, which are all that may be told together. It never holds a secret, a placeholder, a query, or a header.
type Record struct {
	ID       uint64        `json:"id"` // joins the two phases, within one Proxy
	Phase    Phase         `json:"phase"`
	Time     time.Time     `json:"time"`
	Kind     string        `json:"kind"`
	Host     string        `json:"host"` // as asked for: canonical, or cut to 253 bytes when it is no host; "" with Repeated: any
	Port     uint16        `json:"port,omitempty"`
	Addr     netip.Addr    `json:"addr,omitzero"` // that is dialled; the first of several while decided
	Allowed  bool          `json:"allowed"`
	Rule     string        `json:"rule,omitempty"`     // that refused it, or ended it
	Reason   string        `json:"reason,omitempty"`   // a sentence, for the operator
	Repeated int           `json:"repeated,omitempty"` // > 0: of refusals like an earlier one that have no record of their own; else 0
	Method   string        `json:"method,omitempty"`
	Path     string        `json:"path,omitempty"`        // without query, as plainPath has it, cut to MaxPathBytes
	Query    string        `json:"-"`                     // for whom is asked, and in no record: what Path leaves out, see queryOf
	Opened   bool          `json:"opened,omitempty"`      // TLS was opened for a credential
	Creds    []string      `json:"credentials,omitempty"` // names of those that were put in
	Status   int           `json:"status,omitempty"`      // of the answer
	Up       int64         `json:"up_bytes,omitempty"`
	Down     int64         `json:"down_bytes,omitempty"`
	Duration time.Duration `json:"duration_ns,omitempty"`
	Cause    error         `json:"-"` // that Config.Ask refused it with; nil: something else did
}

// Recorder stores a record durably. While PhaseDecided, an error means no: nothing is sent. It may be
// called from many goroutines, and ctx ends with Timeouts.Record. Records of refusals are final.
type Recorder func(ctx context.Context, r Record) error

// Asker decides about what Policy allows, before it is recorded: nil is yes, KindForbidden a no whose message the inside reads, and
// any other error a no for now. ctx ends with Timeouts.Record.
type Asker func(ctx context.Context, r Record) error

// Watcher is told of what was allowed, while it lasts, and may end it before its time, once: end cuts it off, with an error whose message
// is put on record. The proxy calls done when it is over.
type Watcher func(r Record, end func(error)) (done func())

// watched has Config.Watch look after a connection or request, which cut ends; done is to be called at its end, with how it went, and says
// how that was.
func (p *Proxy) watched(r *Record, cut func()) (done func(*refusal) *refusal) {
	if p.cfg.Watch == nil {
		return func(went *refusal) *refusal { return went }
	}
	var ended atomic.Pointer[refusal]
	forget := p.cfg.Watch(*r, func(err error) {
		ended.Store(refuse(RulePolicy, "%s", err.Error()))
		cut()
	})
	return func(went *refusal) *refusal {
		forget()
		if why := ended.Load(); why != nil {
			return why
		}
		return went
	}
}

// asked is a refusal by Config.Ask; nil: there is none.
func (p *Proxy) asked(r *Record) *refusal {
	if p.cfg.Ask == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), p.times.Record)
	defer cancel()
	about := *r
	about.Query = p.withoutPlaceholders(about.Query)
	switch err := p.cfg.Ask(ctx, about); {
	case err == nil:
		return nil
	case stead.KindOf(err) == stead.KindForbidden:
		why := refuse(RulePolicy, "%s", err.Error())
		why.cause = err
		return why
	default:
		p.cfg.Log.Error("a connection out of an environment could not be decided", "host", r.Host, "err", err)
		return &refusal{status: 503, rule: RulePolicy, reason: "it could not be decided whether this is allowed, so nothing was sent"}
	}
}

// record writes one record; what it returns counts for allowed decisions only.
func (p *Proxy) record(r *Record) error {
	r.Time = p.cfg.Now()
	r.Reason = maskText(r.Reason, p.secrets.known()) // it may quote what a server answered
	r.Host, r.Path, r.Reason = p.withoutPlaceholders(r.Host), p.withoutPlaceholders(r.Path), p.withoutPlaceholders(r.Reason)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), p.times.Record)
	defer cancel()
	stored := *r
	stored.Query = ""
	err := p.cfg.Recorder(ctx, stored)
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

// denied records a refusal, or counts it: see folds.
func (p *Proxy) denied(r *Record, why *refusal) {
	p.refused.Add(1)
	r.Phase, r.Allowed, r.Rule, r.Reason, r.Cause = PhaseDecided, false, why.rule, why.words(), why.cause
	if p.folds.pass(r, why.flood, p.times.Fold, p.unfold) {
		_ = p.record(r) // logged there: a no stays a no
	}
}

// To is host:port; "*" when a record is of refusals towards any.
func (r Record) To() string {
	if r.Host == "" {
		return "*"
	}
	return net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
}

// words are the reason for the operator.
func (r *refusal) words() string {
	if r.detail == "" {
		return r.reason
	}
	return r.reason + " (" + r.detail + ")"
}
