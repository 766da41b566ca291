package file_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/policy"
)

type rig struct {
	*testing.T
	*file.Service
	documents *documenttest.Memory
	assets    *asset.Store
	dir       string
	now       time.Time
	policy    policy.Authorizer
	me        stead.Principal
}

func (r *rig) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	return r.policy.Decide(ctx, req)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, documents: documenttest.NewMemory(), dir: t.TempDir(), now: time.Unix(1_700_000_000, 0), policy: policy.AllowLocal{}, me: stead.LocalPrincipal()}
	blobs, err := blob.OpenDir(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	clock := func() time.Time { return r.now }
	r.assets = asset.New(r.documents, blobs, clock)
	r.Service = file.NewService(file.Config{Documents: r.documents, Assets: r.assets, Policy: r, Now: clock})
	return r
}

// blobs counts the blobs on disk, whoever has them.
func (r *rig) blobs() int {
	n := 0
	err := filepath.WalkDir(r.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.Fatal(err)
	}
	return n
}

func (r *rig) upload(content string, n file.New) (file.File, error) {
	return r.Create(r.Context(), r.me, strings.NewReader(content), func() (file.New, error) { return n, nil }, "")
}

func (r *rig) must(content string, n file.New) file.File {
	r.Helper()
	f, err := r.upload(content, n)
	if err != nil {
		r.Fatal(err)
	}
	return f
}

func named(name string) file.New { return file.New{Filename: name, Purpose: "user_data"} }

func TestAFileComesBackWhole(t *testing.T) {
	r := newRig(t)
	for _, size := range []int{0, 1, file.PartBytes - 1, file.PartBytes, file.PartBytes + 1, 2*file.PartBytes + 5} {
		want := strings.Repeat("abcdefg", size/7+1)[:size]
		f := r.must(want, named("x"))
		content, meta, err := r.Content(t.Context(), r.me, f.ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(content)
		if err != nil || string(got) != want || meta.Bytes != int64(size) {
			t.Errorf("%d bytes: %d came back, meta says %d, %v", size, len(got), meta.Bytes, err)
		}
	}
}

func TestNothingIsLeftOver(t *testing.T) {
	r := newRig(t)
	bad := errors.New("the client is gone")
	for name, call := range map[string]func() error{
		"a body that breaks off": func() error {
			_, err := r.Create(t.Context(), r.me, io.MultiReader(strings.NewReader(strings.Repeat("x", file.PartBytes+1)), iotestErr{bad}), nil, "")
			return err
		},
		"fields that are wrong": func() error { _, err := r.upload("x", file.New{Filename: "a", Purpose: "none"}); return err },
		"fields that never come": func() error {
			_, err := r.Create(t.Context(), r.me, strings.NewReader("x"), func() (file.New, error) { return file.New{}, bad }, "")
			return err
		},
		"a file that is deleted": func() error {
			f := r.must("x", named("a"))
			if r.blobs() == 0 {
				t.Error("the file has no bytes")
			}
			if err := r.Delete(t.Context(), r.me, f.ID); err != nil {
				return err
			}
			_, err := r.Get(t.Context(), r.me, f.ID)
			return err
		},
	} {
		if err := call(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if n := r.blobs() + r.documents.Count(r.me.Project, "file") + r.documents.Count(r.me.Project, "claim"); n != 0 {
			t.Errorf("%s: %d things are left over", name, n)
		}
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

func TestACrashLeavesNothingForLong(t *testing.T) {
	r := newRig(t)
	live := r.must("stays", named("a"))
	// A process dies: its claim and its bytes are there, and its document never comes.
	claim := asset.Claim{Owner: "file_dead"}
	claim.Document.Project, claim.Document.Kind, claim.Document.ID = r.me.Project, "file", "file_dead"
	if err := r.assets.Reserve(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	if _, err := r.assets.Put(t.Context(), claim, []byte("orphan")); err != nil {
		t.Fatal(err)
	}
	// Another dies between its document and the end of its claim.
	kept := claim
	kept.Owner, kept.Document.ID = live.ID, live.ID
	if err := r.assets.Reserve(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if n, err := r.assets.Sweep(t.Context()); n != 0 || err != nil || r.blobs() != 2 {
		t.Fatalf("a sweep at once: %d, %v, %d blobs", n, err, r.blobs())
	}
	r.now = r.now.Add(asset.ReserveTime)
	if n, err := r.assets.Sweep(t.Context()); n != 2 || err != nil || r.blobs() != 1 {
		t.Fatalf("a sweep in time: %d, %v, %d blobs", n, err, r.blobs())
	}
	if _, _, err := r.Content(t.Context(), r.me, live.ID); err != nil || r.documents.Count(r.me.Project, "claim") != 0 {
		t.Fatalf("the living file: %v", err)
	}
}

func TestFilesExpire(t *testing.T) {
	r := newRig(t)
	stays := r.must("x", named("a"))
	goes := r.must("y", file.New{Filename: "b", Purpose: "user_data", Life: file.MinLife})
	batch := r.must("z", file.New{Filename: "c", Purpose: "batch"})
	if batch.ExpiresAt != r.now.Add(file.BatchLife).UnixMilli() || stays.ExpiresAt != 0 {
		t.Errorf("lives: %+v %+v", batch, stays)
	}
	r.now = r.now.Add(file.MinLife)
	if _, err := r.Get(t.Context(), r.me, goes.ID); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("an expired file: %v", err)
	}
	if all, _, err := r.List(t.Context(), r.me, file.Query{Limit: 10}); err != nil || len(all) != 2 {
		t.Errorf("the list has %d files, %v", len(all), err)
	}
	if n, err := r.Sweep(t.Context()); n != 1 || err != nil || r.blobs() != 2 {
		t.Errorf("swept %d, %v, %d blobs", n, err, r.blobs())
	}
	if n, err := r.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("swept again %d, %v", n, err)
	}
}

func TestPolicyAndProjectsStandBefore(t *testing.T) {
	r := newRig(t)
	f := r.must("x", named("a"))
	stranger := stead.Principal{ID: "s", Project: "other"}
	if _, err := r.Get(t.Context(), stranger, f.ID); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("another project: %v", err)
	}
	r.policy = no{}
	_, _, content := r.Content(t.Context(), r.me, f.ID)
	_, get := r.Get(t.Context(), r.me, f.ID)
	_, _, list := r.List(t.Context(), r.me, file.Query{Limit: 1})
	_, create := r.upload("x", named("a"))
	for name, err := range map[string]error{"content": content, "get": get, "list": list, "create": create, "delete": r.Delete(t.Context(), r.me, f.ID)} {
		if stead.KindOf(err) != stead.KindForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type no struct{}

func (no) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{Reason: "closed"}, nil
}

// TestFilesOfAUserAndOfATimeGo: with their bytes, and no others.
func TestFilesOfAUserAndOfATimeGo(t *testing.T) {
	r := newRig(t)
	old := r.must("old", named("old"))
	r.now = r.now.Add(time.Hour)
	ada := r.me
	ada.ID = "ada"
	mine := r.must("mine", named("mine"))
	hers, err := r.Create(t.Context(), ada, strings.NewReader("hers"), func() (file.New, error) { return named("hers"), nil }, "")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := r.DeleteOf(t.Context(), r.me, "ada")
	if err != nil || len(gone) != 1 || gone[0].ID != hers.ID || gone[0].Bytes != 4 {
		t.Fatalf("of ada go %+v: %v", gone, err)
	}
	if gone, err := r.DeleteOf(t.Context(), r.me, ""); err != nil || len(gone) != 0 {
		t.Fatalf("of nobody go %+v: %v", gone, err)
	}
	if n, err := r.DeleteBefore(t.Context(), r.me, r.now.UnixMilli()); err != nil || n != 1 {
		t.Fatalf("%d old files go: %v", n, err)
	}
	for id, there := range map[string]bool{old.ID: false, hers.ID: false, mine.ID: true} {
		if _, err := r.Get(t.Context(), r.me, id); (err == nil) != there {
			t.Errorf("file %s: %v", id, err)
		}
	}
	r.policy = no{}
	if n, err := r.DeleteBefore(t.Context(), r.me, r.now.Add(time.Hour).UnixMilli()); stead.KindOf(err) != stead.KindForbidden || n != 0 {
		t.Errorf("%d files go though policy says no: %v", n, err)
	}
}
