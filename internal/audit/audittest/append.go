package audittest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/journal"
)

// Both is a store of journals and of audit logs.
type Both interface {
	journal.Full
	audit.Store
}

const node stead.NodeID = "node-a"

// AppendSuite checks that what comes with the writes of sessions is in their project's log if and only if the writes are stored.
// open returns a new, empty store, and a second access to it such as another node has.
func AppendSuite(t *testing.T, open func(t *testing.T) (here, there Both)) {
	t.Run("records stand if and only if their events do", func(t *testing.T) {
		here, there := open(t)
		f := &appended{t: t, s: here}
		f.conditions(there)
	})
	t.Run("two nodes chain what many sessions append", func(t *testing.T) {
		here, there := open(t)
		manyAppend(t, here, there)
	})
}

// said begins the resources of records with a reason that somebody wrote.
const said = "said"

// draft is a record about a resource.
func draft(resource string) []byte {
	r := audit.Record{At: 1, Session: "sess_1", Principal: audit.Principal{Kind: "user", ID: "ada"}, Action: "tool.call", Resource: resource, Decision: audit.Allow}
	if strings.HasPrefix(resource, said) {
		r.Action, r.Reason = audit.ActAnswer, "for "+resource
	}
	d, err := audit.DraftOf(project, r)
	if err != nil {
		panic(err) // texts always encode
	}
	return d
}

func drafts(resources ...string) (out [][]byte) {
	for _, r := range resources {
		out = append(out, draft(r))
	}
	return out
}

type appended struct {
	t *testing.T
	s Both
}

func (f *appended) want(kind stead.Kind, err error) {
	f.t.Helper()
	if (kind == "" && err != nil) || (kind != "" && stead.KindOf(err) != kind) {
		f.t.Fatalf("%v, want an error of kind %q", err, kind)
	}
}

func (f *appended) conditions(there Both) {
	ctx, key := f.t.Context(), stead.SessionKey{Project: project, Session: "sess_1"}
	made := journal.Input{
		Create: &journal.Creation{}, Events: []stead.Event{{Kind: "session.created", Data: []byte("1")}}, If: -1, Key: "k", Digest: "d", Audit: drafts("create", "said0"),
	}
	for range 2 { // the second is a repetition
		_, err := f.s.Send(ctx, key, made)
		f.want("", err)
	}
	f.want("", f.s.Heartbeat(ctx, node, time.Hour))
	leases, _, err := f.s.Acquire(ctx, node, 1)
	if f.want("", err); len(leases) != 1 {
		f.t.Fatalf("%d leases, want 1", len(leases))
	}
	lease := leases[0]
	batch := func(after stead.Seq, resources ...string) journal.Batch {
		return journal.Batch{After: after, Events: []stead.Event{{Seq: after + 1, Kind: "x", Data: []byte("1")}}, Audit: drafts(resources...)}
	}
	f.want("", f.s.Append(ctx, lease, batch(1, "a", "said1", "b")))
	f.want(stead.KindTail, f.s.Append(ctx, lease, batch(1, "a", "saidAgain", "b"))) // repeated
	f.want(stead.KindTail, f.s.Append(ctx, lease, batch(7, "saidEarly")))
	fenced := lease
	fenced.Epoch++
	f.want(stead.KindFenced, f.s.Append(ctx, fenced, batch(2, "saidFenced")))
	_, err = f.s.Send(ctx, key, journal.Input{Events: []stead.Event{{Kind: "y", Data: []byte("1")}}, If: 99, Audit: drafts("saidLate")})
	f.want(stead.KindTail, err)
	large := batch(2, "c", "said2", "d")
	for i := range 300 { // as much as a store may write in another way than a little
		large.Events = append(large.Events, stead.Event{Seq: stead.Seq(4 + i), Kind: "x", Data: []byte(`"` + strings.Repeat("x", 4000) + `"`)})
	}
	large.Usage = []journal.UsageRow{{UsageName: journal.UsageName{Session: key.Session, Seq: 3}, At: 1, Data: []byte("u")}}
	f.want("", f.s.Append(ctx, lease, large))
	small := batch(303, "e", "said3")
	small.Usage = []journal.UsageRow{{UsageName: journal.UsageName{Session: key.Session, Seq: 304}, At: 1, Data: []byte("u")}}
	f.want("", f.s.Append(ctx, lease, small))
	f.want(stead.KindTooLarge, f.s.Append(ctx, lease, journal.Batch{After: 304, Audit: [][]byte{make([]byte, journal.MaxAuditBytes+1)}}))
	f.want("", f.s.Delete(ctx, key))
	f.texts(there, "for said0", "for said1", "for said2", "for said3") // also while they have no place yet
	f.want("", there.ChainAudit(ctx))
	f.want("", f.s.ChainAudit(ctx)) // nothing is left
	if said, want := resources(f.t, there), "create said0 a said1 b c said2 d e said3"; said != want {
		f.t.Errorf("the log is of %q, want %q", said, want)
	}
	if v, err := audit.Verify(bytes.NewReader(Export(f.t, f.s, project)), nil, nil); err != nil || v.Texts != 4 || v.Erased != 0 {
		f.t.Errorf("%+v: %v", v, err)
	}
}

// texts are those of the session's records.
func (f *appended) texts(s Both, want ...string) {
	f.t.Helper()
	found, err := s.AuditTexts(f.t.Context(), project, audit.TextQuery{Session: "sess_1"})
	f.want("", err)
	var got []string
	for _, t := range found {
		got = append(got, t.Text)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		f.t.Errorf("the texts are %q, want %q", got, want)
	}
}

// resources are those that the project's log is about, in its order.
func resources(t *testing.T, s audit.Store) string {
	t.Helper()
	var out []string
	for q := (audit.Query{Project: project}); ; {
		rows, err := s.AuditRows(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			r, err := audit.Decode(row.Data)
			if err != nil {
				t.Fatal(err)
			}
			out, q.After = append(out, r.Resource), r.Seq
		}
		if len(rows) == 0 {
			return strings.Join(out, " ")
		}
	}
}

func manyAppend(t *testing.T, here, there Both) {
	const sessions, each = 16, 20
	ctx, cancel := context.WithCancel(t.Context())
	var chaining sync.WaitGroup
	for _, s := range []Both{here, there} {
		chaining.Go(func() {
			for ctx.Err() == nil {
				if err := s.ChainAudit(t.Context()); err != nil {
					t.Error(err)
					return
				}
				add(t, s, project, "act")
			}
		})
	}
	var wg sync.WaitGroup
	for i := range sessions {
		s := []Both{here, there}[i%2]
		wg.Go(func() {
			key := stead.SessionKey{Project: project, Session: stead.SessionID(fmt.Sprintf("sess_%d", i))}
			for n := range each {
				in := journal.Input{Events: []stead.Event{{Kind: "x", Data: []byte("1")}}, If: -1, Audit: drafts(fmt.Sprintf("s%d:%d", i, n))}
				if n == 0 {
					in.Create = &journal.Creation{}
				}
				if _, err := s.Send(t.Context(), key, in); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	cancel()
	chaining.Wait()
	if err := here.ChainAudit(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := resources(t, there)
	next := map[int]int{}
	for word := range strings.SplitSeq(said, " ") {
		var i, n int
		if _, err := fmt.Sscanf(word, "s%d:%d", &i, &n); err != nil {
			continue
		}
		if next[i] != n {
			t.Fatalf("of session %d, record %d stands where %d is expected", i, n, next[i])
		}
		next[i]++
	}
	for i := range sessions {
		if next[i] != each {
			t.Errorf("session %d has %d records, want %d", i, next[i], each)
		}
	}
	if _, err := audit.Verify(bytes.NewReader(Export(t, here, project)), nil, nil); err != nil {
		t.Error(err)
	}
}
