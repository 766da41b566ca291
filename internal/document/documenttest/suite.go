// Package documenttest is the suite that every store of documents passes, and a store in memory.
//
// Shape: Suite(t, open) runs the contract of package document against what open returns.
package documenttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

const (
	project stead.ProjectID = "project"
	other   stead.ProjectID = "other"

	kind      document.Kind = "thing"
	otherKind document.Kind = "gadget"
)

// Suite checks a store against the contract. open returns an empty one and sees to its end.
func Suite(t *testing.T, open func(t *testing.T) document.Store) {
	for name, test := range map[string]func(*fixture){
		"what was created is there":          created,
		"an id is taken once":                taken,
		"a key replays the creation":         replayed,
		"an update needs the version before": updated,
		"one concurrent update wins":         raced,
		"one of concurrent creations wins":   racedKeys,
		"delete removes document and key":    deleted,
		"lists in order, page by page":       listed,
		"lists by tag":                       tagged,
		"expired documents":                  expired,
		"projects and kinds are apart":       apart,
		"limits":                             limits,
		"names that are hostile":             hostile,
	} {
		t.Run(name, func(t *testing.T) { test(&fixture{t, open(t), t.Context()}) })
	}
}

type fixture struct {
	*testing.T
	s   document.Store
	ctx context.Context
}

func doc(n int) document.Document {
	return document.Document{
		Key:       document.Key{Project: project, Kind: kind, ID: fmt.Sprintf("thing_%04d", n)},
		CreatedAt: 1000, UpdatedAt: 1000, Data: fmt.Appendf(nil, `{"n":%d,"nul":"\u0000","text":"a \"quoted\" ü"}`, n),
	}
}

func (f *fixture) create(d document.Document) {
	f.Helper()
	got, err := f.s.CreateDocument(f.ctx, d, "", "")
	if err != nil {
		f.Fatalf("create %s: %v", d.ID, err)
	}
	d.Version = 1
	f.same(got, d)
}

func (f *fixture) same(got, want document.Document) {
	f.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		f.Fatalf("document\n%+v, want\n%+v", got, want)
	}
}

func (f *fixture) has(want document.Document) {
	f.Helper()
	got, err := f.s.GetDocument(f.ctx, want.Key)
	if err != nil {
		f.Fatalf("get %s: %v", want.ID, err)
	}
	f.same(got, want)
}

func (f *fixture) fails(want stead.Kind, err error) {
	f.Helper()
	if stead.KindOf(err) != want {
		f.Fatalf("error %v of kind %q, want %q", err, stead.KindOf(err), want)
	}
}

func (f *fixture) absent(k document.Key) {
	f.Helper()
	_, err := f.s.GetDocument(f.ctx, k)
	f.fails(stead.KindNotFound, err)
}

func created(f *fixture) {
	d := doc(1)
	d.Tag, d.ExpiresAt = "red", 5000
	f.absent(d.Key)
	f.create(d)
	d.Version = 1
	f.has(d)
}

func taken(f *fixture) {
	f.create(doc(1))
	_, err := f.s.CreateDocument(f.ctx, doc(1), "", "")
	f.fails(stead.KindConflict, err)
}

func replayed(f *fixture) {
	if _, err := f.s.CreateDocument(f.ctx, doc(1), "k", "d"); err != nil {
		f.Fatal(err)
	}
	next := doc(1)
	next.Version, next.Data = 2, []byte(`{"later":true}`)
	if _, err := f.s.UpdateDocument(f.ctx, next); err != nil {
		f.Fatal(err)
	}
	got, err := f.s.CreateDocument(f.ctx, doc(2), "k", "d") // a retry draws another id
	if err != nil {
		f.Fatal(err)
	}
	f.same(got, next)
	f.absent(doc(2).Key)
	_, err = f.s.CreateDocument(f.ctx, doc(3), "k", "e")
	f.fails(stead.KindConflict, err)
	f.absent(doc(3).Key)
	foreign := doc(3)
	foreign.Project = other
	if _, err := f.s.CreateDocument(f.ctx, foreign, "k", "e"); err != nil {
		f.Fatalf("a key crossed projects: %v", err)
	}
	foreign = doc(3)
	foreign.Kind = otherKind
	if _, err := f.s.CreateDocument(f.ctx, foreign, "k", "e"); err != nil {
		f.Fatalf("a key crossed kinds: %v", err)
	}
}

func updated(f *fixture) {
	d := doc(1)
	d.Version = 2
	_, err := f.s.UpdateDocument(f.ctx, d)
	f.fails(stead.KindNotFound, err)
	f.create(doc(1))
	for _, version := range []int64{0, 1, 3} {
		d.Version = version
		_, err := f.s.UpdateDocument(f.ctx, d)
		f.fails(stead.KindConflict, err)
	}
	d.Version, d.Data, d.Tag, d.ExpiresAt, d.CreatedAt, d.UpdatedAt = 2, []byte(`{}`), "blue", 7000, 1, 2000
	got, err := f.s.UpdateDocument(f.ctx, d)
	if err != nil {
		f.Fatal(err)
	}
	d.CreatedAt = 1000 // as it was made
	f.same(got, d)
	f.has(d)
}

func raced(f *fixture) {
	f.create(doc(1))
	won := f.race(func(int) error {
		d := doc(1)
		d.Version = 2
		_, err := f.s.UpdateDocument(f.ctx, d)
		return err
	})
	if won != 1 {
		f.Fatalf("%d updates to version 2 succeeded", won)
	}
}

func racedKeys(f *fixture) {
	ids := make([]string, callers)
	won := f.race(func(i int) error {
		d, err := f.s.CreateDocument(f.ctx, doc(i), "k", "d")
		ids[i] = d.ID
		return err
	})
	if won != callers {
		f.Fatalf("%d of %d retries were answered", won, callers)
	}
	for _, id := range ids {
		if id != ids[0] {
			f.Fatalf("one key made %s and %s", ids[0], id)
		}
	}
	f.list("[x]", document.Query{Limit: 10}, func(document.Document) string { return "x" })
}

const callers = 16

// race calls at one time and counts the calls without an error; the others must be conflicts.
func (f *fixture) race(call func(i int) error) (won int) {
	f.Helper()
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { errs[i] = call(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			f.fails(stead.KindConflict, err)
		}
	}
	return won
}

func deleted(f *fixture) {
	if _, err := f.s.CreateDocument(f.ctx, doc(1), "k", "d"); err != nil {
		f.Fatal(err)
	}
	f.create(doc(2))
	f.fails(stead.KindConflict, f.s.DeleteDocument(f.ctx, doc(1).Key, 2))
	f.fails(stead.KindNotFound, f.s.DeleteDocument(f.ctx, doc(9).Key, 2))
	if err := f.s.DeleteDocument(f.ctx, doc(2).Key, 1); err != nil {
		f.Fatal(err)
	}
	f.create(doc(2))
	if err := f.s.DeleteDocument(f.ctx, doc(1).Key, 0); err != nil {
		f.Fatal(err)
	}
	f.absent(doc(1).Key)
	f.fails(stead.KindNotFound, f.s.DeleteDocument(f.ctx, doc(1).Key, 0))
	if _, err := f.s.CreateDocument(f.ctx, doc(1), "k", "something else"); err != nil {
		f.Fatalf("the key outlived its document: %v", err)
	}
	f.list("[thing_0001 thing_0002]", document.Query{Limit: 10}, nil)
}

func (f *fixture) list(want string, q document.Query, show func(document.Document) string) {
	f.Helper()
	if q.Project == "" {
		q.Project = project
	}
	if q.Kind == "" {
		q.Kind = kind
	}
	if show == nil {
		show = func(d document.Document) string { return d.ID }
	}
	all, err := f.s.ListDocuments(f.ctx, q)
	if err != nil {
		f.Fatal(err)
	}
	got := []string{}
	for _, d := range all {
		f.has(d)
		got = append(got, show(d))
	}
	if fmt.Sprint(got) != want {
		f.Fatalf("%+v lists %v, want %s", q, got, want)
	}
}

func listed(f *fixture) {
	for _, n := range []int{3, 1, 4, 2} {
		f.create(doc(n))
	}
	f.list("[thing_0001 thing_0002 thing_0003 thing_0004]", document.Query{Limit: 10}, nil)
	f.list("[thing_0004 thing_0003]", document.Query{Limit: 2, Desc: true}, nil)
	f.list("[thing_0002 thing_0001]", document.Query{Limit: 2, Desc: true, After: "thing_0003"}, nil)
	f.list("[thing_0004]", document.Query{Limit: 2, After: "thing_0003"}, nil)
	f.list("[thing_0003]", document.Query{Limit: 1, After: "thing_0002x"}, nil) // one that is gone
	f.list("[]", document.Query{Limit: 1, After: "thing_0004"}, nil)
}

func tagged(f *fixture) {
	for n, tag := range []string{"red", "", "red", "blue"} {
		d := doc(n)
		d.Tag = tag
		f.create(d)
	}
	f.list("[thing_0000 thing_0002]", document.Query{Limit: 10, Tag: "red"}, nil)
	f.list("[thing_0000]", document.Query{Limit: 10, Tag: "red", Desc: true, After: "thing_0002"}, nil)
	f.list("[]", document.Query{Limit: 10, Tag: "green"}, nil)
}

func expired(f *fixture) {
	for n, at := range []int64{0, 2000, 3000} {
		d := doc(n)
		d.ExpiresAt = at
		f.create(d)
	}
	foreign := doc(1)
	foreign.Project, foreign.ExpiresAt = other, 1500
	f.create(foreign)
	f.list("[thing_0000 thing_0001 thing_0002]", document.Query{Limit: 10}, nil)
	f.list("[thing_0000 thing_0001 thing_0002]", document.Query{Limit: 10, Now: 1999}, nil)
	f.list("[thing_0000 thing_0002]", document.Query{Limit: 10, Now: 2000}, nil)
	for now, want := range map[int64]int{1000: 0, 1500: 1, 2000: 2, 9000: 3} {
		all, err := f.s.ExpiredDocuments(f.ctx, kind, now, 10)
		if err != nil || len(all) != want {
			f.Fatalf("at %d, %d have expired, want %d; %v", now, len(all), want, err)
		}
		for _, d := range all {
			f.has(d)
		}
	}
	if all, err := f.s.ExpiredDocuments(f.ctx, kind, 9000, 2); err != nil || len(all) != 2 {
		f.Fatalf("two at most: %d, %v", len(all), err)
	}
	if all, err := f.s.ExpiredDocuments(f.ctx, otherKind, 9000, 2); err != nil || len(all) != 0 {
		f.Fatalf("another kind: %d, %v", len(all), err)
	}
	for _, c := range []struct {
		kind document.Kind
		want []stead.ProjectID
	}{{kind, []stead.ProjectID{project, other}}, {otherKind, nil}} {
		slices.Sort(c.want)
		got, err := f.s.DocumentProjects(f.ctx, c.kind)
		got = slices.DeleteFunc(got, func(p stead.ProjectID) bool { return p != project && p != other }) // others may use the database
		if err != nil || !slices.Equal(got, c.want) {
			f.Fatalf("projects with documents of the kind %q: %v, want %v; %v", c.kind, got, c.want, err)
		}
	}
}

func apart(f *fixture) {
	f.create(doc(1))
	for _, k := range []document.Key{{Project: other, Kind: kind, ID: doc(1).ID}, {Project: project, Kind: otherKind, ID: doc(1).ID}} {
		f.absent(k)
		f.fails(stead.KindNotFound, f.s.DeleteDocument(f.ctx, k, 0))
		d := doc(1)
		d.Key, d.Version = k, 2
		_, err := f.s.UpdateDocument(f.ctx, d)
		f.fails(stead.KindNotFound, err)
		f.list("[]", document.Query{Project: k.Project, Kind: k.Kind, Limit: 10}, nil)
	}
}

func limits(f *fixture) {
	d := doc(1)
	d.Data = []byte(`"` + strings.Repeat("x", document.MaxBytes-2) + `"`)
	f.create(d)
	d = doc(2)
	d.Data = []byte(`"` + strings.Repeat("x", document.MaxBytes) + `"`)
	_, err := f.s.CreateDocument(f.ctx, d, "", "")
	f.fails(stead.KindTooLarge, err)
	d.Key, d.Version = doc(1).Key, 2
	_, err = f.s.UpdateDocument(f.ctx, d)
	f.fails(stead.KindTooLarge, err)
	_, err = f.s.CreateDocument(f.ctx, doc(3), strings.Repeat("k", stead.MaxIdempotencyKeyBytes+1), "d")
	f.fails(stead.KindTooLarge, err)
}

func hostile(f *fixture) {
	for _, id := range []string{"", "a\x00b", "\xff", "'; DROP TABLE document; --", "%"} {
		k := document.Key{Project: project, Kind: kind, ID: id}
		f.absent(k)
		f.fails(stead.KindNotFound, f.s.DeleteDocument(f.ctx, k, 0))
		if _, err := f.s.ListDocuments(f.ctx, document.Query{Project: project, Kind: kind, After: id, Limit: 1}); err != nil {
			f.Fatalf("list after %q: %v", id, err)
		}
	}
	f.create(doc(1))
	if _, err := f.s.CreateDocument(f.ctx, doc(2), "k\x00\xff", "d"); err != nil {
		f.Fatalf("a key of any bytes: %v", err)
	}
}
