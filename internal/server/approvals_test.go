package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/policy"
)

// inbox is requests of the API that wait, the newest last, and keeps how one was answered.
type inbox struct {
	all      []*approval.Question
	answered approval.Answer
}

func (b *inbox) List(_ context.Context, _ stead.Principal, after string, desc bool, limit int) ([]*approval.Question, bool, error) {
	all := slices.Clone(b.all)
	if desc {
		slices.Reverse(all)
	}
	if after != "" {
		all = all[slices.IndexFunc(all, func(q *approval.Question) bool { return q.ID == after })+1:]
	}
	return all[:min(limit, len(all))], len(all) > limit, nil
}

func (b *inbox) Get(_ context.Context, _ stead.Principal, id string) (*approval.Question, error) {
	for _, q := range b.all {
		if q.ID == id {
			return q, nil
		}
	}
	return nil, stead.NotFound("request for approval", id)
}

func (b *inbox) Answer(_ context.Context, _ stead.Principal, _ string, a approval.Answer) error {
	b.answered = a
	return nil
}

func (b *inbox) Now() int64 { return 10_000 }

func anInbox() *inbox {
	b := &inbox{}
	for i := range 3 {
		b.all = append(b.all, &approval.Question{
			ID: fmt.Sprintf("apr_%d", i+1), By: stead.LocalPrincipal(), At: 1000, Effect: policy.VaultWrite, Method: "POST", Path: "/v1/vaults", Body: "b", View: json.RawMessage(`{"name":"v"}`),
			Needs: policy.Needs{Roles: []stead.Role{"approver"}, Count: 2}, Why: "policy p asks for approval", Until: 20_000,
			Approved: []approval.Given{{By: stead.LocalPrincipal(), At: 2000, Reason: "r"}},
		})
	}
	return b
}

// TestOneInbox: requests of the API come first, then what sessions wait for, each once, however the pages fall.
func TestOneInbox(t *testing.T) {
	for limit := 1; limit <= 6; limit++ {
		for _, order := range []string{"asc", "desc"} {
			d := open(t, filled(), func(c *Config) { c.Approvals = anInbox() })
			var got []string
			after := ""
			for range 10 {
				var page struct {
					Data []struct{ ID, Kind, Status string }
					More bool   `json:"has_more"`
					Last string `json:"last_id"`
				}
				_, body := d.call("GET", fmt.Sprintf("/v1/approvals?limit=%d&order=%s&after=%s", limit, order, after), "")
				if err := json.Unmarshal([]byte(body), &page); err != nil {
					t.Fatal(err)
				}
				for _, a := range page.Data {
					if got = append(got, a.ID); (a.Kind == "request") != approval.Is(a.ID) || a.Status != "open" {
						t.Errorf("%+v", a)
					}
				}
				if after = page.Last; !page.More {
					break
				}
			}
			want := []string{"apr_1", "apr_2", "apr_3", "req_1", "req_2"}
			if order == "desc" {
				want = []string{"apr_3", "apr_2", "apr_1", "req_2", "req_1"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("limit %d, %s: %q", limit, order, got)
			}
		}
	}
}

func TestARequestIsAnswered(t *testing.T) {
	b := anInbox()
	d := open(t, filled(), func(c *Config) { c.Approvals = b })
	if res, body := d.call("GET", "/v1/approvals/apr_1", ""); res.StatusCode != http.StatusOK {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, body := d.call("GET", "/v1/approvals/req_1", ""); res.StatusCode != http.StatusOK {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	for _, wrong := range []string{`{"decision":"approve","arguments":{}}`, `{"decision":"approve","extra":{"calls":1}}`, `{"decision":"happened"}`, `{"decision":"approve","digest":"a"}`} {
		if res, body := d.call("POST", "/v1/approvals/apr_1", wrong); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s", wrong, res.StatusCode, body)
		}
	}
	if res, body := d.call("POST", "/v1/approvals/apr_1", `{"decision":"delegate","to":{"role":"owner"},"reason":"r"}`, "Idempotency-Key: k"); res.StatusCode != http.StatusAccepted ||
		b.answered.Decision != approval.Delegate || b.answered.To.Role != "owner" || b.answered.Reason != "r" || b.answered.Key != "k" {
		t.Errorf("%d %s: %+v", res.StatusCode, body, b.answered)
	}
}
