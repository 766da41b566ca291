// Package memorytest is the suite that every store of memories passes.
//
// Shape: Suite(t, open) runs the contract of memory.Store, and the service over it, against what open
// returns.
package memorytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/memory"
)

// Store is what an adapter offers: memories beside the documents that describe their stores.
type Store interface {
	memory.Store
	document.Store
}

// Suite checks a store against the contract. open returns an empty one and sees to its end.
func Suite(t *testing.T, open func(t *testing.T) Store) {
	for name, test := range map[string]func(*fixture){
		"what was written is there":                   written,
		"all of a write or none":                      atomic,
		"a write needs the version before":            expected,
		"one of concurrent writes wins":               raced,
		"a key replays the write":                     replayed,
		"what was forgotten is not written once more": once,
		"a write of a state that is gone is refused":  since,
		"versions are kept, newest first":             versions,
		"only so many versions are kept":              trimmed,
		"changes come in order, each entry once":      changes,
		"forgetting leaves an id and nothing":         forgotten,
		"redaction drops the versions before":         redacted,
		"lists in order, page by page":                listed,
		"expired ones are left out and swept":         expired,
		"stores and projects are apart":               apart,
		"dropping a store leaves nothing":             dropped,
		"names that are hostile":                      hostile,
		"concurrent writers see rising revisions":     ordered,
	} {
		t.Run(name, func(t *testing.T) { test(&fixture{t, open(t), t.Context()}) })
	}
	serviceSuite(t, open)
	vectorSuite(t, open)
}

type fixture struct {
	*testing.T
	s   Store
	ctx context.Context
}

func place() memory.Place { return memory.Place{Project: "project", Store: "memstore_1"} }

func change(id, text string) memory.Change {
	return memory.Change{Record: memory.Record{Place: place(), ID: id, CreatedAt: 1000, UpdatedAt: 1000, Data: fmt.Appendf(nil, `{"content":%q,"nul":"\u0000"}`, text)}}
}

func (f *fixture) write(changes ...memory.Change) []memory.Record {
	f.Helper()
	out, err := f.s.WriteMemories(f.ctx, changes[0].Place, changes)
	if err != nil {
		f.Fatal(err)
	}
	return out
}

func (f *fixture) refused(kind stead.Kind, changes ...memory.Change) {
	f.Helper()
	if _, err := f.s.WriteMemories(f.ctx, changes[0].Place, changes); stead.KindOf(err) != kind {
		f.Fatalf("the write answers %v, want an error of kind %s", err, kind)
	}
}

func (f *fixture) read(id string) (memory.Record, bool) {
	f.Helper()
	found, err := f.s.ReadMemories(f.ctx, place(), []string{id})
	if err != nil {
		f.Fatal(err)
	}
	if len(found) == 0 {
		return memory.Record{}, false
	}
	return found[0], true
}

func over(r memory.Record, text string) memory.Change {
	c := change(r.ID, text)
	c.UpdatedAt, c.Expected = r.UpdatedAt+1, r.Version
	return c
}

func gone(r memory.Record) memory.Change {
	return memory.Change{Record: memory.Record{Place: r.Place, ID: r.ID, UpdatedAt: r.UpdatedAt + 1}, Expected: r.Version}
}

func written(f *fixture) {
	c := change("mem_1", "ä \"quoted\" text")
	c.ExpiresAt = 99
	made := f.write(c)[0]
	got, ok := f.read("mem_1")
	if !ok || got.Version != 1 || got.Revision != 1 || got.CreatedAt != 1000 || got.ExpiresAt != 99 || string(got.Data) != string(c.Data) || got.Place != place() {
		f.Fatalf("read %+v, written %+v", got, made)
	}
	if _, ok := f.read("mem_2"); ok {
		f.Fatal("a record that nobody wrote is there")
	}
}

func atomic(f *fixture) {
	f.write(change("mem_1", "one"))
	f.refused(stead.KindConflict, change("mem_2", "two"), change("mem_1", "again"))
	if _, ok := f.read("mem_2"); ok {
		f.Fatal("half of a refused write is there")
	}
	if got := f.write(change("mem_3", "three"))[0].Revision; got != 2 {
		f.Fatalf("revision %d after a refused write, want 2", got)
	}
}

func expected(f *fixture) {
	one := f.write(change("mem_1", "one"))[0]
	two := f.write(over(one, "two"))[0]
	if two.Version != 2 || two.CreatedAt != one.CreatedAt || two.Revision <= one.Revision {
		f.Fatalf("the second version is %+v", two)
	}
	f.refused(stead.KindConflict, over(one, "three"))
	f.refused(stead.KindConflict, change("mem_1", "new"))
	missing := one
	missing.ID = "mem_9"
	f.refused(stead.KindNotFound, over(missing, "x"))
	free := over(two, "any")
	free.Expected = memory.AnyVersion
	if got := f.write(free)[0].Version; got != 3 {
		f.Fatalf("version %d, want 3", got)
	}
}

func raced(f *fixture) {
	one := f.write(change("mem_1", "one"))[0]
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		wg.Go(func() {
			_, err := f.s.WriteMemories(f.ctx, place(), []memory.Change{over(one, fmt.Sprint(i))})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if stead.KindOf(err) != stead.KindConflict {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	if got, _ := f.read("mem_1"); won != 1 || got.Version != 2 {
		f.Fatalf("%d writers won, and version %d is there", won, got.Version)
	}
}

func replayed(f *fixture) {
	c := change("mem_1", "one")
	c.Key, c.Digest = "key", "digest"
	f.write(c)
	again := change("mem_2", "one")
	again.Key, again.Digest = "key", "digest"
	if got := f.write(again)[0]; got.ID != "mem_1" {
		f.Fatalf("the same key made %s", got.ID)
	}
	again.Digest = "another"
	f.refused(stead.KindConflict, again)
	if _, ok := f.read("mem_2"); ok {
		f.Fatal("the replay was stored")
	}
}

func once(f *fixture) {
	c := change("mem_1", "one")
	c.Once = true
	first := f.write(c)[0]
	if again := f.write(c, change("mem_2", "two"))[0]; again.Revision != 0 {
		f.Fatalf("once more it is %+v", again)
	}
	f.write(gone(first))
	if again := f.write(c)[0]; again.Data != nil {
		f.Fatalf("a forgotten record came back: %+v", again)
	}
	if _, ok := f.read("mem_1"); ok {
		f.Fatal("a forgotten record is there")
	}
}

func versions(f *fixture) {
	r := f.write(change("mem_1", "1"))[0]
	for i := 2; i <= 4; i++ {
		r = f.write(over(r, fmt.Sprint(i)))[0]
	}
	got, err := f.s.MemoryVersions(f.ctx, place(), "mem_1")
	if err != nil || len(got) != 4 {
		f.Fatalf("%d versions, %v", len(got), err)
	}
	for i, v := range got {
		if v.Version != int64(4-i) || !strings.Contains(string(v.Data), fmt.Sprintf(`"%d"`, 4-i)) {
			f.Fatalf("version %d is %+v", 4-i, v)
		}
	}
	if _, err := f.s.MemoryVersions(f.ctx, place(), "mem_9"); stead.KindOf(err) != stead.KindNotFound {
		f.Fatalf("versions of nothing: %v", err)
	}
}

func trimmed(f *fixture) {
	r := f.write(change("mem_1", "1"))[0]
	for range memory.MaxVersions + 5 {
		r = f.write(over(r, "x"))[0]
	}
	if got, err := f.s.MemoryVersions(f.ctx, place(), "mem_1"); err != nil || len(got) != memory.MaxVersions {
		f.Fatalf("%d versions, %v; want %d", len(got), err, memory.MaxVersions)
	}
}

func changes(f *fixture) {
	made := f.write(change("mem_1", "1"), change("mem_2", "2"), change("mem_3", "3"))
	f.write(over(made[0], "1b"))
	f.write(gone(made[1]))
	got, err := f.s.MemoryChanges(f.ctx, place(), 0, 0)
	if err != nil {
		f.Fatal(err)
	}
	var ids []string
	for i, r := range got {
		ids = append(ids, r.ID)
		if i > 0 && r.Revision <= got[i-1].Revision {
			f.Fatalf("revisions out of order: %+v", got)
		}
	}
	if want := []string{"mem_3", "mem_1", "mem_2"}; !slices.Equal(ids, want) || got[2].Data != nil {
		f.Fatalf("changes %v (last %s), want %v, the last forgotten", ids, got[2].Data, want)
	}
	if rest, err := f.s.MemoryChanges(f.ctx, place(), got[0].Revision, 1); err != nil || len(rest) != 1 || rest[0].ID != "mem_1" {
		f.Fatalf("the next change is %+v, %v", rest, err)
	}
}

func forgotten(f *fixture) {
	c := change("mem_1", "secret")
	c.Key, c.Digest = "key", "digest"
	r := f.write(c)[0]
	r = f.write(over(r, "secret too"))[0]
	f.write(gone(r))
	if _, ok := f.read("mem_1"); ok {
		f.Fatal("a forgotten record is read")
	}
	if v, err := f.s.MemoryVersions(f.ctx, place(), "mem_1"); stead.KindOf(err) != stead.KindNotFound {
		f.Fatalf("a forgotten record has versions %v, %v", v, err)
	}
	f.refused(stead.KindNotFound, gone(r))
	again := change("mem_2", "new")
	again.Key, again.Digest = "key", "another digest"
	if got := f.write(again)[0]; got.ID != "mem_2" {
		f.Fatalf("the key of a forgotten record still stands: %+v", got)
	}
}

func redacted(f *fixture) {
	r := f.write(change("mem_1", "secret"))[0]
	c := over(r, "nothing")
	c.Redact = true
	f.write(c)
	if v, err := f.s.MemoryVersions(f.ctx, place(), "mem_1"); err != nil || len(v) != 1 || strings.Contains(string(v[0].Data), "secret") {
		f.Fatalf("after redaction: %v, %v", v, err)
	}
}

func listed(f *fixture) {
	for i := range 5 {
		f.write(change(fmt.Sprintf("mem_%d", i), "x"))
	}
	for _, test := range []struct {
		q    memory.Query
		want string
	}{
		{memory.Query{Limit: 2}, "mem_0 mem_1"},
		{memory.Query{Limit: 2, After: "mem_1"}, "mem_2 mem_3"},
		{memory.Query{Limit: 2, Desc: true}, "mem_4 mem_3"},
		{memory.Query{Limit: 9, Desc: true, After: "mem_2"}, "mem_1 mem_0"},
	} {
		test.q.Place = place()
		got, err := f.s.ListMemories(f.ctx, test.q)
		var ids []string
		for _, r := range got {
			ids = append(ids, r.ID)
		}
		if err != nil || strings.Join(ids, " ") != test.want {
			f.Fatalf("%+v lists %v, %v", test.q, ids, err)
		}
	}
}

func expired(f *fixture) {
	c := change("mem_1", "short")
	c.ExpiresAt = 2000
	f.write(c, change("mem_2", "long"))
	if got, err := f.s.ListMemories(f.ctx, memory.Query{Place: place(), Now: 2000}); err != nil || len(got) != 1 || got[0].ID != "mem_2" {
		f.Fatalf("listed %+v, %v", got, err)
	}
	if got, err := f.s.ExpiredMemories(f.ctx, 1999, 10); err != nil || len(got) != 0 {
		f.Fatalf("expired too early: %+v, %v", got, err)
	}
	got, err := f.s.ExpiredMemories(f.ctx, 2000, 10)
	if err != nil || len(got) != 1 || got[0].ID != "mem_1" {
		f.Fatalf("expired: %+v, %v", got, err)
	}
	f.write(gone(got[0]))
	if got, err := f.s.ExpiredMemories(f.ctx, 2000, 10); err != nil || len(got) != 0 {
		f.Fatalf("expired still: %+v, %v", got, err)
	}
}

func apart(f *fixture) {
	f.write(change("mem_1", "mine"))
	for _, p := range []memory.Place{{Project: "project", Store: "memstore_2"}, {Project: "other", Store: "memstore_1"}} {
		if got, err := f.s.ReadMemories(f.ctx, p, []string{"mem_1"}); err != nil || len(got) != 0 {
			f.Fatalf("%v reads %+v, %v", p, got, err)
		}
		if got, err := f.s.MemoryChanges(f.ctx, p, 0, 0); err != nil || len(got) != 0 {
			f.Fatalf("%v sees changes %+v, %v", p, got, err)
		}
		c := change("mem_1", "theirs")
		c.Place = p
		if got := f.write(c)[0]; got.Version != 1 || got.Revision != 1 {
			f.Fatalf("the same id elsewhere is %+v", got)
		}
	}
	if got, _ := f.read("mem_1"); !strings.Contains(string(got.Data), "mine") {
		f.Fatalf("a write elsewhere changed %s", got.Data)
	}
}

func dropped(f *fixture) {
	r := f.write(change("mem_1", "1"))[0]
	f.write(over(r, "2"))
	if err := f.s.DropMemories(f.ctx, place()); err != nil {
		f.Fatal(err)
	}
	if got, err := f.s.MemoryChanges(f.ctx, place(), 0, 0); err != nil || len(got) != 0 {
		f.Fatalf("after the drop: %+v, %v", got, err)
	}
	if _, err := f.s.MemoryVersions(f.ctx, place(), "mem_1"); stead.KindOf(err) != stead.KindNotFound {
		f.Fatalf("versions after the drop: %v", err)
	}
}

func hostile(f *fixture) {
	for _, id := range []string{"'; DROP TABLE memory; --", "mem_\u00e4", "%", "_", strings.Repeat("x", 500)} {
		r := f.write(change(id, "x"))[0]
		if got, ok := f.read(id); !ok || got.ID != id {
			f.Fatalf("%q reads %+v", id, got)
		}
		f.write(gone(r))
	}
	if got, err := f.s.ReadMemories(f.ctx, place(), []string{"a\x00b", "\xff"}); err != nil || len(got) != 0 {
		f.Fatalf("ids that are no text read %v, %v", got, err)
	}
}

// ordered writes from several sides while a reader follows: what the reader has passed never changes
// behind its back, or an index would miss it.
func ordered(f *fixture) {
	const writers, each = 4, 15
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := f.s.WriteMemories(f.ctx, place(), []memory.Change{change(fmt.Sprintf("mem_%d_%d", w, i), "x")}); err != nil {
					f.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	seen, last := 0, int64(0)
	for finished := false; ; {
		got, err := f.s.MemoryChanges(f.ctx, place(), last, 7)
		if err != nil {
			f.Fatal(err)
		}
		for _, r := range got {
			seen, last = seen+1, r.Revision
		}
		if len(got) == 0 && finished {
			break
		}
		select {
		case <-done:
			finished = true
		default:
		}
	}
	if seen != writers*each {
		f.Fatalf("a reader that follows saw %d of %d changes", seen, writers*each)
	}
}
