package stream

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/policy"
)

// TestAStreamThatBeginsNow: what was before its first start is passed over; what comes then is not, also of a log that is new, at another
// node, or after a restart.
func TestAStreamThatBeginsNow(t *testing.T) {
	b, r := newBench(t), &tray{}
	now := func(node string) *feed {
		f := b.feed(node, r)
		f.FromNow = true
		return f
	}
	b.add("one", "old")
	first := now("a")
	if err := first.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.add("one", "1")
	if err := b.pass(first); err != nil {
		t.Fatal(err)
	}
	want(t, r.got, "one/1")
	b.add("two", "1") // and the node dies before it has looked
	b.now = b.now.Add(2 * holdFor)
	if err := b.pass(now("b")); err != nil {
		t.Fatal(err)
	}
	want(t, r.got, "one/1", "two/1")
}

// TestWhatAWebhookIsTold: an event each, and no more of a batch than it has not taken yet.
func TestWhatAWebhookIsTold(t *testing.T) {
	var got []string
	refuse := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var e Event
		if err != nil || json.Unmarshal(body, &e) != nil || r.Header.Get("X-Team") != "ops" {
			t.Errorf("%s: %v", body, err)
		}
		id := r.Header.Get("Webhook-Id")
		if want := "v1," + Sign([]byte("s"), id, r.Header.Get("Webhook-Timestamp"), body); r.Header.Get("Webhook-Signature") != want {
			t.Errorf("%s is not signed", id)
		}
		if e.Type == refuse {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		got = append(got, e.Type+" "+e.Data.ID+" "+e.Data.By+" "+e.Data.To+" "+e.Data.URL)
	}))
	defer srv.Close()
	of := func(seq int64, action, answer, to string) audit.Record {
		return audit.Record{Seq: seq, Project: "p", Action: action, Principal: audit.Principal{Kind: stead.PrincipalUser, ID: "eve"}, Approval: &policy.Asking{ID: "req_1", Answer: answer, To: to}}
	}
	b := Batch{Project: "p", Records: []audit.Record{
		{Seq: 1, Action: "tool.call"}, of(2, audit.ActAsk, "", ""), of(3, audit.ActAnswer, "delegate", "user bob"), of(4, audit.ActAnswer, "edit", ""),
		of(5, audit.ActAnswer, "approve", ""), of(6, audit.ActAnswer, "cancel", ""), of(7, audit.ActExpire, "", ""),
	}}
	a := NewApprovals(srv.URL, "https://x.example", map[string]string{"X-Team": "ops"}, []byte("s"), http.DefaultTransport, time.Now)
	refuse = "approval.approved"
	if err := a.Send(t.Context(), b); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("refused: %v", err)
	}
	refuse = ""
	for range 2 {
		if err := a.Send(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	const url = " https://x.example/v1/approvals/req_1"
	if want := []string{
		"approval.asked req_1  " + url, "approval.delegated req_1 user:eve user bob" + url, "approval.edited req_1 user:eve " + url,
		"approval.approved req_1 user:eve " + url, "approval.denied req_1 user:eve " + url, "approval.expired req_1  " + url,
	}; !slices.Equal(got, want) {
		t.Errorf("told:\n%q\nwant\n%q", got, want)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
