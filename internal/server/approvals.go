package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// The inbox: what sessions wait for, and the requests of the API that wait for an approval.

// Approvals are the requests of the API that wait, as package approval has them.
type Approvals interface {
	List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) (page []*approval.Question, more bool, err error)
	Get(ctx context.Context, p stead.Principal, id string) (*approval.Question, error)
	Answer(ctx context.Context, p stead.Principal, id string, a approval.Answer) error
	Now() int64
}

// inAct is a request whose effects may be approved.
func (s *server) inAct(w http.ResponseWriter, r *http.Request, rt route) *http.Request {
	out, ok := w.(*response)
	if s.Approvals == nil || !ok {
		return r
	}
	out.act = &approval.Act{Method: r.Method, Path: r.URL.RequestURI(), Match: r.Header.Get("If-Match"), Request: out.id}
	if rt.body == "" { // nothing of one counts
		out.act.SetBody(nil)
	}
	if rt.keyed {
		out.act.Key = r.Header.Get(idempotencyKey)
	}
	return r.WithContext(approval.WithAct(r.Context(), out.act))
}

// unkeyed: this request's Idempotency-Key counts for nothing, so that each repeat does it once more, and takes an approval of its own.
func (s *server) unkeyed(w http.ResponseWriter) {
	if out, ok := w.(*response); ok && out.act != nil {
		out.act.Key = ""
	}
}

// streams: what this request brings is known once it was read.
func (s *server) streams(w http.ResponseWriter) {
	if out, ok := w.(*response); ok && out.act != nil {
		out.act.Stream()
	}
}

// brought says in short what a streamed request brought: an approval is for exactly that, however the client sends it.
func (s *server) brought(w http.ResponseWriter, what any) error {
	out, ok := w.(*response)
	if !ok || out.act == nil {
		return nil
	}
	raw, err := json.Marshal(what)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "encode what was uploaded")
	}
	out.act.SetBody(raw)
	return nil
}

// hashing is what was read of a stream.
type hashing struct {
	r   io.Reader
	sum hash.Hash
	n   int64
}

func hashed(r io.Reader) *hashing { return &hashing{r: r, sum: sha256.New()} }

// Read implements io.Reader.
func (s *hashing) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.n += int64(n)
	s.sum.Write(b[:n])
	return n, err
}

// ended is a stream that does something once it was read to its end.
type ended struct {
	*hashing
	end func() error
}

// Read implements io.Reader.
func (e *ended) Read(b []byte) (int, error) {
	n, err := e.hashing.Read(b)
	if err == io.EOF {
		if failed := e.end(); failed != nil {
			return n, failed
		}
	}
	return n, err
}

// shownFile is what an approval shows of a file, and covers.
type shownFile struct {
	Name   string `json:"name,omitempty"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func (s *hashing) shown(name string) shownFile {
	return shownFile{name, s.n, hex.EncodeToString(s.sum.Sum(nil))}
}

// wireOpen is a request for approval in an error.
type wireOpen struct {
	ID        string `json:"id"`
	Digest    string `json:"digest"`
	ExpiresAt int64  `json:"expires_at"` // Unix seconds
}

// Kinds of wireApproval.
const (
	approvalOfSession = "session"
	approvalOfRequest = "request"
)

// actionRequest is the type of what a request of the API waits with.
const actionRequest = "request_approval"

type wireApproval struct {
	Object    string                 `json:"object"` // "approval"
	Kind      string                 `json:"kind"`
	ID        string                 `json:"id"`
	SessionID *stead.SessionID       `json:"session_id"` // that waits, or that the request is about
	CreatedAt int64                  `json:"created_at"`
	Status    approval.Status        `json:"status"`
	Action    session.RequiredAction `json:"action"`

	// Of a request, and of a session that waits with something else than a tool call.
	Effect   policy.Effect `json:"effect,omitempty"`
	Resource string        `json:"resource,omitempty"`

	// The following are of a request.
	Principal *wireWho    `json:"principal,omitempty"` // who asks
	Approved  []wireGiven `json:"approved,omitempty"`
	Denied    *wireGiven  `json:"denied,omitempty"`
	UseUntil  int64       `json:"use_until,omitempty"` // Unix seconds: until then what is approved may be sent again
}

type wireWho struct {
	Kind stead.PrincipalKind `json:"kind"`
	ID   string              `json:"id"`
}

type wireGiven struct {
	Principal wireWho `json:"principal"`
	At        int64   `json:"at"` // Unix seconds
	Reason    string  `json:"reason,omitempty"`
}

func givenOf(g approval.Given) wireGiven {
	return wireGiven{wireWho{g.By.Kind, g.By.ID}, g.At / 1000, g.Reason}
}

func (s *server) inSession(p stead.Principal, a session.Approval) wireApproval {
	s.withLinks(p, []session.RequiredAction{a.Action})
	return wireApproval{
		Object: "approval", Kind: approvalOfSession, ID: a.ID, SessionID: &a.SessionID, CreatedAt: a.CreatedAt, Status: approval.Open, Action: a.Action,
		Effect: a.Effect, Resource: a.Resource,
	}
}

func inRequest(q *approval.Question, now int64, whole bool) wireApproval {
	name := string(q.Effect)
	out := wireApproval{
		Object: "approval", Kind: approvalOfRequest, ID: q.ID, CreatedAt: q.At / 1000, Status: q.Status(now), Effect: q.Effect, Resource: q.Resource,
		Principal: &wireWho{q.By.Kind, q.By.ID},
		Action: session.RequiredAction{Type: actionRequest, RequestID: q.ID, Request: &session.ActionRequest{
			Type: "api_request", Arguments: q.Shown(whole), Message: "Approve " + q.Method + " " + q.Path + "?", Name: &name, Why: q.Says(), Digest: q.Digest(),
			ExpiresAt: q.Until / 1000, OnExpiry: q.Needs.Lapses(),
		}},
	}
	if q.Session != "" {
		out.SessionID = &q.Session
	}
	for _, g := range q.Approved {
		out.Approved = append(out.Approved, givenOf(g))
	}
	if q.Denial != nil {
		g := givenOf(*q.Denial)
		out.Denied = &g
	}
	if out.Status == approval.Approved {
		out.UseUntil = q.Ends(now) / 1000
	}
	return out
}

// listApprovals lists requests of the API first, then what sessions wait for.
func (s *server) listApprovals(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	var all []wireApproval
	left, more := q.Limit, false
	if s.Approvals != nil && (q.After == "" || approval.Is(q.After)) {
		var asked []*approval.Question
		if asked, more, err = s.Approvals.List(r.Context(), p, q.After, q.Desc, left); err != nil {
			return err
		}
		for _, one := range asked {
			all = append(all, inRequest(one, s.Approvals.Now(), false))
		}
		left, q.After = left-len(asked), ""
	}
	if !more {
		q.Limit = max(left, 1) // with no room left, it is looked whether there is more
		found, err := s.Sessions.Approvals(r.Context(), p, q)
		if err != nil {
			return err
		}
		more = found.HasMore || left == 0 && len(found.Data) > 0
		for _, one := range found.Data[:min(left, len(found.Data))] {
			all = append(all, s.inSession(p, one))
		}
	}
	return s.write(w, listOf(all, more, func(a wireApproval) string { return a.ID }))
}

func (s *server) getApproval(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if s.Approvals != nil && approval.Is(id) {
		q, err := s.Approvals.Get(r.Context(), p, id)
		if err != nil {
			return err
		}
		return s.write(w, inRequest(q, s.Approvals.Now(), true))
	}
	found, err := s.findApproval(r.Context(), p, id)
	if err != nil {
		return err
	}
	return s.write(w, s.inSession(p, found))
}

// decideRequest answers a request of the API that waits.
func (s *server) decideRequest(w http.ResponseWriter, r *http.Request, p stead.Principal, id, decision string, req request) error {
	if s.Approvals == nil {
		return stead.NotFound("request that waits for an answer", id)
	}
	for _, field := range []string{"arguments", "extra", "output"} {
		if _, there := req.Raw(field); there {
			e := stead.Invalid(field, "%s is not for a request of the API", field)
			e.Hint = "What it asks for can't be changed by others: deny it with a reason, and whoever asked sends another request."
			return e
		}
	}
	switch decision {
	case decideApprove, decideDeny, decideCancel, decideDelegate:
	default:
		return stead.Invalid("decision", "the request asks for an approval: approve, deny, cancel or delegate, not %s", decision)
	}
	a := approval.Answer{Decision: decision, Key: req.key}
	var err error
	if a.Reason, err = reasonOf(req.Object); err != nil {
		return err
	}
	if a.Digest, err = shownDigest(req.Object); err != nil {
		return err
	}
	if a.To, err = delegateOf(req.Object); err != nil {
		return err
	}
	if err := s.Approvals.Answer(r.Context(), p, id, a); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// decide answers a required action by its id alone: it finds the session and sends the input event
// that a client of the session would have sent.
func (s *server) decide(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a decision", "decision", "reason", "digest", "arguments", "to", "extra", "output"); err != nil {
		return err
	}
	decision, err := param.Need(req.Enum("decision",
		decideApprove, decideDeny, decideCancel, decideDelegate, decideHappened, decideNotHappened, decideGiveUp))("decision")
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if approval.Is(id) {
		return s.decideRequest(w, r, p, id, decision, req)
	}
	found, missing := s.findApproval(r.Context(), p, id)
	if stead.KindOf(missing) == stead.KindNotFound && req.key != "" { // it may have been answered by this very request
		if before, ok := answeredBefore(id, decision); ok {
			return s.answer(w, r, p, before, decision, req, missing)
		}
	}
	if missing != nil {
		return missing
	}
	return s.answer(w, r, p, found, decision, req, nil)
}

// answeredBefore is what waited under an id, as far as the id and its answer say it; false: it is no such id.
func answeredBefore(id, decision string) (session.Approval, bool) {
	of, ok := stead.SessionOf(id)
	a := session.Approval{ID: id, SessionID: of}
	switch decision {
	case decideHappened, decideNotHappened, decideGiveUp:
		a.Action.Type = session.ActionOutcomeUnknown
	}
	return a, ok
}

// answer sends an answer. missing is the error where nothing waits for it, unless its key says that it was taken; nil: something does.
func (s *server) answer(w http.ResponseWriter, r *http.Request, p stead.Principal, to session.Approval, decision string, req request, missing error) error {
	in, err := decisionInput(req.Object, to, decision)
	if err != nil {
		return err
	}
	err = s.Sessions.Send(r.Context(), p, to.SessionID, session.SendRequest{Inputs: []session.Input{in}, Key: req.key, Digest: req.digest})
	if k := stead.KindOf(err); missing != nil && (k == stead.KindInvalid || k == stead.KindNotFound) {
		return missing
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func decisionInput(o param.Object, a session.Approval, decision string) (session.Input, error) {
	unknown := a.Action.Type == session.ActionOutcomeUnknown
	switch decision {
	case decideHappened, decideNotHappened, decideGiveUp:
		if !unknown {
			return session.Input{}, stead.Invalid("decision", "the request asks for an approval: approve, deny or cancel, not %s", decision)
		}
		out, err := outcomeOutput(o, decision)
		return session.Input{Outcome: &session.OutcomeInput{RequestID: a.ID, Decision: decision, Output: out}}, err
	default:
		if unknown {
			return session.Input{}, stead.Invalid("decision", "the request asks what became of a call: happened, not_happened or give_up, not %s", decision)
		}
		extra, err := extraOf(o)
		if err != nil {
			return session.Input{}, err
		}
		digest, err := shownDigest(o)
		if err != nil {
			return session.Input{}, err
		}
		to, err := delegateOf(o)
		if err != nil {
			return session.Input{}, err
		}
		arguments, err := editedArguments(o)
		if err != nil {
			return session.Input{}, err
		}
		reason, err := reasonOf(o)
		return session.Input{Approval: &session.ApprovalInput{RequestID: a.ID, Decision: decision, Reason: reason, Digest: digest, To: to, Arguments: arguments, Extra: extra}}, err
	}
}

// findApproval pages through the inbox: what waits for people is short.
func (s *server) findApproval(ctx context.Context, p stead.Principal, id string) (session.Approval, error) {
	q := session.PageQuery{Limit: stead.MaxPageSize, Desc: true}
	for {
		found, err := s.Sessions.Approvals(ctx, p, q)
		if err != nil {
			return session.Approval{}, err
		}
		for _, a := range found.Data {
			if a.ID == id {
				return a, nil
			}
		}
		if !found.HasMore || len(found.Data) == 0 {
			return session.Approval{}, stead.NotFound("request that waits for an answer", id)
		}
		q.After = found.Data[len(found.Data)-1].ID
	}
}
