package workspace

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// TestCompare: what came, went and became another is named, files and links alone, in the order of paths; times are nothing.
func TestCompare(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	for _, name := range []string{"same", "gone/a", "gone/b", "text", "mode", "file-then-directory", "touched"} {
		put(t, filepath.Join(dir, name), name)
	}
	must(t, os.Symlink("text", filepath.Join(dir, "link")))
	d := open(t, dir)
	first := checkpoint(t, d, blobs, "")
	must(t, os.RemoveAll(filepath.Join(dir, "gone")))
	must(t, os.Remove(filepath.Join(dir, "file-then-directory")))
	must(t, os.Remove(filepath.Join(dir, "link")))
	must(t, os.Symlink("same", filepath.Join(dir, "link")))
	must(t, os.Chmod(filepath.Join(dir, "mode"), 0o755))
	must(t, os.Chtimes(filepath.Join(dir, "touched"), time.Time{}, time.Unix(1, 0)))
	put(t, filepath.Join(dir, "text"), "another")
	put(t, filepath.Join(dir, "file-then-directory/below"), "x")
	put(t, filepath.Join(dir, "new"), "new")
	second := checkpoint(t, d, blobs, first)
	got, err := Compare(t.Context(), blobs, first, second)
	must(t, err)
	var names []string
	for _, c := range got.Files {
		names = append(names, c.What+" "+c.Path)
	}
	want := []string{
		"removed /workspace/file-then-directory", "added /workspace/file-then-directory/below", "removed /workspace/gone/a", "removed /workspace/gone/b",
		"changed /workspace/link", "changed /workspace/mode", "added /workspace/new", "changed /workspace/text",
	}
	if !slices.Equal(names, want) || got.Total != len(want) {
		t.Errorf("%d changes: %q", got.Total, names)
	}
	if c := got.Files[6]; c.SHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte("new"))) || c.Size != 3 {
		t.Errorf("a new file is %+v", c)
	}
	if c := got.Files[4]; c.Link != "same" || c.SHA256 != "" {
		t.Errorf("a link is %+v", c)
	}
	if same, err := Compare(t.Context(), blobs, second, second); err != nil || same.Total != 0 {
		t.Errorf("with itself there are %+v, %v", same, err)
	}
	for i := range environment.MaxChanges + 1 {
		put(t, filepath.Join(dir, "many", fmt.Sprint(i)), "x")
	}
	many, err := Compare(t.Context(), blobs, second, checkpoint(t, d, blobs, second))
	if err != nil || len(many.Files) != environment.MaxChanges || many.Total != environment.MaxChanges+1 {
		t.Errorf("of many it names %d of %d, %v", len(many.Files), many.Total, err)
	}
	if all, err := Compare(t.Context(), blobs, "", first); err != nil || all.Total != 8 || all.Files[0].What != environment.ChangeAdded {
		t.Errorf("of nothing it makes %+v, %v", all, err)
	}
}
