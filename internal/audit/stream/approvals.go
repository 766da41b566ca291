package stream

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/policy"
)

// Approvals tells a webhook of what becomes of requests for approval: each record of that in the audit log is one POST, in their order. The
// others are passed over. What was sent to it is sent again only when the batch of which it was is, after a crash.
//
//	Content-Type: application/json
//	webhook-id: approval/PROJECT/SEQ             the same when it is sent again
//	webhook-timestamp, webhook-signature         as those of Webhook
type Approvals struct {
	place
	base string // address of the API; "": it is not known

	sent map[stead.ProjectID]int64 // the last record that was taken
}

var _ Receiver = (*Approvals)(nil)

// NewApprovals makes one; base is the address at which others reach the API, without an end, or "".
func NewApprovals(url, base string, headers map[string]string, secret []byte, transport http.RoundTripper, now func() time.Time) *Approvals {
	return &Approvals{newPlace(url, headers, secret, transport, now), base, map[stead.ProjectID]int64{}}
}

// Event is what a webhook about an approval says.
type Event struct {
	Type string    `json:"type"` // approval.asked, .approved, .edited, .delegated, .denied, .expired
	Time string    `json:"timestamp"`
	Data EventData `json:"data"`
}

// EventData is the request that the event is about. It has no arguments and no body: they may be secret, and whoever answers looks at them.
type EventData struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"` // session or request
	Project   stead.ProjectID `json:"project"`
	Session   stead.SessionID `json:"session_id,omitempty"`
	Agent     stead.AgentID   `json:"agent_id,omitempty"`
	Effect    policy.Effect   `json:"effect"`
	What      string          `json:"what"`     // "shop/refund", "POST /v1/vaults"
	AskedBy   string          `json:"asked_by"` // "user:ada"
	Digest    string          `json:"digest"`
	Call      json.RawMessage `json:"call,omitempty"` // of a tool call: where it goes, for whom, by which agent
	Roles     []stead.Role    `json:"roles,omitempty"`
	Count     int             `json:"count,omitempty"`
	ExpiresAt int64           `json:"expires_at,omitempty"` // Unix seconds
	OnExpiry  string          `json:"on_expiry,omitempty"`
	Policies  []string        `json:"policies,omitempty"`
	Reason    string          `json:"reason,omitempty"` // of the policy, or of whoever answered
	By        string          `json:"by,omitempty"`     // who answered
	To        string          `json:"to,omitempty"`     // to whom it was handed
	URL       string          `json:"url,omitempty"`    // of the request
}

// Send implements Receiver.
func (a *Approvals) Send(ctx context.Context, b Batch) error {
	for _, r := range b.Records {
		if b.Checkpoints || r.Approval == nil || r.Seq <= a.sent[b.Project] {
			continue
		}
		body, err := json.Marshal(a.event(r))
		if err != nil {
			return stead.Wrap(stead.KindInternal, err, "a webhook can't be written")
		}
		id := "approval/" + string(b.Project) + "/" + audit.ID(r.Seq)
		if err := a.post(ctx, id, map[string]string{"Content-Type": "application/json"}, body); err != nil {
			return err
		}
		a.sent[b.Project] = r.Seq
	}
	return nil
}

func (a *Approvals) event(r audit.Record) Event {
	q := r.Approval
	e := Event{Type: "approval." + said(r), Time: time.UnixMilli(r.At).UTC().Format(time.RFC3339Nano), Data: EventData{
		ID: q.ID, Kind: q.Kind, Project: r.Project, Session: r.Session, Agent: r.Agent, Effect: q.Effect, What: q.Of, AskedBy: q.For, Digest: q.Digest, Call: q.Call,
		Roles: q.Roles, Count: q.Count, ExpiresAt: q.Until / 1000, OnExpiry: q.Then, Policies: r.Policies, Reason: r.Reason, To: q.To,
	}}
	if r.Action == audit.ActAnswer {
		e.Data.By = string(r.Principal.Kind) + ":" + r.Principal.ID
	}
	if a.base != "" {
		e.Data.URL = a.base + "/v1/approvals/" + q.ID
	}
	return e
}

// said is what became of the request, in one word.
func said(r audit.Record) string {
	switch r.Action {
	case audit.ActAsk:
		return "asked"
	case audit.ActExpire:
		return "expired"
	}
	switch r.Approval.Answer {
	case "approve":
		return "approved"
	case "edit":
		return "edited"
	case "delegate":
		return "delegated"
	}
	return "denied"
}
