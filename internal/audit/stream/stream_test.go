package stream

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/audit/audittest"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
)

// bench is a log with a streamer beside it, and a clock that only tests move.
type bench struct {
	t    *testing.T
	logs *audittest.Memory
	docs document.Store
	now  time.Time
}

func newBench(t *testing.T) *bench {
	return &bench{t: t, logs: &audittest.Memory{}, docs: documenttest.NewMemory(), now: time.Unix(1_800_000_000, 0)}
}

// add appends records of these resources to a project's log.
func (b *bench) add(p stead.ProjectID, resources ...string) {
	b.t.Helper()
	var records []audit.Record
	for _, r := range resources {
		records = append(records, audit.Record{At: 1, Action: "file.write", Resource: r, Decision: audit.Allow})
	}
	if err := b.logs.AppendAudit(b.t.Context(), p, records); err != nil {
		b.t.Fatal(err)
	}
}

// feed is a stream of one node to a receiver.
func (b *bench) feed(node string, r Receiver) *feed {
	s := Stream{Name: "siem", Format: JSONL, Receiver: r}
	streamer := New(Config{Streams: []Stream{s}, Logs: b.logs, Positions: b.docs, Node: node, Now: func() time.Time { return b.now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	return &feed{streamer: streamer, Stream: s, known: map[stead.ProjectID]position{}}
}

// tray is a receiver that keeps what it takes, unless refuse says no.
type tray struct {
	mu     sync.Mutex
	refuse func(b Batch) error
	got    []string // resources
	signed [][]byte // checkpoints
	sizes  []int    // of batches
}

func (r *tray) Send(_ context.Context, b Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if err := r.refuse(b); err != nil {
			return err
		}
	}
	for _, one := range b.Records {
		if b.Checkpoints {
			continue
		}
		r.got = append(r.got, string(b.Project)+"/"+one.Resource)
	}
	if b.Checkpoints {
		r.signed = append(r.signed, b.Lines...)
		return nil
	}
	r.sizes = append(r.sizes, len(b.Records))
	return nil
}

func (r *tray) Close() error { return nil }

func (b *bench) pass(f *feed) error { return f.pass(b.t.Context()) }

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("the receiver has %v, want %v", got, want)
	}
}

func TestARecordIsSentOnceAndInOrder(t *testing.T) {
	b, r := newBench(t), &tray{}
	f := b.feed("a", r)
	b.add("one", "1", "2")
	b.add("two", "1")
	for range 3 {
		if err := b.pass(f); err != nil {
			t.Fatal(err)
		}
	}
	b.add("one", "3")
	if err := b.pass(b.feed("a", r)); err != nil { // the node's next start
		t.Fatal(err)
	}
	want(t, r.got, "one/1", "one/2", "two/1", "one/3")
}

func TestWhatIsRefusedIsSentAgain(t *testing.T) {
	b, r := newBench(t), &tray{refuse: func(Batch) error { return errors.New("no") }}
	f := b.feed("a", r)
	b.add("one", "1", "2")
	if err := b.pass(f); err == nil {
		t.Error("a refusal is no error")
	}
	if s := f.streamer.Status()[0]; !s.Failing || s.Behind != 2 || s.Sent != 0 {
		t.Errorf("status %+v", s)
	}
	r.refuse = nil
	if err := b.pass(f); err != nil {
		t.Fatal(err)
	}
	if s := f.streamer.Status()[0]; s.Failing || s.Behind != 0 || s.Sent != 2 {
		t.Errorf("status %+v", s)
	}
	want(t, r.got, "one/1", "one/2")
}

// TestWhatIsRefusedOfOneProjectKeepsNoOtherWaiting: what comes of it is sent again, less and less often, and the status says so.
func TestWhatIsRefusedOfOneProjectKeepsNoOtherWaiting(t *testing.T) {
	for _, why := range []error{stead.Wrap(stead.KindUnavailable, ErrRefused, "400"), ErrTooLarge} {
		asked := 0
		b, r := newBench(t), &tray{}
		r.refuse = func(b Batch) error {
			if b.Project != "one" {
				return nil
			}
			asked++
			return why
		}
		f := b.feed("a", r)
		b.add("one", "1")
		b.add("two", "1")
		for _, passes := range []time.Duration{0, 0, Every, Every, Every} {
			b.now = b.now.Add(passes)
			if err := b.pass(f); err != nil {
				t.Fatal(err)
			}
		}
		b.add("two", "2")
		if err := b.pass(f); err != nil {
			t.Fatal(err)
		}
		want(t, r.got, "two/1", "two/2")
		if s := f.streamer.Status()[0]; !s.Failing || s.Behind != 1 || asked != 3 { // at once, after a second, and two behind that
			t.Errorf("status %+v, asked %d times", s, asked)
		}
		r.refuse, b.now = nil, b.now.Add(MaxPause)
		if err := b.pass(f); err != nil {
			t.Fatal(err)
		}
		want(t, r.got, "two/1", "two/2", "one/1")
		if s := f.streamer.Status()[0]; s.Failing || s.Behind != 0 {
			t.Errorf("status %+v", s)
		}
	}
}

// broken can't store positions.
type broken struct{ document.Store }

func (broken) UpdateDocument(context.Context, document.Document) (document.Document, error) {
	return document.Document{}, errors.New("the disk is gone")
}

func TestACrashBehindABatchSendsItAgain(t *testing.T) {
	b, r := newBench(t), &tray{}
	whole := b.docs
	b.docs = broken{whole}
	b.add("one", "1", "2")
	if err := b.pass(b.feed("a", r)); err == nil {
		t.Error("a position that is not stored is no error")
	}
	b.docs, b.now = whole, b.now.Add(holdFor)
	if err := b.pass(b.feed("b", r)); err != nil {
		t.Fatal(err)
	}
	want(t, r.got, "one/1", "one/2", "one/1", "one/2")
}

func TestOneOfTwoNodesSends(t *testing.T) {
	b := newBench(t)
	first, second := &tray{}, &tray{}
	a, c := b.feed("a", first), b.feed("c", second)
	b.add("one", "1")
	if err := errors.Join(b.pass(a), b.pass(c)); err != nil {
		t.Fatal(err)
	}
	b.add("one", "2")
	if err := errors.Join(b.pass(c), b.pass(a)); err != nil { // a has it
		t.Fatal(err)
	}
	want(t, first.got, "one/1", "one/2")
	want(t, second.got)
	b.add("one", "3") // and a is dead
	b.now = b.now.Add(holdFor)
	if err := b.pass(c); err != nil {
		t.Fatal(err)
	}
	want(t, second.got, "one/3")
	b.add("one", "4") // a was only frozen: what it believes to have is another's
	if err := b.pass(a); err != nil {
		t.Fatal(err)
	}
	want(t, first.got, "one/1", "one/2")
}

func TestAStoppedNodeLetsOthersGoOnAtOnce(t *testing.T) {
	b := newBench(t)
	first, second := &tray{}, &tray{}
	a := b.feed("a", first)
	b.add("one", "1")
	if err := errors.Join(b.pass(a), a.release(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.add("one", "2")
	if err := b.pass(b.feed("c", second)); err != nil {
		t.Fatal(err)
	}
	want(t, second.got, "one/2")
}

func TestABatchThatIsTooLargeIsHalved(t *testing.T) {
	b, r := newBench(t), &tray{refuse: func(b Batch) error {
		if len(b.Lines) > 3 {
			return ErrTooLarge
		}
		return nil
	}}
	var all []string
	for i := range 10 {
		all = append(all, strconv.Itoa(i))
	}
	b.add("one", all...)
	if err := b.pass(b.feed("a", r)); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = "one/" + all[i]
	}
	want(t, r.got, all...)
	r.refuse = func(Batch) error { return ErrTooLarge }
	b.add("one", "11")
	f := b.feed("a", r)
	if err := b.pass(f); err != nil || !f.streamer.Status()[0].Failing {
		t.Errorf("one record that is too large: %v, %+v", err, f.streamer.Status()[0])
	}
}

func TestAStreamOfProjectsLeavesTheOthers(t *testing.T) {
	b, r := newBench(t), &tray{}
	f := b.feed("a", r)
	f.Projects = []stead.ProjectID{"two"}
	b.add("one", "1")
	b.add("two", "1")
	if err := b.pass(f); err != nil {
		t.Fatal(err)
	}
	want(t, r.got, "two/1")
}

// door is an HTTP receiver that answers status.
func door(t *testing.T, status func(r *http.Request, body []byte) int) *Webhook {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if s := status(r, body); s >= 300 && s < 400 {
			http.Redirect(w, r, "/elsewhere", s)
		} else {
			w.WriteHeader(s)
		}
	}))
	t.Cleanup(srv.Close)
	return NewWebhook(srv.URL, map[string]string{"Authorization": "Splunk x"}, []byte("secret"), http.DefaultTransport, func() time.Time { return time.Unix(1_800_000_000, 0) })
}

func TestAWebhookHasTheStoredBytesAndASignature(t *testing.T) {
	b := newBench(t)
	b.add("one", "1", "2")
	rows, err := b.logs.AuditRows(t.Context(), audit.Query{Project: "one"})
	if err != nil {
		t.Fatal(err)
	}
	f := b.feed("a", door(t, func(r *http.Request, body []byte) int {
		if want := slices.Concat(rows[0].Data, []byte("\n"), rows[1].Data, []byte("\n")); !bytes.Equal(body, want) {
			t.Errorf("the body is %s", body)
		}
		id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
		if got := r.Header.Get("webhook-signature"); id != "siem/one/1-2" || at != "1800000000" || got != "v1,"+Sign([]byte("secret"), id, at, body) {
			t.Errorf("%s %s is signed %s", id, at, got)
		}
		if r.Header.Get("Authorization") != "Splunk x" || r.Header.Get("Stead-Last") != "2" || r.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("headers %v", r.Header)
		}
		return http.StatusAccepted
	}))
	if err := b.pass(f); err != nil {
		t.Fatal(err)
	}
}

// Receivers of Standard Webhooks hand secrets out as whsec_ and base64: what is signed with is what that stands for.
func TestASecretIsReadAsReceiversWriteIt(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]byte{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": key, "whsec_c2VjcmV0IQ==": []byte("secret!"), "whsec_c2VjcmV0IQ": []byte("secret!"), "MfKQ": []byte("MfKQ"), "": {}} {
		if got, ok := SecretOf(text); !ok || !bytes.Equal(got, want) {
			t.Errorf("%q is %x", text, got)
		}
	}
	for _, text := range []string{"whsec_", "whsec_not base64", "whsec_MfKQ9"} {
		if got, ok := SecretOf(text); ok {
			t.Errorf("%q is %x", text, got)
		}
	}
}

// The example of the reference libraries, at github.com/standard-webhooks/standard-webhooks.
func TestTheSignatureIsThatOfStandardWebhooks(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhatIsNotTakenByAWebhookIsAnError(t *testing.T) {
	for status, is := range map[int]error{http.StatusInternalServerError: nil, http.StatusFound: nil, http.StatusTemporaryRedirect: nil, http.StatusForbidden: nil, http.StatusBadRequest: ErrRefused, http.StatusUnprocessableEntity: ErrRefused, http.StatusRequestEntityTooLarge: ErrTooLarge} {
		asked := 0
		w := door(t, func(r *http.Request, _ []byte) int { asked++; return status })
		err := w.Send(t.Context(), Batch{Lines: [][]byte{[]byte("{}")}})
		if err == nil || is != nil && !errors.Is(err, is) || asked != 1 {
			t.Errorf("%d: %v, asked %d times", status, err, asked)
		}
	}
}

func TestOCSFEventsAreSentInPlaceOfRecords(t *testing.T) {
	b := newBench(t)
	b.add("one", "1")
	f := b.feed("a", door(t, func(_ *http.Request, body []byte) int {
		if !strings.Contains(string(body), `"class_uid":6003`) {
			t.Errorf("the body is %s", body)
		}
		return http.StatusOK
	}))
	f.Format = OCSF
	if err := b.pass(f); err != nil {
		t.Fatal(err)
	}
}

// TestCheckpointsAreSent: behind the records that they cover, once, and what a receiver keeps is what a later export is held
// against. OCSF has no room for them.
func TestCheckpointsAreSent(t *testing.T) {
	b, r := newBench(t), &tray{}
	signer := audittest.Signer(t)
	sign := func() {
		t.Helper()
		tree, err := b.logs.AuditTree(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		note := signer.Sign(audit.Checkpoint{Project: "one", Size: tree.Size, Root: tree.Root(), At: 2})
		if err := b.logs.AddAuditNote(t.Context(), "one", audit.Note{Size: tree.Size, Text: note}); err != nil {
			t.Fatal(err)
		}
	}
	f := b.feed("a", r)
	pass := func(want int) {
		t.Helper()
		if err := b.pass(f); err != nil || len(r.signed) != want {
			t.Fatalf("the receiver has %d checkpoints, want %d: %v", len(r.signed), want, err)
		}
	}
	b.add("one", "1", "2")
	pass(0)
	sign()
	pass(1)
	pass(1)
	b.add("one", "3")
	sign()
	r.refuse = func(got Batch) error {
		if got.Checkpoints {
			return errors.New("no")
		}
		return nil
	}
	if err := b.pass(f); err == nil {
		t.Fatal("a refused checkpoint is no failure")
	}
	r.refuse = nil
	pass(2)
	want(t, r.got, "one/1", "one/2", "one/3")

	kept, err := audit.Checkpoints(bytes.NewReader(append(bytes.Join(r.signed, []byte("\n")), '\n')), []audit.Verifier{signer.Verifier()})
	if err != nil || len(kept) != 2 || kept[1].Size != 3 {
		t.Fatalf("what was sent reads as %+v: %v", kept, err)
	}
	if _, err := audit.Verify(bytes.NewReader(audittest.Export(t, b.logs, "one")), nil, kept); err != nil {
		t.Error(err)
	}
	other := newBench(t)
	other.add("one", "1", "2", "other")
	if _, err := audit.Verify(bytes.NewReader(audittest.Export(t, other.logs, "one")), nil, kept); err == nil {
		t.Error("a log written anew is believed beside the checkpoints that were sent")
	}
	plain := &tray{}
	g := b.feed("a", plain)
	g.Name, g.Format = "plain", OCSF
	if err := b.pass(g); err != nil || len(plain.signed) != 0 || len(plain.got) != 3 {
		t.Errorf("as OCSF the receiver has %d checkpoints, %d records: %v", len(plain.signed), len(plain.got), err)
	}
}
