package journaltest

import (
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

func sendTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"creates and appends":            sendAppends,
		"events come back as sent":       sendFidelity,
		"to nobody is not found":         sendNotFound,
		"creating twice conflicts":       sendCreateConflict,
		"creation without events":        sendCreateEmpty,
		"without events is invalid":      sendEmpty,
		"If is the expected tail":        sendIf,
		"same key replays":               sendReplay,
		"other digest conflicts":         sendOtherDigest,
		"key scope is the session":       sendKeyScope,
		"a refused send leaves no key":   sendRefusedKey,
		"creation replays its session":   sendCreateReplay,
		"creation key scope is project":  sendCreateScope,
		"creation keys are not sessions": sendScopesApart,
		"makes the session due":          sendDue,
		"quiet does not":                 sendQuiet,
		"quiet keeps what is due":        sendQuietKeeps,
		"update changes the listing":     sendUpdate,
		"projects are apart":             sendProjects,
	}
}

func sendAppends(t *testing.T, f *fixture) {
	key := session(1)
	r, err := f.s.Send(f.ctx, key, journal.Input{Create: creation(), Events: events("created", 2), If: -1})
	f.ok(err)
	if want := (journal.Receipt{Session: key.Session, First: 1, Last: 2}); r != want {
		t.Fatalf("receipt %+v, want %+v", r, want)
	}
	if r, want := f.send(key, 3), (journal.Receipt{Session: key.Session, First: 3, Last: 5}); r != want {
		t.Fatalf("receipt %+v, want %+v", r, want)
	}
	f.tail(key, 5)
}

func sendFidelity(t *testing.T, f *fixture) {
	key := session(1)
	in := []stead.Event{
		{At: 0, Kind: "a", Seq: 77},
		{At: -5, Kind: "b.c", Data: []byte(`{}`)},
		{At: 7, Kind: "of.a.thread", Thread: 2, Data: []byte(`{}`)},
		{At: 1 << 50, Kind: "d", Data: []byte(`{"s":"ü\u0000 \"quoted\" 😀","n":12345678901234567890,"a":[null,true]}`)},
	}
	_, err := f.s.Send(f.ctx, key, journal.Input{Create: creation(), Events: in, If: -1})
	f.ok(err)
	f.same(f.all(key), in)
}

func sendNotFound(t *testing.T, f *fixture) {
	_, err := f.s.Send(f.ctx, session(1), journal.Input{Events: events("sent", 1), If: -1})
	f.fails(stead.KindNotFound, err)
}

func sendCreateConflict(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	_, err := f.s.Send(f.ctx, session(1), journal.Input{Create: creation(), Events: events("created", 1), If: -1, Key: "k", Digest: "d"})
	f.fails(stead.KindConflict, err)
	f.tail(session(1), 1)
}

func sendCreateEmpty(t *testing.T, f *fixture) {
	r, err := f.s.Send(f.ctx, session(1), journal.Input{Create: creation(), If: -1})
	f.ok(err)
	if r.First <= r.Last {
		t.Fatalf("receipt of no events %+v must have First > Last", r)
	}
	f.tail(session(1), 0)
}

func sendEmpty(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	_, err := f.s.Send(f.ctx, session(1), journal.Input{If: -1})
	f.fails(stead.KindInvalid, err)
}

func sendIf(t *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 2)
	for _, tail := range []stead.Seq{0, 1, 3} {
		_, err := f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1), If: tail})
		f.fails(stead.KindTail, err)
	}
	_, err := f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1), If: 2})
	f.ok(err)
	f.tail(key, 3)
}

func sendReplay(t *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 1)
	in := journal.Input{Events: events("sent", 2), If: 1, Key: "k", Digest: "d"}
	first, err := f.s.Send(f.ctx, key, in)
	f.ok(err)
	f.send(key, 1) // the tail has moved on since
	again, err := f.s.Send(f.ctx, key, in)
	f.ok(err)
	want := first
	want.Replayed = true
	if first.Replayed || again != want {
		t.Fatalf("receipts %+v, then %+v", first, again)
	}
	f.tail(key, 4)
}

func sendOtherDigest(t *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 1)
	in := journal.Input{Events: events("sent", 1), If: -1, Key: "k", Digest: "d"}
	_, err := f.s.Send(f.ctx, key, in)
	f.ok(err)
	in.Digest = "e"
	_, err = f.s.Send(f.ctx, key, in)
	f.fails(stead.KindConflict, err)
	f.tail(key, 2)
}

func sendKeyScope(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	f.create(session(2), 1)
	in := journal.Input{Events: events("sent", 1), If: -1, Key: "k", Digest: "d"}
	for _, key := range []stead.SessionKey{session(1), session(2)} {
		r, err := f.s.Send(f.ctx, key, in)
		f.ok(err)
		if r.Replayed || r.Session != key.Session {
			t.Fatalf("the key of one session answered for another: %+v", r)
		}
	}
}

func sendRefusedKey(t *testing.T, f *fixture) {
	key := session(1)
	in := journal.Input{Events: events("sent", 1), If: -1, Key: "k", Digest: "d"}
	_, err := f.s.Send(f.ctx, key, in)
	f.fails(stead.KindNotFound, err)
	f.create(key, 1)
	in.If = 9
	_, err = f.s.Send(f.ctx, key, in)
	f.fails(stead.KindTail, err)
	in.If, in.Digest = 1, "e"
	r, err := f.s.Send(f.ctx, key, in)
	f.ok(err)
	if r.Replayed {
		t.Fatal("a refused send left its key behind")
	}
}

func sendCreateReplay(t *testing.T, f *fixture) {
	in := journal.Input{Create: creation(), Events: events("created", 2), If: -1, Key: "k", Digest: "d"}
	_, err := f.s.Send(f.ctx, session(1), in)
	f.ok(err)
	r, err := f.s.Send(f.ctx, session(2), in) // a retry draws another id
	f.ok(err)
	if want := (journal.Receipt{Session: session(1).Session, First: 1, Last: 2, Replayed: true}); r != want {
		t.Fatalf("receipt %+v, want %+v", r, want)
	}
	_, err = f.s.Head(f.ctx, session(2))
	f.fails(stead.KindNotFound, err)
	r, err = f.s.Send(f.ctx, session(1), in) // and one with the same id is no conflict
	f.ok(err)
	if !r.Replayed {
		t.Fatalf("receipt %+v is not replayed", r)
	}
	in.Digest = "e"
	_, err = f.s.Send(f.ctx, session(3), in)
	f.fails(stead.KindConflict, err)
}

func sendCreateScope(t *testing.T, f *fixture) {
	in := journal.Input{Create: creation(), Events: events("created", 1), If: -1, Key: "k", Digest: "d"}
	_, err := f.s.Send(f.ctx, session(1), in)
	f.ok(err)
	other := stead.SessionKey{Project: "other", Session: session(2).Session}
	r, err := f.s.Send(f.ctx, other, in)
	f.ok(err)
	if r.Replayed || r.Session != other.Session {
		t.Fatalf("a creation key crossed projects: %+v", r)
	}
}

func sendScopesApart(t *testing.T, f *fixture) {
	_, err := f.s.Send(f.ctx, session(1), journal.Input{Create: creation(), Events: events("created", 1), If: -1, Key: "k", Digest: "d"})
	f.ok(err)
	r, err := f.s.Send(f.ctx, session(1), journal.Input{Events: events("sent", 1), If: -1, Key: "k", Digest: "e"})
	f.ok(err)
	if r.Replayed || r.First != 2 {
		t.Fatalf("a creation's key answered a send: %+v", r)
	}
}

func sendDue(t *testing.T, f *fixture) {
	key := session(1)
	f.beat(nodeA, alive)
	f.quiet(key, 1)
	f.drainWork()
	f.noneDue(nodeA)
	f.send(key, 1)
	f.worked()
	if lease := f.acquireOne(nodeA, key); lease.Tail != 2 {
		t.Fatalf("lease %+v, want tail 2", lease)
	}
}

func sendQuiet(t *testing.T, f *fixture) {
	key := session(1)
	f.beat(nodeA, alive)
	f.quiet(key, 3)
	_, err := f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1), If: -1, Quiet: true})
	f.ok(err)
	f.noneDue(nodeA)
	f.tail(key, 4)
}

func sendQuietKeeps(t *testing.T, f *fixture) {
	key := session(1)
	f.beat(nodeA, alive)
	f.create(key, 1)
	_, err := f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1), If: -1, Quiet: true})
	f.ok(err)
	f.acquireOne(nodeA, key)
}

func sendUpdate(t *testing.T, f *fixture) {
	key := session(1)
	l := journal.Listing{Status: "idle", Metadata: map[string]string{"a": "b"}, LastActive: 7}
	_, err := f.s.Send(f.ctx, key, journal.Input{Create: creation(), Events: events("created", 1), If: -1, Update: &l})
	f.ok(err)
	f.listing(key, l)
	f.send(key, 1) // nil leaves it
	f.listing(key, l)
	l = journal.Listing{Status: "active", LastActive: 8}
	_, err = f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1), If: -1, Update: &l})
	f.ok(err)
	f.listing(key, l)
}

func sendProjects(t *testing.T, f *fixture) {
	mine, theirs := session(1), stead.SessionKey{Project: "other", Session: session(1).Session}
	f.create(mine, 1)
	_, err := f.s.Send(f.ctx, theirs, journal.Input{Events: events("sent", 1), If: -1})
	f.fails(stead.KindNotFound, err)
	f.create(theirs, 2) // the same id in another project is another session
	f.tail(mine, 1)
	f.tail(theirs, 2)
}
