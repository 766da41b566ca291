package workspace

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"

	"context"

	"github.com/stead-dev/stead"
)

type boundBlobs struct{ dir *blob.Dir }

var bound = stead.SessionKey{Project: "p", Session: "s"}

func (b boundBlobs) Put(ctx context.Context, data []byte) (string, error) {
	return b.dir.Put(ctx, bound, data)
}
func (b boundBlobs) Get(ctx context.Context, digest string) ([]byte, error) {
	return b.dir.Get(ctx, bound, digest)
}

func TestRoundTrip(t *testing.T) {
	store, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx := t.Context()
	for _, p := range []string{"a.txt", "/workspace/b/c.txt", "b/a", "b/d/e/f"} {
		if err := d.WriteFile(ctx, p, []byte(p), true); err != nil {
			t.Fatal(err)
		}
	}
	page, err := d.List(ctx, environment.ListQuery{After: "/workspace/a.txt", Limit: 2})
	if err != nil || len(page.Files) != 2 || !page.More || page.Files[0].Path != "/workspace/b/a" {
		t.Fatalf("%+v %v", page, err)
	}
	c, err := d.Checkpoint(ctx, boundBlobs{store}, "")
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "new")
	if err := Restore(ctx, to, boundBlobs{store}, c.Digest); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(to, "b/d/e/f")); err != nil || string(data) != "b/d/e/f" {
		t.Fatal(string(data), err)
	}
	if n, err := d.DiskUsage(); err != nil || n < 4096 {
		t.Fatal(n, err)
	}
}
