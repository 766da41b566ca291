package session_test

import (
	"reflect"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// TestSnapshots: at every prefix of a journal, a state that was saved and loaded decides the same,
// and goes on to the same end; and asking what comes next changes nothing.
func TestSnapshots(t *testing.T) {
	each(t, 100, func(t *testing.T, g *sessiontest.Gen) {
		straight := session.NewState(sessiontest.Key)
		loaded := session.NewState(sessiontest.Key)
		for _, e := range g.Events {
			if err := straight.Apply(e); err != nil {
				t.Fatal(err)
			}
			if err := loaded.Apply(e); err != nil {
				t.Fatal(err)
			}
			data, err := loaded.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if loaded, err = session.LoadState(sessiontest.Key, data); err != nil {
				t.Fatal(err)
			}
			if again := mustJSON(t, straight); again != mustJSON(t, loaded) {
				t.Fatalf("after event %d:\n loaded %s\nwant %s", e.Seq, mustJSON(t, loaded), again)
			}
			want := straight.Next(g.Window)
			for _, s := range []*session.State{straight, loaded} {
				if got := s.Next(g.Window); !reflect.DeepEqual(got, want) {
					t.Fatalf("after event %d: next is %s, want %s", e.Seq, mustJSON(t, got), mustJSON(t, want))
				}
			}
			if straight.Status() != loaded.Status() || !reflect.DeepEqual(straight.Session(), loaded.Session()) {
				t.Fatalf("after event %d the loaded session is another one", e.Seq)
			}
		}
	})
}

func TestSnapshotOfAnotherKindIsRefused(t *testing.T) {
	g := sessiontest.Journal(1, 20)
	data, err := g.State.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	other := stead.SessionKey{Project: "default", Session: "sess_other"}
	if _, err := session.LoadState(other, data); err == nil {
		t.Error("a snapshot of another session was loaded")
	}
	for _, s := range []string{"", "{}", `{"format":0,"state":{}}`, `{"format":1}`, `{"format":1,"state":null}`} {
		if _, err := session.LoadState(sessiontest.Key, []byte(s)); err == nil {
			t.Errorf("snapshot %q was loaded", s)
		}
	}
}

func TestApplyRefusesGaps(t *testing.T) {
	g := sessiontest.Journal(1, 20)
	for _, at := range []int{0, 1, 5, 18} {
		s := session.NewState(sessiontest.Key)
		for _, e := range g.Events[:at] {
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range []stead.Event{g.Events[at+1], {Seq: stead.Seq(at), Kind: "x"}, {Seq: 0, Kind: "x"}} {
			if err := s.Apply(e); stead.KindOf(err) != stead.KindInternal {
				t.Errorf("event %d after event %d: %v", e.Seq, at, err)
			}
			if s.Tail != stead.Seq(at) {
				t.Errorf("a refused event moved the tail to %d", s.Tail)
			}
		}
	}
}

// TestUnknownKindsAreSkipped: events of a newer version change nothing but the tail and the time.
func TestUnknownKindsAreSkipped(t *testing.T) {
	g := sessiontest.Journal(2, 60)
	s := g.State
	before := mustJSON(t, s.Context) + mustJSON(t, s.Turn)
	next := s.Next(g.Window)
	e := stead.Event{Seq: s.Tail + 1, At: s.Now, Kind: "dream.dreamt", Data: []byte(`{"of":"sheep"}`)}
	if err := s.Apply(e); err != nil {
		t.Fatal(err)
	}
	if s.Tail != e.Seq || mustJSON(t, s.Context)+mustJSON(t, s.Turn) != before || !reflect.DeepEqual(s.Next(g.Window), next) {
		t.Fatal("an unknown event changed the state")
	}
	p := session.NewProjector(session.NewView(sessiontest.Key), stead.Cursor{}, g.Texts)
	for _, e := range append(g.Events, e) {
		evs, err := p.Step(e)
		if err != nil || e.Kind == "dream.dreamt" && len(evs) > 0 {
			t.Fatalf("%s shows %d events, %v", e.Kind, len(evs), err)
		}
	}
}

func TestApplyRefusesWhatItCannotRead(t *testing.T) {
	for _, kind := range []string{session.KindInputMessage, session.KindModelReplied, session.KindToolReturned} {
		s := session.NewState(sessiontest.Key)
		err := s.Apply(stead.Event{Seq: 1, Kind: kind, Data: []byte(`{"call":`)})
		if stead.KindOf(err) != stead.KindInternal || s.Tail != 0 {
			t.Errorf("%s: %v, tail %d", kind, err, s.Tail)
		}
	}
}

// TestContextKeepsPairs: at every prefix, the conversation for the model has each call once, its
// outputs right after the calls of its reply, and no output without a call.
func TestContextKeepsPairs(t *testing.T) {
	compacted := 0
	each(t, 200, func(t *testing.T, g *sessiontest.Gen) {
		s := session.NewState(sessiontest.Key)
		for _, e := range g.Events {
			entries := len(s.Context.Entries)
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
			if e.Kind == session.KindContextCompacted {
				compacted++
				if len(s.Context.Entries) >= entries {
					t.Fatalf("the summary of event %d replaces nothing", e.Seq)
				}
			}
			if e.Kind != session.KindModelCalled && e.Kind != session.KindContextCompacted {
				continue
			}
			checkPairs(t, e, s.Context.Items(0))
			if s.Compact != nil {
				checkPairs(t, e, s.Context.Items(s.Compact.Upto))
			}
		}
	})
	if compacted == 0 {
		t.Fatal("no journal was compacted: the test shows less than it says")
	}
}

func checkPairs(t *testing.T, e stead.Event, items []stead.Item) {
	t.Helper()
	asked := map[string]bool{} // call id → answered
	outputs := false           // inside the outputs of a reply
	for _, it := range items {
		switch it.Type {
		case stead.ItemFunctionCall:
			if outputs {
				for id, answered := range asked {
					if !answered {
						t.Fatalf("at event %d: call %s has no output", e.Seq, id)
					}
				}
				outputs, asked = false, map[string]bool{}
			}
			if _, twice := asked[it.CallID]; twice {
				t.Fatalf("at event %d: call %s stands twice in a reply", e.Seq, it.CallID)
			}
			asked[it.CallID] = false
		case stead.ItemFunctionCallOutput:
			answered, ok := asked[it.CallID]
			if !ok || answered {
				t.Fatalf("at event %d: output of call %s, asked %v, answered %v", e.Seq, it.CallID, ok, answered)
			}
			asked[it.CallID], outputs = true, true
		case stead.ItemMessage:
			if it.Role != stead.RoleUser {
				continue
			}
			for id, answered := range asked {
				if !answered {
					t.Fatalf("at event %d: a message stands between call %s and its output", e.Seq, id)
				}
			}
		}
	}
	for id, answered := range asked {
		if !answered {
			t.Fatalf("at event %d: call %s has no output", e.Seq, id)
		}
	}
}
