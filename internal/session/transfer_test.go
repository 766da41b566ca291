package session_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// forkKey is where forks go: ids of items then differ in this part only.
var forkKey = stead.SessionKey{Project: "default", Session: "sess_ffffffffffffffffffffffffffffffff"}

const forkedAt = 1_800_000_000_000

func forkOf(t *testing.T, g *sessiontest.Gen, item string, metadata map[string]string) ([]stead.Event, *session.State) {
	t.Helper()
	before := mustJSON(t, g.Events)
	origin := session.Origin{Session: sessiontest.Key.Session, How: "fork"}
	events, err := session.Fork(sessiontest.Key, g.Events, item, forkedAt, origin, metadata)
	if err != nil {
		t.Fatalf("fork at %q: %v", item, err)
	}
	if mustJSON(t, g.Events) != before {
		t.Fatalf("fork at %q changed the source", item)
	}
	s := session.NewState(forkKey)
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			t.Fatalf("fork at %q: %v", item, err)
		}
	}
	return events, s
}

// source is an item of a fork as it would be in the source.
func source(s string) string {
	return strings.ReplaceAll(s, strings.TrimPrefix(string(forkKey.Session), "sess_"), strings.TrimPrefix(string(sessiontest.Key.Session), "sess_"))
}

// TestForkAtEveryItem: a fork has the items up to the one that was named, with the same ids and
// contents; beyond them only what closes calls that were open there; and it is idle.
func TestForkAtEveryItem(t *testing.T) {
	eachOf(t, fewSeeds, 70, func(t *testing.T, g *sessiontest.Gen) {
		q := session.ItemQuery{PageQuery: session.PageQuery{Limit: 100}}
		all := pages(t, g, g.Events, q)
		for n, item := range all {
			events, s := forkOf(t, g, item.ItemID(), nil)
			if s.Status() != session.StatusIdle || s.Paused || s.InFlight() || s.Failed != nil {
				t.Fatalf("fork at %s: status %s, paused %v, in flight %v", item.ItemID(), s.Status(), s.Paused, s.InFlight())
			}
			var got []session.Item
			for {
				p, err := session.ListItems(forkKey, sessiontest.Reader(events), q, g.Texts)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, p.Data...)
				if !p.HasMore {
					break
				}
				q.After = p.Data[len(p.Data)-1].ItemID()
			}
			q.After = ""
			compareFork(t, item.ItemID(), got, all[:n+1])
			if s.Created.Origin == nil || s.Created.Origin.Seq < 1 || s.Created.Origin.Seq > stead.Seq(len(g.Events)) || s.Created.Origin.How != "fork" {
				t.Fatalf("fork at %s: origin %+v", item.ItemID(), s.Created.Origin)
			}
			if next := s.Next(g.Window); len(next) > 0 {
				t.Fatalf("fork at %s wants to go on: %s", item.ItemID(), mustJSON(t, next))
			}
		}
	})
}

func compareFork(t *testing.T, at string, got, want []session.Item) {
	t.Helper()
	if len(got) < len(want) {
		t.Fatalf("fork at %s: %d items, want %d", at, len(got), len(want))
	}
	for i, it := range got {
		g := source(mustJSON(t, it))
		gi := decodeItem(t, json.RawMessage(g))
		if i >= len(want) {
			// Closing the turn gives open function calls an output, and calls that were allowed an end.
			if gi.Type != "function_call_output" && (gi.Type != "mcp_call" || gi.Status != "incomplete") {
				t.Fatalf("fork at %s: item too many: %s", at, g)
			}
			continue
		}
		w := mustJSON(t, want[i])
		if g == w {
			continue
		}
		wi := decodeItem(t, json.RawMessage(w))
		// A call whose outcome comes after the cut, and text that was streaming, are cut off.
		cut := gi.Status == "incomplete" && (gi.Type == "function_call" || wi.Status == "in_progress")
		// The last message is the one that tells that the reply has no further calls.
		phase := gi.Type == "message" && gi.Role == "assistant"
		if gi.ID != wi.ID || !cut && !phase {
			t.Fatalf("fork at %s: item %d\n got %s\nwant %s", at, i, g, w)
		}
	}
}

func TestForkOfEverything(t *testing.T) {
	each(t, 100, func(t *testing.T, g *sessiontest.Gen) {
		events, s := forkOf(t, g, "", map[string]string{"k": "v"})
		if s.Status() != session.StatusIdle || s.Paused || s.InFlight() {
			t.Fatalf("status %s, paused %v, in flight %v", s.Status(), s.Paused, s.InFlight())
		}
		if m := s.Session().Metadata; len(m) != 1 || m["k"] != "v" {
			t.Fatalf("metadata %v", m)
		}
		for i, e := range events[:s.Created.Origin.Seq] {
			if i > 0 && e.Kind != session.KindSessionUpdated && mustJSON(t, e) != mustJSON(t, g.Events[i]) {
				t.Fatalf("event %d is not the source's", e.Seq)
			}
		}
	})
}

func TestForkRefusesUnknownItems(t *testing.T) {
	g := sessiontest.Journal(3, 60)
	s := sessiontest.Key.Session
	for _, id := range []string{"x", "msg_x_1_0", stead.DerivedID("msg", s, 1, 0), stead.DerivedID("msg", s, 2, 99), stead.DerivedID("fc", s, 3, -1), stead.DerivedID("msg", s, 10_000, 0)} {
		_, err := session.Fork(sessiontest.Key, g.Events, id, forkedAt, session.Origin{}, nil)
		if stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("fork at %q: %v", id, err)
		}
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != "item_id" {
			t.Errorf("fork at %q blames %+v", id, e)
		}
	}
	if _, err := session.Fork(sessiontest.Key, nil, "", forkedAt, session.Origin{}, nil); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("fork of nothing: %v", err)
	}
}

// export writes a journal and its blobs.
func export(t testing.TB, g *sessiontest.Gen) []byte {
	t.Helper()
	var buf bytes.Buffer
	x := session.NewExporter(&buf, sessiontest.Key, len(g.Events), 1_790_000_000_000)
	for _, e := range g.Events {
		if err := x.Event(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range session.Digests(g.Events) {
		text, ok := g.Blobs[d]
		if !ok {
			t.Fatalf("digest %s is of no blob", d)
		}
		if err := x.Blob([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestExportRoundTrip(t *testing.T) {
	blobs := 0
	each(t, 100, func(t *testing.T, g *sessiontest.Gen) {
		got := map[string]string{}
		header, events, err := session.ReadExport(bytes.NewReader(export(t, g)), nil, func(d string, data []byte) error {
			got[d] = string(data)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if header.Session != sessiontest.Key.Session || header.Project != sessiontest.Key.Project || header.Events != len(g.Events) {
			t.Fatalf("header %+v", header)
		}
		if mustJSON(t, events) != mustJSON(t, g.Events) {
			t.Fatal("other events came back")
		}
		for d, text := range got {
			if g.Blobs[d] != text {
				t.Fatalf("blob %s came back as %q", d, text)
			}
		}
		if len(got) != len(session.Digests(g.Events)) {
			t.Fatalf("%d blobs came back", len(got))
		}
		blobs += len(got)
	})
	if blobs == 0 {
		t.Fatal("no journal had a blob")
	}
}

func readAll(data []byte) ([]stead.Event, error) {
	_, events, err := session.ReadExport(bytes.NewReader(data), nil, func(string, []byte) error { return nil })
	return events, err
}

// withBlobs is a journal whose export has blobs.
func withBlobs(t testing.TB) *sessiontest.Gen {
	t.Helper()
	for seed := range uint64(50) {
		if g := sessiontest.Journal(seed, 60); len(session.Digests(g.Events)) > 1 {
			return g
		}
	}
	t.Fatal("no journal has blobs")
	return nil
}

// TestExportDamaged: a file that lacks or repeats a line, has two lines swapped, a byte changed or
// its end cut off is refused.
func TestExportDamaged(t *testing.T) {
	good := export(t, withBlobs(t))
	lines := bytes.SplitAfter(good, []byte("\n"))
	lines = lines[:len(lines)-1]
	refuse := func(what string, data []byte) {
		t.Helper()
		if _, err := readAll(data); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range lines {
		refuse(fmt.Sprintf("without line %d", i+1), bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil))
		refuse(fmt.Sprintf("line %d twice", i+1), bytes.Join(slices.Insert(slices.Clone(lines), i, lines[i]), nil))
		if i > 0 {
			swapped := slices.Clone(lines)
			swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
			refuse(fmt.Sprintf("lines %d and %d swapped", i, i+1), bytes.Join(swapped, nil))
		}
	}
	for i := range good {
		if i%97 == 0 {
			refuse(fmt.Sprintf("cut at byte %d", i), good[:i])
			changed := bytes.Clone(good)
			changed[i] ^= 1
			if _, err := readAll(changed); err == nil {
				t.Errorf("byte %d changed: accepted", i)
			}
		}
	}
	refuse("something behind", append(bytes.Clone(good), '\n'))
}

func TestExportErrorsNameTheLine(t *testing.T) {
	good := string(export(t, withBlobs(t)))
	for _, c := range []struct{ old, new, want string }{
		{`"format":"stead.session"`, `"format":"other"`, "not an export"},
		{`"version":1`, `"version":2`, "version 2"},
		{`{"event":{"seq":3`, `{"event":{"seq":4`, "line 4 of the export: events are not in order"},
		{`{"event":{"seq":2`, `{"evnt":{"seq":2`, "line 3 of the export"},
		{`"kind":"session.created"`, `"kind":"input.cancel"`, "begins with session.created"},
	} {
		_, err := readAll([]byte(strings.Replace(good, c.old, c.new, 1)))
		if stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
	full, held := errors.New("too much is held"), 0
	if _, _, err := session.ReadExport(strings.NewReader(good), func(n int) error {
		if held += n; held > len(good)/2 {
			return full
		}
		return nil
	}, func(string, []byte) error { return nil }); !errors.Is(err, full) {
		t.Errorf("what the reader may hold is not asked for: %v", err)
	}
	stop := errors.New("disk full")
	if _, _, err := session.ReadExport(strings.NewReader(good), nil, func(string, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the blob store's error is lost: %v", err)
	}
}

// FuzzReadExport: no file makes the reader or a fold of what it accepted fail or panic.
func FuzzReadExport(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(export(f, sessiontest.Journal(seed, 16)))
	}
	f.Add([]byte(`{"format":"stead.session","version":1,"session":"s","project":"p","events":1,"exported_at":1}` + "\n" + `{"event":{"seq":1,"at":1,"kind":"session.created","data":{}}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		header, events, err := session.ReadExport(bytes.NewReader(resealed(data)), nil, func(string, []byte) error { return nil })
		if err != nil {
			if k := stead.KindOf(err); k != stead.KindInvalid && k != stead.KindTooLarge {
				t.Fatalf("kind %s: %v", k, err)
			}
			return
		}
		key := stead.SessionKey{Project: header.Project, Session: header.Session}
		texts := func(stead.Text) string { return "" }
		p := session.NewProjector(session.NewView(key), stead.Cursor{}, texts)
		for _, e := range events {
			if _, err := p.Step(e); err != nil {
				t.Fatalf("accepted, but %v", err)
			}
		}
		if _, err := session.Fork(key, events, "", 1, session.Origin{}, nil); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		if _, err := session.ListItems(key, sessiontest.Reader(events), session.ItemQuery{}, texts); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
	})
}
