package skill_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/skill"
)

type rig struct {
	*testing.T
	*skill.Service
	documents *documenttest.Memory
	dir       string
	me        stead.Principal
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, documents: documenttest.NewMemory(), dir: t.TempDir(), me: stead.LocalPrincipal()}
	blobs, err := blob.OpenDir(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	r.Service = skill.NewService(skill.Config{
		Documents: r.documents, Assets: asset.New(r.documents, blobs, time.Now), Policy: policy.AllowLocal{}, Now: time.Now,
	})
	return r
}

func (r *rig) bundle(name string) capability.Bundle {
	r.Helper()
	b, err := capability.New([]capability.File{{Path: "SKILL.md", Data: fmt.Appendf(nil, "---\nname: %s\ndescription: It is %s.\n---\n", name, name)}})
	if err != nil {
		r.Fatal(err)
	}
	return b
}

func (r *rig) blobs() int {
	n := 0
	err := filepath.WalkDir(r.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return n
}

func (r *rig) create() skill.Skill {
	r.Helper()
	k, err := r.Create(r.Context(), r.me, r.bundle("one"), "", "")
	if err != nil {
		r.Fatal(err)
	}
	return k
}

// TestVersionsAtOnce: versions that come at one time have numbers of their own, and all are there.
func TestVersionsAtOnce(t *testing.T) {
	r := newRig(t)
	k := r.create()
	const callers = 4
	stored := make([]string, callers)
	var wg sync.WaitGroup
	for i := range callers {
		b := r.bundle(fmt.Sprintf("v%d", i))
		wg.Go(func() {
			v, err := r.AddVersion(t.Context(), r.me, k.ID, b, false)
			if err != nil && stead.KindOf(err) != stead.KindConflict {
				t.Error(err)
			}
			stored[i] = v.Number
		})
	}
	wg.Wait()
	seen := map[string]bool{"1": true}
	for _, n := range stored {
		if n == "" {
			continue // it was told to try again
		}
		if seen[n] {
			t.Errorf("version %s was made twice", n)
		}
		seen[n] = true
		if _, _, _, err := r.Archive(t.Context(), r.me, k.ID, n); err != nil {
			t.Errorf("version %s: %v", n, err)
		}
	}
	all, _, err := r.Versions(t.Context(), r.me, k.ID, "", false, 100)
	if err != nil || len(all) != len(seen) || r.blobs() != len(seen) {
		t.Errorf("%d versions and %d blobs of %d, %v", len(all), r.blobs(), len(seen), err)
	}
}

func TestNothingIsLeftOver(t *testing.T) {
	r := newRig(t)
	k := r.create()
	for range 3 {
		if _, err := r.AddVersion(t.Context(), r.me, k.ID, r.bundle("more"), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.DeleteVersion(t.Context(), r.me, k.ID, "2"); err != nil || r.blobs() != 3 {
		t.Fatalf("%v, %d blobs", err, r.blobs())
	}
	if err := r.DeleteVersion(t.Context(), r.me, k.ID, "1"); stead.KindOf(err) != stead.KindConflict || r.blobs() != 3 {
		t.Fatalf("the default version: %v, %d blobs", err, r.blobs())
	}
	if _, _, _, err := r.Archive(t.Context(), r.me, k.ID, "latest"); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), r.me, k.ID); err != nil {
		t.Fatal(err)
	}
	if n := r.blobs() + r.documents.Count(r.me.Project, "skill") + r.documents.Count(r.me.Project, "claim"); n != 0 {
		t.Errorf("%d things are left over", n)
	}
}

func TestVersionsHaveALimit(t *testing.T) {
	r := newRig(t)
	k := r.create()
	for range skill.MaxVersions - 1 {
		if _, err := r.AddVersion(t.Context(), r.me, k.ID, r.bundle("more"), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.AddVersion(t.Context(), r.me, k.ID, r.bundle("more"), false); stead.KindOf(err) != stead.KindConflict || r.blobs() != skill.MaxVersions {
		t.Errorf("one too many: %v, %d blobs", err, r.blobs())
	}
}

func TestAnotherProjectSeesNothing(t *testing.T) {
	r := newRig(t)
	k := r.create()
	stranger := stead.Principal{ID: "s", Project: "other"}
	_, get := r.Get(t.Context(), stranger, k.ID)
	_, version := r.Version(t.Context(), stranger, k.ID, "1")
	_, add := r.AddVersion(t.Context(), stranger, k.ID, r.bundle("x"), true)
	for _, err := range []error{get, version, add, r.Delete(t.Context(), stranger, k.ID)} {
		if stead.KindOf(err) != stead.KindNotFound {
			t.Error(err)
		}
	}
}
