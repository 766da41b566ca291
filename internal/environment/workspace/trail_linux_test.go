package workspace

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// chain makes directories inside each other, with a file in the lowest one.
func chain(t *testing.T, dir, name string, levels int, content []byte) {
	t.Helper()
	at, err := os.OpenRoot(dir)
	must(t, err)
	for range levels {
		must(t, at.Mkdir(name, 0o755))
		next, err := at.OpenRoot(name)
		must(t, err)
		at.Close()
		at = next
	}
	must(t, at.WriteFile("bottom", content, 0o644))
	must(t, at.Close())
}

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

// TestAnyDepth: an agent can go as deep as it likes. All of it is counted and can be removed; what has a
// path that can be stored is, and the rest is counted as left out.
func TestAnyDepth(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	content := bytes.Repeat([]byte("deep"), 50_000)
	must(t, os.Mkdir(filepath.Join(dir, "stored"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "beyond"), 0o755))
	const stored, beyond = 300, 600 // names of a path
	chain(t, filepath.Join(dir, "stored"), "d", stored, content)
	chain(t, filepath.Join(dir, "beyond"), "long-name", beyond, content)
	put(t, filepath.Join(dir, "near"), "near")

	if environment.MaxStoredPathBytes != manifest.MaxPathBytes {
		t.Error("agents are told another limit than the one that holds")
	}
	before := descriptors(t)
	d := open(t, dir)
	all, err := d.Measure(0)
	if want := stored + beyond + 5; err != nil || all.Files != want || all.Bytes < 2*int64(len(content)) {
		t.Errorf("%+v, want %d files: %v", all, want, err)
	}
	if few, err := d.Measure(100); err != nil || few.Files <= 100 || few.Files > 110 {
		t.Errorf("of more than 100: %+v, %v", few, err)
	}
	c, err := d.Checkpoint(t.Context(), blobs, "")
	must(t, err)
	if c.Files != 2 || c.TooLong != 1 || c.Skipped != 1 {
		t.Errorf("checkpoint %+v", c)
	}
	page, err := d.List(t.Context(), environment.ListQuery{Limit: 10})
	if err != nil || len(page.Files) != 2 {
		t.Errorf("listed %d, %v", len(page.Files), err)
	}
	to := t.TempDir()
	restore(t, to, blobs, c.Digest)
	root, err := os.OpenRoot(to)
	must(t, err)
	got, err := root.ReadFile("stored/" + strings.Repeat("d/", stored) + "bottom")
	if must(t, root.Close()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("restored %d bytes, %v", len(got), err)
	}
	put(t, filepath.Join(dir, "new"), "goes")
	restore(t, dir, blobs, checkpoint(t, open(t, t.TempDir()), blobs, ""))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v is left", left, err)
	}
	chain(t, dir, "d", stored, nil)
	must(t, Remove(dir))
	must(t, Remove(to))
	if _, err := os.Lstat(dir); err == nil {
		t.Error("it is still there")
	}
	if after := descriptors(t); after > before+8 { // the workspaces that are still open
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// TestWalkHoldsFewDirectories: however deep it is.
func TestWalkHoldsFewDirectories(t *testing.T) {
	dir := t.TempDir()
	chain(t, dir, "d", 500, nil)
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	before, most, reached := descriptors(t), 0, false
	w := walker{ctx: t.Context(), list: (&usage{}).list, visit: func(at *step, name string, info fs.FileInfo) (bool, error) {
		if at.depth%100 == 0 {
			most = max(most, descriptors(t)-before)
		}
		reached = reached || name == "bottom"
		return info.IsDir(), nil
	}}
	must(t, w.walk(root, "", 0))
	if !reached || most > heldOpen+8 {
		t.Errorf("the bottom was reached: %v; at most %d were open", reached, most)
	}
}

// TestWalkWhileDirectoriesAreMoved: a way back that leads elsewhere is not taken. What was moved away is
// lost to this walk, the rest is visited, and nothing outside ever is.
func TestWalkWhileDirectoriesAreMoved(t *testing.T) {
	for _, level := range []int{heldOpen + 5, heldOpen + 19} {
		base := t.TempDir()
		dir, outside := filepath.Join(base, "workspace"), filepath.Join(base, "outside")
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.Mkdir(outside, 0o755))
		put(t, filepath.Join(outside, "secret"), "x")
		chain(t, dir, "d", heldOpen+20, nil)
		for i := range heldOpen + 20 { // something to come back for, on every level
			put(t, filepath.Join(dir, strings.Repeat("d/", i)+"z"), "")
		}
		root, err := os.OpenRoot(dir)
		must(t, err)
		seen := map[string]int{}
		w := walker{ctx: t.Context(), list: func(r *os.Root) ([]string, error) { return namesOf(r, new(atomic.Int64)) }, visit: func(at *step, name string, info fs.FileInfo) (bool, error) {
			seen[name]++
			if name == "bottom" {
				from := filepath.Join(dir, strings.Repeat("d/", level))
				must(t, os.Rename(from, filepath.Join(outside, "moved")))
				must(t, os.Symlink(outside, from)) // its place leads out now
			}
			return info.IsDir(), nil
		}}
		must(t, w.walk(root, "", 0))
		must(t, root.Close())
		if seen["secret"] > 0 {
			t.Error("it was led out")
		}
		if seen["z"] < heldOpen || seen["bottom"] != 1 {
			t.Errorf("moved at level %d: %v", level, seen)
		}
	}
}
