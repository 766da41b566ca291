package policyset_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/policyset"
)

// many is a text with so many policies.
func many(n int) string {
	return strings.Repeat(`permit(principal, action, resource);`, n)
}

func TestLimitsOfAProject(t *testing.T) {
	n := newNode(documenttest.NewMemory())
	create := func(project, name, text string) error {
		_, err := n.Create(t.Context(), owner(project), policyset.New{Name: name, Mode: policy.Shadow, Text: text}, policyset.Write{})
		return err
	}
	for i := range policyset.MaxSets {
		if err := create("one", fmt.Sprint("s", i), others); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, "a set more", create("one", "more", others), stead.KindConflict, "20 policy sets")
	if _, err := n.Update(t.Context(), owner("one"), "pset_s3", text(asks), policyset.Write{}); err != nil {
		t.Errorf("a full project can't change what it has: %v", err)
	}
	if err := n.Delete(t.Context(), owner("one"), "pset_s3", 2); err != nil {
		t.Fatal(err)
	}
	if err := create("one", "more", others); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	_, err := n.Rollback(t.Context(), owner("one"), "pset_s3", 1, policyset.Write{})
	fails(t, "one that comes back", err, stead.KindConflict, "20 policy sets")

	const half = policyset.MaxPolicies / 2
	if err := create("two", "a", many(half)); err != nil {
		t.Fatal(err)
	}
	fails(t, "too many policies", create("two", "b", many(half+1)), stead.KindInvalid, "2001 policies in its sets, the limit is 2000")
	if err := create("two", "b", many(half)); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	_, err = n.Update(t.Context(), owner("two"), "pset_a", text(many(half+1)), policyset.Write{})
	fails(t, "one more", err, stead.KindInvalid, "2001")

	for i := range policyset.MaxNames {
		if err := create("three", fmt.Sprint("n", i), others); err != nil {
			t.Fatal(err)
		}
		if err := n.Delete(t.Context(), owner("three"), fmt.Sprint("pset_n", i), 1); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, "another name", create("three", "more", others), stead.KindConflict, "200 names")
	if err := create("three", "n7", others); err != nil {
		t.Errorf("a name again: %v", err)
	}
}

func TestTheNewestVersionsAreKept(t *testing.T) {
	db := documenttest.NewMemory()
	n := newNode(db)
	n.create(t, "one", "shop", policy.Enforce, others)
	for range policyset.MaxVersions + 5 {
		if _, err := n.Update(t.Context(), owner("one"), "pset_shop", text(asks), policyset.Write{}); err != nil {
			t.Fatal(err)
		}
	}
	all, more, err := n.Versions(t.Context(), owner("one"), "pset_shop", 0, false, 1000)
	if err != nil || more || len(all) != policyset.MaxVersions || all[0].Version != 7 {
		t.Errorf("%d versions from %d, %v", len(all), all[0].Version, err)
	}
	for _, kind := range []document.Kind{"policy_set_version", "policy_set_text"} {
		count := 0
		for after := ""; ; {
			docs, err := db.ListDocuments(t.Context(), document.Query{Project: "one", Kind: kind, After: after, Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			if count += len(docs); len(docs) < 100 {
				break
			}
			after = docs[99].ID
		}
		if count != policyset.MaxVersions {
			t.Errorf("%d of %s", count, kind)
		}
	}
	_, err = n.Rollback(t.Context(), owner("one"), "pset_shop", 6, policyset.Write{})
	fails(t, "back to one that is gone", err, stead.KindInvalid, "no version 6")
	page, more, err := n.Versions(t.Context(), owner("one"), "pset_shop", 10, true, 2)
	if err != nil || !more || len(page) != 2 || page[0].Version != 9 {
		t.Errorf("a page: %+v, %v, %v", page, more, err)
	}
}

// The same request with its key again is answered as it was, and writes nothing.
func TestAKeyWritesOnce(t *testing.T) {
	n := newNode(documenttest.NewMemory())
	keyed := policyset.Write{Key: "k", Digest: "d"}
	in := policyset.New{Name: "shop", Mode: policy.Enforce, Text: others}
	for range 2 {
		if got, err := n.Create(t.Context(), owner("one"), in, keyed); err != nil || got.Version != 1 || got.Text != others {
			t.Errorf("%+v, %v", got, err)
		}
	}
	_, err := n.Create(t.Context(), owner("one"), in, policyset.Write{Key: "k", Digest: "another"})
	fails(t, "the key of another request", err, stead.KindConflict, "already")
	for range 2 {
		if got, err := n.Update(t.Context(), owner("one"), "pset_shop", text(asks), policyset.Write{Over: 1, Key: "k", Digest: "e"}); err != nil || got.Version != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for range 2 {
		if got, err := n.Rollback(t.Context(), owner("one"), "pset_shop", 1, policyset.Write{Over: 2, Key: "k", Digest: "f"}); err != nil || got.Version != 3 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	_, err = n.Update(t.Context(), owner("one"), "pset_shop", text(asks), policyset.Write{Over: 1, Key: "k", Digest: "e"})
	fails(t, "an old one, after others", err, stead.KindConflict, "at version 3, not 1")
}
