// Package approval holds requests of the API until somebody approves them.
//
// Shape: a policy wants an approval of what a request would do. Nothing is done; the question is a document, and the request is answered
// with its id. Once it is approved, the very same request is sent again, and passes once.
//
//	request ──▶ Authorizer ──▶ policies ──▶ Needs ──▶ Question, open ──▶ 403 approval_required
//	                                                     │ Desk.Answer: approve (n of m), delegate, deny
//	same request ──▶ Authorizer ──▶ policies ──▶ Needs ──▶ approved ──▶ used, by compare-and-set ──▶ allowed
//
// The same request is one of the same principal, with the same method, path, query, If-Match and body, byte for byte, for the same effect
// on the same thing. What it holds in memory is nothing: who asks waits, or does not.
//
// Units and limits: times are Unix milliseconds; see the constants. Questions that end are kept for KeepFor, so that they can be looked at.
//
// Delivery: an answer that was taken is on stable storage. An approval is used up before the effect: of any number of repeats, on any
// nodes, one passes. When the effect then fails, or the node dies, it stays used up, and the next repeat asks anew; but on routes that
// honour Idempotency-Key, a repeat with the key of the use passes for ReplayFor, since it does nothing twice. Time that no node was
// there for counts.
//
// Errors: KindForbidden with policy.CodeApproval for what was asked; KindForbidden for what was denied; KindLimited for more than
// MaxOpen open questions; KindUnavailable when questions can't be read or stored: then nothing is done.
package approval

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// Limits.
const (
	// MaxOpen is how many questions of one principal may be there at once. Those that are over make room for new ones.
	MaxOpen = 100
	// MaxStands ends a question of which the policy says no time.
	MaxStands = 30 * 24 * time.Hour
	// UseWithin is how long what was approved may be done.
	UseWithin = 7 * 24 * time.Hour
	// DeniedFor is how long a denial answers the same request; then it is asked again.
	DeniedFor = 15 * time.Minute
	// ReplayFor is how long a use lets repeats with its idempotency key pass.
	ReplayFor = time.Hour
	// KeepFor is how long a question is kept once it is over.
	KeepFor = 24 * time.Hour
	// MaxViewBytes bounds what is shown of a request's body where several are listed.
	MaxViewBytes = 4 << 10
)

// Prefix begins the ids of questions.
const Prefix = "apr_"

const kind document.Kind = "approval"

// Status is how a question stands.
type Status string

// The statuses.
const (
	Open     Status = "open"
	Approved Status = "approved" // or nobody answered in time, and that allows it: not used yet
	Denied   Status = "denied"
	Expired  Status = "expired"
	Used     Status = "used"
)

// Given is one person's answer.
type Given struct {
	By     stead.Principal `json:"by"`
	At     int64           `json:"at"`
	Reason string          `json:"reason,omitempty"`
	Key    string          `json:"key,omitempty"` // SHA-256 of the answer's idempotency key
}

// Use is the request that an approval was used up by.
type Use struct {
	At      int64  `json:"at"`
	Request string `json:"request"`       // its id, as in X-Request-Id
	Key     string `json:"key,omitempty"` // SHA-256 of its idempotency key, where the route honours that
}

// Question is one request that waits, or waited.
type Question struct {
	ID       string            `json:"-"`
	Project  stead.ProjectID   `json:"-"`
	By       stead.Principal   `json:"by"`               // who asks, or in whose name Agent does
	Agent    stead.AgentID     `json:"agent,omitempty"`  // that wants a connection out of its environment
	Behind   []stead.Principal `json:"behind,omitempty"` // see policy.Request
	At       int64             `json:"at"`
	Effect   policy.Effect     `json:"effect"`
	Resource string            `json:"resource,omitempty"` // where the request names it
	Session  stead.SessionID   `json:"session,omitempty"`  // that it is about
	Pinned   string            `json:"pinned,omitempty"`   // see policy.Request; of a query without secrets
	Exact    string            `json:"exact,omitempty"`    // SHA-256 of what is pinned, where that may not all be shown
	Method   string            `json:"method"`
	Path     string            `json:"path"`            // with its query
	Match    string            `json:"match,omitempty"` // the If-Match
	Body     string            `json:"body"`            // SHA-256 of it
	View     json.RawMessage   `json:"view"`            // what may be seen of the body, in short
	Whole    json.RawMessage   `json:"whole,omitempty"` // all that may be; nil: View is
	Needs    policy.Needs      `json:"needs"`
	Why      string            `json:"why,omitempty"`
	Policies []string          `json:"policies,omitempty"`
	Version  string            `json:"version,omitempty"` // of the policies
	Until    int64             `json:"until"`

	Approved  []Given            `json:"approved,omitempty"`
	Enough    int64              `json:"enough,omitempty"` // when the last approval that it took was given
	Delegated *policy.Delegation `json:"delegated,omitempty"`
	Denial    *Given             `json:"denial,omitempty"`
	Use       *Use               `json:"use,omitempty"`
	Lapsed    int64              `json:"lapsed,omitempty"`  // when it was recorded that the time is over
	Erased    int64              `json:"erased,omitempty"`  // when what it shows was, so that nobody can approve it any more
	Pending   *Pending           `json:"pending,omitempty"` // what is being recorded

	version int64  // of the document
	slot    string // which request it is
	blind   bool   // it can't be shown
}

// Status is how the question stands at a time.
func (q *Question) Status(now int64) Status {
	switch {
	case q.Use != nil:
		return Used
	case q.Denial != nil:
		return Denied
	case q.Erased > 0:
		return Expired
	case q.Enough > 0:
		if now < q.Enough+UseWithin.Milliseconds() {
			return Approved
		}
		return Expired
	case now < q.Until:
		return Open
	case q.Needs.Default == policy.DefaultAllow && now < q.Until+UseWithin.Milliseconds():
		return Approved
	}
	return Expired
}

// Ends is when the question, or what was approved, is over by itself; 0: it is over.
func (q *Question) Ends(now int64) int64 {
	switch q.Status(now) {
	case Open:
		return q.Until
	case Approved:
		if q.Enough > 0 {
			return q.Enough + UseWithin.Milliseconds()
		}
		return q.Until + UseWithin.Milliseconds()
	}
	return 0
}

// goes is when nothing of the question is needed any more.
func (q *Question) goes() int64 {
	last := max(q.Until, q.Enough)
	if q.Enough > 0 || q.Needs.Default == policy.DefaultAllow {
		last += UseWithin.Milliseconds()
	}
	switch {
	case q.Use != nil:
		last = q.Use.At
	case q.Denial != nil:
		last = q.Denial.At
	}
	return last + KeepFor.Milliseconds()
}

// Digest is that of what whoever answers is shown: which question it is, and what would be done, with the whole body. SHA-256 in hex.
func (q *Question) Digest() string {
	of := []string{q.ID, string(q.Effect), q.Resource, string(q.Session), q.Method, q.Path, q.Match, q.Body}
	if exact := cmp.Or(q.Exact, q.Pinned); exact != "" { // what was asked before there was this keeps its digest
		of = append(of, exact)
	}
	return digest(of...)
}

// Shown is what whoever answers sees of the request, as JSON: all of it, or in short.
func (q *Question) Shown(whole bool) json.RawMessage {
	body := q.View
	if whole && q.Whole != nil {
		body = q.Whole
	}
	b, err := json.Marshal(struct {
		Method   string          `json:"method"`
		Path     string          `json:"path"`
		Match    string          `json:"if_match,omitempty"`
		Body     json.RawMessage `json:"body"`
		Digest   string          `json:"body_sha256"`
		By       string          `json:"asked_by"`
		Resource string          `json:"resource,omitempty"`
		Pinned   string          `json:"pinned,omitempty"`
		Exact    string          `json:"pinned_sha256,omitempty"`
	}{q.Method, q.Path, q.Match, body, q.Body, string(q.By.Kind) + ":" + q.By.ID, q.Resource, q.Pinned, q.Exact})
	if err != nil {
		panic(err) // it was read from JSON
	}
	return b
}

// Says is why the request waits, and for whom, in words.
func (q *Question) Says() string {
	n, text := &q.Needs, ""
	if q.Why != "" {
		text = strings.ToUpper(q.Why[:1]) + q.Why[1:] + ". "
	}
	count := max(1, n.Count)
	text += fmt.Sprintf("It takes %d approval(s) by %s", count, n.Who())
	if n.Separate {
		text += ", not by whoever asked"
	}
	if given := count - n.Missing(q.givers(), q.behind()...); given > 0 {
		text += fmt.Sprintf("; %d given", given)
	}
	if q.Delegated != nil {
		text += "; the next was handed to " + q.Delegated.To.String()
	}
	becomes := "refused"
	if n.Default == policy.DefaultAllow {
		becomes = "allowed without one"
	}
	return text + "; after " + time.UnixMilli(q.Until).UTC().Format(time.RFC3339) + " it is " + becomes + "."
}

// asked is the question as the rules of answering have it.
func (q *Question) asked() policy.Asked {
	return policy.Asked{Needs: &q.Needs, Behind: q.behind(), Who: "whoever asked", Given: q.givers(), Delegated: q.Delegated}
}

// behind are those whose approvals don't count where they must be others'.
func (q *Question) behind() []stead.Principal {
	return append([]stead.Principal{q.By}, q.Behind...)
}

func (q *Question) givers() []stead.Principal {
	out := make([]stead.Principal, len(q.Approved))
	for i, g := range q.Approved {
		out[i] = g.By
	}
	return out
}

// digest is that of some texts, of which no two lists are alike.
func digest(texts ...string) string {
	b, err := json.Marshal(texts)
	if err != nil {
		panic(err) // texts always encode
	}
	return hash(b)
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// owner is the tag of a principal's questions.
func owner(p stead.Principal) string { return digest(string(p.Kind), p.ID) }

// tag is that of this one: what a session's agent asks is its session's, so that it leaves room for what people ask.
func (q *Question) tag() string {
	if q.Agent != "" {
		return digest(string(q.Session))
	}
	return owner(q.By)
}

// due is when somebody must look at the question again.
func (q *Question) due() int64 {
	switch {
	case q.Pending != nil:
		return q.Pending.At + settleFor.Milliseconds()
	case q.Lapsed == 0 && q.Enough == 0 && q.Denial == nil && q.Use == nil:
		return q.Until
	}
	return q.goes()
}

func (q *Question) document(now int64) (document.Document, error) {
	data, err := json.Marshal(q)
	if err != nil {
		return document.Document{}, stead.Wrap(stead.KindInternal, err, "a request for approval can't be written")
	}
	return document.Document{
		Key: document.Key{Project: q.Project, Kind: kind, ID: q.ID}, Version: q.version + 1, CreatedAt: q.At, UpdatedAt: now, ExpiresAt: q.due(), Tag: q.tag(), Data: data,
	}, nil
}

func decode(d document.Document) (*Question, error) {
	q := &Question{}
	if err := json.Unmarshal(d.Data, q); err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "request for approval %s can't be read", d.ID)
	}
	q.ID, q.Project, q.version = d.ID, d.Project, d.Version
	if q.blanked() && q.Erased == 0 && q.Enough == 0 && q.Denial == nil && q.Use == nil { // by a version that did not say that it is over then
		q.Erased = max(1, d.UpdatedAt)
	}
	return q, nil
}
