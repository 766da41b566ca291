package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/identity/certificate"
)

// Audit shows audit logs: see package audit, which implements it.
type Audit interface {
	List(ctx context.Context, p stead.Principal, q audit.ListQuery) ([]audit.Row, bool, error)
	Checkpoints(ctx context.Context, p stead.Principal, after int64, limit int) ([]audit.Note, bool, error)
	Base(ctx context.Context, p stead.Principal) (audit.Tree, error)
	Verifier() audit.Verifier
}

// inCall tells the decider of a request's effects what the request is, for its records, and the door's handlers who
// came with it.
func (s *server) inCall(w http.ResponseWriter, r *http.Request, c identity.Caller) *http.Request {
	call := callIn(w, r)
	call.Key = c.Key
	return r.WithContext(context.WithValue(audit.WithCall(r.Context(), call), callerKey{}, c))
}

func callIn(w http.ResponseWriter, r *http.Request) audit.Call {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	return audit.Call{Request: requestID(w), Act: r.Method + " " + r.URL.Path, From: from}
}

// turnedAway tells of a call by somebody who had no valid key or token, stranger, or whose token gives no role here.
func (s *server) turnedAway(w http.ResponseWriter, r *http.Request, err error, stranger bool) {
	if s.TurnedAway == nil || !stranger || !unknownNow(err) {
		return
	}
	claimed := ""
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		claimed = certificate.IDOf(r.TLS.PeerCertificates[0])
	}
	if scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		claimed = identity.Claimed(strings.TrimSpace(secret))
	}
	body, _, _ := wireErrorOf(err)
	s.TurnedAway(callIn(w, r), *body.Code, body.Message, claimed)
}

type callerKey struct{}

// callerOf is who came with a request. Handlers are told the principal; this is for those that need to know what it came
// with.
func callerOf(r *http.Request) identity.Caller {
	c, _ := r.Context().Value(callerKey{}).(identity.Caller)
	return c
}

type wireAuditRecord struct {
	ID     string          `json:"id"`
	Object string          `json:"object"` // "audit.record"
	Hash   string          `json:"hash"`   // leaf hash of record as it stands, in hex
	Record json.RawMessage `json:"record"`
	Texts  []wireAuditText `json:"texts,omitempty"`
}

// wireAuditText is what somebody wrote into a record, which has its digest.
type wireAuditText struct {
	Digest string `json:"digest"` // SHA-256 of salt and text, in hex
	Salt   []byte `json:"salt"`
	Text   string `json:"text"`
}

// checkpointPrefix begins the id of a checkpoint; its size follows.
const checkpointPrefix = "audit_checkpoint_"

type wireCheckpoint struct {
	ID       string          `json:"id"`
	Object   string          `json:"object"` // "audit.checkpoint"
	Project  stead.ProjectID `json:"project"`
	Size     int64           `json:"size"` // records that it covers
	Note     string          `json:"note"` // a signed note
	Verifier string          `json:"verifier"`
	Tree     []byte          `json:"tree,omitempty"` // of the checkpoint that the log begins behind: audit.Tree.Bytes
}

func auditFilters() []string {
	return []string{"from", "to", "action", "decision", "principal", "resource"}
}

func auditFilter(q url.Values) (audit.Filter, error) {
	f := audit.Filter{Action: q.Get("action"), Decision: audit.Decision(q.Get("decision")), Principal: q.Get("principal"), Resource: q.Get("resource")}
	switch f.Decision {
	case "", audit.Allow, audit.Deny, audit.RequireApproval:
	default:
		return f, stead.Invalid("decision", "decision must be %s, %s or %s, not %.40q", audit.Allow, audit.Deny, audit.RequireApproval, f.Decision)
	}
	var err error
	if f.From, err = queryTime(q, "from"); err != nil {
		return f, err
	}
	f.To, err = queryTime(q, "to")
	return f, err
}

func (s *server) listAudit(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	values := r.URL.Query()
	pq, err := page(values)
	if err != nil {
		return err
	}
	q := audit.ListQuery{Desc: pq.Desc, Limit: pq.Limit}
	if q.Filter, err = auditFilter(values); err != nil {
		return err
	}
	if pq.After != "" {
		if q.After, err = audit.SeqOf(pq.After); err != nil {
			return err
		}
	}
	rows, more, err := s.Audit.List(r.Context(), p, q)
	if err != nil {
		return err
	}
	data := make([]wireAuditRecord, len(rows))
	for i, row := range rows {
		hash := audit.LeafHash(row.Data)
		data[i] = wireAuditRecord{audit.ID(row.Seq), "audit.record", hex.EncodeToString(hash[:]), row.Data, nil}
		for _, t := range row.Texts {
			data[i].Texts = append(data[i].Texts, wireAuditText{t.Digest, t.Salt, t.Text})
		}
	}
	return s.write(w, listOf(data, more, func(r wireAuditRecord) string { return r.ID }))
}

func (s *server) listCheckpoints(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), checkpointPrefix)
	if err != nil {
		return err
	}
	var after int64
	if q.After != "" {
		if after, err = strconv.ParseInt(strings.TrimPrefix(q.After, checkpointPrefix), 10, 64); err != nil {
			return stead.Invalid("after", "%.80q is no id of a checkpoint", q.After)
		}
	}
	notes, more, err := s.Audit.Checkpoints(r.Context(), p, after, q.Limit)
	if err != nil {
		return err
	}
	base, err := s.Audit.Base(r.Context(), p)
	if err != nil {
		return err
	}
	data := make([]wireCheckpoint, len(notes))
	for i, n := range notes {
		data[i] = wireCheckpoint{checkpointPrefix + strconv.FormatInt(n.Size, 10), "audit.checkpoint", p.Project, n.Size, n.Text, s.Audit.Verifier().String(), nil}
		if n.Size == base.Size {
			data[i].Tree = base.Bytes()
		}
	}
	return s.write(w, listOf(data, more, func(c wireCheckpoint) string { return c.ID }))
}

// withAudit serves a route of audit logs, where there are any.
func (s *server) withAudit(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
		if s.Audit == nil {
			return stead.Errorf(stead.KindNotImplemented, "this server keeps no audit log")
		}
		return handle(w, r, p)
	}
}
