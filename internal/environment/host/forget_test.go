package host

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// quetzals are the files of notes that name one.
func quetzals() *environment.Forgetting {
	return &environment.Forgetting{Dirs: []string{"notes", "nowhere", "code"}, MaxBytes: 1 << 10, Is: func(_ string, data []byte) ([]byte, bool) {
		return []byte("gone\n"), bytes.Contains(data, []byte("quetzal"))
	}}
}

// TestFilesAreForgottenBeforeAnythingRunsOrIsStored: of an open environment with the next checkpoint, of another one when it is opened.
func TestFilesAreForgottenBeforeAnythingRunsOrIsStored(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	b.sh("mkdir -p notes/sub; echo a quetzal > notes/1.md; echo tea > notes/2.md; echo quetzal > notes/sub/3.md; echo quetzal > code; yes quetzal | head -c 5000 > notes/large.md")
	ctx := context.Background()
	saved, err := b.Save(ctx, b.key, environment.SaveRequest{Previous: b.state.Checkpoint, Forget: quetzals()})
	if err != nil {
		t.Fatal(err)
	}
	b.state.Checkpoint = saved.Checkpoint.Digest
	for path, want := range map[string]string{"notes/1.md": "gone\n", "notes/2.md": "tea\n", "notes/sub/3.md": "quetzal\n", "code": "quetzal\n"} {
		b.is("/workspace/"+path, want)
	}
	b.sh("echo a quetzal > notes/1.md")
	b.suspend()
	b.state.Forget = quetzals()
	b.open()
	b.is("/workspace/notes/1.md", "gone\n")
}

// TestEvict: what is left of a workspace that is not open goes, and it is opened from its checkpoint; one that is open, or is being opened
// by another node with the same disk, stays.
func TestEvict(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	b.sh("echo text > file")
	ctx, free := context.Background(), func() (bool, error) { return true, nil }
	if err := b.Evict(ctx, b.key, free); stead.KindOf(err) != stead.KindConflict {
		t.Errorf("one that is open: %v", err)
	}
	b.suspend()
	dir := b.place(b.key).workspace()
	asked := 0
	opened := func() (bool, error) { asked++; return asked == 1, nil }
	if err := b.Evict(ctx, b.key, opened); stead.KindOf(err) != stead.KindConflict || asked != 2 || !isDir(dir) {
		t.Errorf("one that is opened meanwhile: %v, asked %d times", err, asked)
	}
	left := filepath.Join(filepath.Dir(dir), evictedPrefix+"of a node that died")
	if err := os.MkdirAll(filepath.Join(left, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Evict(ctx, b.key, free); err != nil || isDir(dir) || isDir(left) {
			t.Errorf("%v, it is there: %v, %v", err, isDir(dir), isDir(left))
		}
	}
	b.open()
	b.is("/workspace/file", "text\n")
}
