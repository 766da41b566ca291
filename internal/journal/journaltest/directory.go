package journaltest

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

func directoryTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"head":                   headWhole,
		"head of nobody":         headNotFound,
		"heads in order of id":   headsOrder,
		"heads after, limit":     headsPages,
		"heads filtered":         headsFilter,
		"heads of one project":   headsProject,
		"metadata is not quoted": headsHostile,
		"reads see own writes":   headsOwnWrites,
		"environments":           headsEnvironments,
	}
}

// listing checks what lists show of a session.
func (f *fixture) listing(key stead.SessionKey, want journal.Listing) {
	f.t.Helper()
	got := f.head(key).Listing
	if got.Status != want.Status || got.LastActive != want.LastActive || !maps.Equal(got.Metadata, want.Metadata) {
		f.t.Fatalf("listing %+v, want %+v", got, want)
	}
}

func headWhole(t *testing.T, f *fixture) {
	key := session(1)
	c := &journal.Creation{Agent: "agent_7", CreatedAt: 12345}
	_, err := f.s.Send(f.ctx, key, journal.Input{Create: c, Events: events("created", 2), If: -1})
	f.ok(err)
	h := f.head(key)
	if h.Key != key || h.Agent != "agent_7" || h.CreatedAt != 12345 || h.Tail != 2 || h.Epoch != 0 || h.Holder != "" {
		t.Fatalf("head %+v", h)
	}
}

func headNotFound(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	_, err := f.s.Head(f.ctx, session(2))
	f.fails(stead.KindNotFound, err)
	_, err = f.s.Head(f.ctx, stead.SessionKey{Project: "other", Session: session(1).Session})
	f.fails(stead.KindNotFound, err)
}

// heads returns the numbers of the sessions that a query finds, as session made them.
func (f *fixture) heads(p stead.ProjectID, q journal.Query) string {
	f.t.Helper()
	got, err := f.s.Heads(f.ctx, p, q)
	f.ok(err)
	var ids []int
	for _, h := range got {
		var n int
		if _, err := fmt.Sscanf(string(h.Key.Session), "sess_%x", &n); err != nil || h.Key.Project != p {
			f.t.Fatalf("head %+v", h)
		}
		ids = append(ids, n)
	}
	return fmt.Sprint(ids)
}

func (f *fixture) finds(want string, q journal.Query) {
	f.t.Helper()
	if got := f.heads(project, q); got != want {
		f.t.Fatalf("Heads(%+v) = %s, want %s", q, got, want)
	}
}

func headsOrder(t *testing.T, f *fixture) {
	for _, i := range []int{3, 1, 4, 2, 5} {
		f.create(session(i), i)
	}
	f.finds("[1 2 3 4 5]", journal.Query{Limit: 10})
	f.finds("[5 4 3 2 1]", journal.Query{Limit: 10, Desc: true})
	got, err := f.s.Heads(f.ctx, project, journal.Query{Limit: 10})
	f.ok(err)
	for i, h := range got {
		if h.Tail != stead.Seq(i+1) {
			t.Fatalf("head %+v, want tail %d", h, i+1)
		}
	}
}

func headsPages(t *testing.T, f *fixture) {
	for i := 1; i <= 5; i++ {
		f.create(session(i), 1)
	}
	f.finds("[1 2]", journal.Query{Limit: 2})
	f.finds("[3 4]", journal.Query{Limit: 2, After: session(2).Session})
	f.finds("[5]", journal.Query{Limit: 2, After: session(4).Session})
	f.finds("[]", journal.Query{Limit: 2, After: session(5).Session})
	f.finds("[5 4]", journal.Query{Limit: 2, Desc: true})
	f.finds("[3 2]", journal.Query{Limit: 2, Desc: true, After: session(4).Session})
	f.finds("[]", journal.Query{Limit: 2, Desc: true, After: session(1).Session})
}

func headsFilter(t *testing.T, f *fixture) {
	for i := 1; i <= 8; i++ {
		c := &journal.Creation{Agent: stead.AgentID(fmt.Sprintf("agent_%d", i%2)), CreatedAt: int64(i)}
		l := journal.Listing{Status: []string{"idle", "active"}[i/5], Metadata: map[string]string{"n": fmt.Sprint(i % 4), "all": "x"}}
		_, err := f.s.Send(f.ctx, session(i), journal.Input{Create: c, Events: events("created", 1), If: -1, Update: &l})
		f.ok(err)
	}
	f.finds("[1 3 5 7]", journal.Query{Limit: 10, Agent: "agent_1"})
	f.finds("[7 5 3 1]", journal.Query{Limit: 10, Agent: "agent_1", Desc: true})
	f.finds("[5 6 7 8]", journal.Query{Limit: 10, Status: "active"})
	f.finds("[2 6]", journal.Query{Limit: 10, Metadata: map[string]string{"n": "2"}})
	f.finds("[6]", journal.Query{Limit: 10, Metadata: map[string]string{"n": "2", "all": "x"}, Status: "active", Agent: "agent_0"})
	f.finds("[]", journal.Query{Limit: 10, Metadata: map[string]string{"n": "2", "all": "y"}})
	f.finds("[]", journal.Query{Limit: 10, Metadata: map[string]string{"missing": ""}})
	f.finds("[3]", journal.Query{Limit: 1, Agent: "agent_1", After: session(1).Session})
}

func headsProject(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	f.create(stead.SessionKey{Project: "other", Session: session(2).Session}, 1)
	f.finds("[1]", journal.Query{Limit: 10})
	if got := f.heads("other", journal.Query{Limit: 10}); got != "[2]" {
		t.Fatalf("Heads = %s", got)
	}
	if got := f.heads("nobody", journal.Query{Limit: 10}); got != "[]" {
		t.Fatalf("Heads = %s", got)
	}
}

func headsHostile(t *testing.T, f *fixture) {
	m := map[string]string{`"k".x'`: `v' OR '1'='1`, "$.a[0]": "%", "ü": "😀"}
	l := journal.Listing{Metadata: m}
	_, err := f.s.Send(f.ctx, session(1), journal.Input{Create: creation(), Events: events("created", 1), If: -1, Update: &l})
	f.ok(err)
	f.create(session(2), 1)
	for k, v := range m {
		f.finds("[1]", journal.Query{Limit: 10, Metadata: map[string]string{k: v}})
		f.finds("[]", journal.Query{Limit: 10, Metadata: map[string]string{k: v + "x"}})
	}
	f.listing(session(1), l)
}

func headsOwnWrites(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	for i := range stead.Seq(50) {
		b := batch(i+1, "done", 1)
		b.Update = &journal.Listing{Status: fmt.Sprint(i)}
		f.ok(f.s.Append(f.ctx, lease, b))
		h := f.head(key)
		if h.Tail != i+2 || h.Listing.Status != fmt.Sprint(i) {
			t.Fatalf("head %+v after append %d", h, i)
		}
		f.finds("[1]", journal.Query{Limit: 10, Status: fmt.Sprint(i)})
	}
}

func deleteTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"removes everything":       deleteAll,
		"of nobody is not found":   deleteNotFound,
		"fences the holder":        deleteFences,
		"forgets idempotency":      deleteKeys,
		"leaves the others alone":  deleteOthers,
		"the id can be used again": deleteReuse,
	}
}

func deleteAll(t *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 3)
	f.ok(f.s.SaveSnapshot(f.ctx, key, 2, []byte("state")))
	f.ok(f.s.Delete(f.ctx, key))
	_, err := f.s.Head(f.ctx, key)
	f.fails(stead.KindNotFound, err)
	_, err = f.s.Read(f.ctx, key, journal.ReadOptions{})
	f.fails(stead.KindNotFound, err)
	_, err = f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1), If: -1})
	f.fails(stead.KindNotFound, err)
	f.finds("[]", journal.Query{Limit: 10})
	f.beat(nodeA, alive)
	f.noneDue(nodeA)
	f.noSnapshot(key)
}

func deleteNotFound(t *testing.T, f *fixture) {
	f.fails(stead.KindNotFound, f.s.Delete(f.ctx, session(1)))
	f.create(session(1), 1)
	f.ok(f.s.Delete(f.ctx, session(1)))
	f.fails(stead.KindNotFound, f.s.Delete(f.ctx, session(1)))
}

func deleteFences(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	f.ok(f.s.Append(f.ctx, lease, batch(1, "done", 1)))
	f.ok(f.s.Delete(f.ctx, key))
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, batch(2, "late", 1)))
	f.create(key, 2)
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, batch(2, "late", 1)))
	f.beat(nodeA, 0) // a dead node with a deleted session troubles nobody
	f.beat(nodeB, alive)
	f.acquireOne(nodeB, key)
}

func deleteKeys(t *testing.T, f *fixture) {
	made := journal.Input{Create: creation(), Events: events("created", 1), If: -1, Key: "c", Digest: "d"}
	sent := journal.Input{Events: events("sent", 1), If: -1, Key: "k", Digest: "d"}
	for _, digest := range []string{"d", "other"} {
		made.Digest, sent.Digest = digest, digest
		r, err := f.s.Send(f.ctx, session(1), made)
		f.ok(err)
		if r.Replayed {
			t.Fatal("the creation's key outlived its session")
		}
		r, err = f.s.Send(f.ctx, session(1), sent)
		f.ok(err)
		if r.Replayed {
			t.Fatal("a key outlived its session")
		}
		f.ok(f.s.Delete(f.ctx, session(1)))
	}
}

func deleteOthers(t *testing.T, f *fixture) {
	in := journal.Input{Create: creation(), Events: events("created", 2), If: -1, Digest: "d"}
	for i := 1; i <= 3; i++ {
		in.Key = fmt.Sprint(i)
		_, err := f.s.Send(f.ctx, session(i), in)
		f.ok(err)
		f.ok(f.s.SaveSnapshot(f.ctx, session(i), 1, []byte("state")))
	}
	f.ok(f.s.Delete(f.ctx, session(2)))
	f.finds("[1 3]", journal.Query{Limit: 10})
	for _, i := range []int{1, 3} {
		f.tail(session(i), 2)
		in.Key = fmt.Sprint(i)
		if r, err := f.s.Send(f.ctx, session(9), in); err != nil || !r.Replayed {
			t.Fatalf("receipt %+v, %v", r, err)
		}
	}
}

func deleteReuse(t *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 5)
	f.ok(f.s.SaveSnapshot(f.ctx, key, 5, []byte("state")))
	f.ok(f.s.Delete(f.ctx, key))
	f.create(key, 2)
	f.tail(key, 2)
	f.noSnapshot(key)
}

func snapshotTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"none is seq 0":        func(t *testing.T, f *fixture) { f.create(session(1), 1); f.noSnapshot(session(1)) },
		"newer replaces":       snapshotNewer,
		"sessions are apart":   snapshotApart,
		"of nobody is no loss": func(t *testing.T, f *fixture) { f.noSnapshot(session(1)) },
	}
}

func (f *fixture) noSnapshot(key stead.SessionKey) {
	f.t.Helper()
	seq, data, err := f.s.LoadSnapshot(f.ctx, key)
	f.ok(err)
	if seq != 0 || data != nil {
		f.t.Fatalf("snapshot %d %q, want none", seq, data)
	}
}

// snapshot checks that a snapshot is there, in the end: saving need not be immediate.
func (f *fixture) snapshot(key stead.SessionKey, seq stead.Seq, data string) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("snapshot %d %q of %s", seq, data, key), func() bool {
		gotSeq, got, err := f.s.LoadSnapshot(f.ctx, key)
		f.ok(err)
		return gotSeq == seq && string(got) == data
	})
}

func snapshotNewer(t *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 5)
	f.ok(f.s.SaveSnapshot(f.ctx, key, 2, []byte("two")))
	f.snapshot(key, 2, "two")
	f.ok(f.s.SaveSnapshot(f.ctx, key, 4, []byte("four")))
	f.snapshot(key, 4, "four")
	f.ok(f.s.SaveSnapshot(f.ctx, key, 3, []byte("three"))) // stale: ignored
	f.ok(f.s.SaveSnapshot(f.ctx, key, 5, []byte("five")))
	f.snapshot(key, 5, "five")
}

func snapshotApart(t *testing.T, f *fixture) {
	for i := 1; i <= 2; i++ {
		f.create(session(i), 5)
		f.ok(f.s.SaveSnapshot(f.ctx, session(i), stead.Seq(i), []byte{byte('0' + i)}))
	}
	f.snapshot(session(1), 1, "1")
	f.snapshot(session(2), 2, "2")
}

func closeTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"appends after it are refused": closeRefuses,
		"waiters end":                  closeWaiters,
	}
}

func closeRefuses(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	f.ok(f.s.Close())
	f.fails(stead.KindUnavailable, f.s.Append(f.ctx, lease, batch(1, "done", 1)))
	_, err := f.s.Send(f.ctx, session(1), journal.Input{Events: events("sent", 1), If: -1})
	f.fails(stead.KindUnavailable, err)
	_, _, err = f.s.Acquire(f.ctx, nodeA, 1)
	f.fails(stead.KindUnavailable, err)
	_, err = f.s.Read(f.ctx, session(1), journal.ReadOptions{})
	f.fails(stead.KindUnavailable, err)
	_, err = f.s.Head(f.ctx, session(1))
	f.fails(stead.KindUnavailable, err)
}

func closeWaiters(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	got := f.wait(context.Background(), session(1), 1)
	f.ok(f.s.Close())
	w := <-got
	f.fails(stead.KindUnavailable, w.err)
}

// headsEnvironments: a log without an agent is an environment; it becomes a session when an update
// brings the agent, and keeps what later updates leave empty.
func headsEnvironments(t *testing.T, f *fixture) {
	waiting, plain, both := session(1), session(2), session(3)
	made := func(key stead.SessionKey, a stead.AgentID, environment string) {
		_, err := f.s.Send(f.ctx, key, journal.Input{
			Create: &journal.Creation{Agent: a, CreatedAt: 1}, Events: events("created", 1), If: -1,
			Update: &journal.Listing{Status: "idle", Environment: environment},
		})
		f.ok(err)
	}
	made(waiting, "", "openai_hosted")
	made(plain, "agent_1", "")
	made(both, "agent_1", "openai_hosted")
	f.finds("[2 3]", journal.Query{})
	f.finds("[1 3]", journal.Query{Environment: "openai_hosted"})
	f.finds("[3 1]", journal.Query{Environment: "openai_hosted", Desc: true})
	f.finds("[]", journal.Query{Environment: "self_hosted"})

	_, err := f.s.Send(f.ctx, waiting, journal.Input{Events: events("attached", 1), If: 1, Update: &journal.Listing{Status: "in_progress", Agent: "agent_2"}})
	f.ok(err)
	f.finds("[1 2 3]", journal.Query{})
	f.finds("[1]", journal.Query{Agent: "agent_2"})
	f.finds("[1 3]", journal.Query{Environment: "openai_hosted"})
	_, err = f.s.Send(f.ctx, waiting, journal.Input{Events: events("said", 1), If: 2, Update: &journal.Listing{Status: "idle"}})
	f.ok(err)
	if h := f.head(waiting); h.Agent != "agent_2" || h.Listing.Environment != "openai_hosted" || h.Listing.Status != "idle" {
		t.Fatalf("head %+v", h)
	}
}
