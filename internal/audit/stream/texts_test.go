package stream

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

// heard is a receiver that keeps lines and records, and takes at most so many records at once.
type heard struct {
	most    int
	sent    int
	lines   [][]byte
	reasons []string
}

func (h *heard) Send(_ context.Context, b Batch) error {
	if h.sent++; int(b.Last-b.First)+1 > h.most {
		return ErrTooLarge
	}
	h.lines = append(h.lines, b.Lines...)
	for _, r := range b.Records {
		h.reasons = append(h.reasons, r.Reason)
	}
	return nil
}

func (h *heard) Close() error { return nil }

// What people wrote into records is sent with them while it is there: behind their lines, which can be verified, or in place of its digest.
func TestWhatPeopleWroteIsSent(t *testing.T) {
	b := newBench(t)
	add := func(session stead.SessionID) {
		t.Helper()
		r := audit.Record{At: 1, Session: session, Action: audit.ActAnswer, Resource: "req_1", Decision: audit.Deny, Reason: "it is Friday"}
		if err := b.logs.AppendAudit(t.Context(), "one", []audit.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	add("s1")
	add("s2")
	if n, err := audit.Forget(t.Context(), b.logs, "one", audit.TextQuery{Session: "s1"}, nil); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	for format, want := range map[Format][]string{JSONL: {"", "it is Friday", "it is Friday"}, OCSF: {"", "it is Friday"}, Records: {"", "it is Friday"}} {
		h := &heard{most: 1}
		f := b.feed(string(format), h)
		f.Name, f.Format = string(format), format
		if err := b.pass(f); err != nil {
			t.Fatal(err)
		}
		if strings.Join(h.reasons, "|") != strings.Join(want, "|") || f.streamer.Status()[0].Sent != 2 {
			t.Errorf("%s: records say %q, %+v", format, h.reasons, f.streamer.Status()[0])
		}
		all := bytes.Join(h.lines, []byte("\n"))
		if hashed := bytes.Contains(h.lines[1], []byte("Friday")); format == JSONL && (hashed || !bytes.HasPrefix(h.lines[2], []byte(`{"text":`))) || format == OCSF && !hashed || bytes.Count(all, []byte("Friday")) != map[Format]int{JSONL: 1, OCSF: 1}[format] {
			t.Errorf("%s: sent is %s", format, all)
		}
	}
	refusing := &heard{} // not even one, though it has two lines
	f := b.feed("again", refusing)
	if err := b.pass(f); err != nil || !f.streamer.Status()[0].Failing || refusing.sent > 3 {
		t.Errorf("after %d tries: %v, %+v", refusing.sent, err, f.streamer.Status()[0])
	}
}
