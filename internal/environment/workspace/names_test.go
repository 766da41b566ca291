package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// linked is a tree in which one file of 1 MB has three names, and another one of the same bytes has one.
func linked(t *testing.T) (dir string, content string) {
	dir, content = t.TempDir(), strings.Repeat("line of a package\n", 60_000)
	put(t, filepath.Join(dir, "a/file"), content)
	put(t, filepath.Join(dir, "beside"), content)
	must(t, os.Mkdir(filepath.Join(dir, "b"), 0o755))
	must(t, os.Link(filepath.Join(dir, "a/file"), filepath.Join(dir, "b/file")))
	must(t, os.Link(filepath.Join(dir, "a/file"), filepath.Join(dir, "z")))
	return dir, content
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	one, err1 := os.Stat(a)
	two, err2 := os.Stat(b)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return os.SameFile(one, two)
}

func TestNamesOfOneFile(t *testing.T) {
	dir, content := linked(t)
	blobs := newBlobs(t)
	d := open(t, dir)
	c, err := d.Checkpoint(t.Context(), blobs, "")
	must(t, err)
	if c.Files != 4 || c.Bytes != 2*int64(len(content)) {
		t.Errorf("4 names of 2 files with %d bytes each: %+v", len(content), c)
	}
	if usage, err := d.DiskUsage(); err != nil || usage > 3*int64(len(content)) || c.Disk > usage {
		t.Errorf("they take %d bytes on disk, the checkpoint says %d: %v", usage, c.Disk, err)
	}
	to := filepath.Join(t.TempDir(), "to")
	must(t, Restore(t.Context(), to, blobs, c.Digest, WithMaxBytes(2*int64(len(content)))))
	sameTree(t, capture(t, dir), capture(t, to))
	if !sameFile(t, to+"/a/file", to+"/z") || !sameFile(t, to+"/a/file", to+"/b/file") || sameFile(t, to+"/a/file", to+"/beside") {
		t.Error("names are not those of one file")
	}

	t.Run("a file that is lost by its first name", func(t *testing.T) {
		must(t, os.Remove(filepath.Join(dir, "a/file")))
		next := checkpoint(t, d, blobs, c.Digest)
		restore(t, to, blobs, next)
		sameTree(t, capture(t, dir), capture(t, to))
		if !sameFile(t, to+"/b/file", to+"/z") {
			t.Error("the others are not one file any more")
		}
	})
	t.Run("a change by another name", func(t *testing.T) {
		put(t, filepath.Join(dir, "z"), "changed")
		restore(t, to, blobs, checkpoint(t, d, blobs, ""))
		if data, err := os.ReadFile(to + "/b/file"); string(data) != "changed" {
			t.Errorf("%.20q, %v", data, err)
		}
	})
}

// TestRestoreOverNames: what is there is kept only if exactly these names are one file.
func TestRestoreOverNames(t *testing.T) {
	dir, content := linked(t)
	blobs := newBlobs(t)
	digest := checkpoint(t, open(t, dir), blobs, "")
	outside := filepath.Join(t.TempDir(), "outside")
	for name, change := range map[string]func(to string){
		"nothing":                   func(string) {},
		"one name is its own file":  func(to string) { must(t, os.Remove(to+"/z")); put(t, to+"/z", content) },
		"a name is missing":         func(to string) { must(t, os.Remove(to+"/b/file")) },
		"the first name is missing": func(to string) { must(t, os.Remove(to+"/a/file")) },
		"two names are exchanged": func(to string) {
			must(t, os.Rename(to+"/z", to+"/y"))
			must(t, os.Rename(to+"/beside", to+"/z"))
			must(t, os.Rename(to+"/y", to+"/beside"))
		},
		"another file joins":         func(to string) { must(t, os.Remove(to+"/beside")); must(t, os.Link(to+"/z", to+"/beside")) },
		"there is a name outside":    func(to string) { must(t, os.Link(to+"/z", outside)) },
		"a name is a link":           func(to string) { must(t, os.Remove(to+"/z")); must(t, os.Symlink("a/file", to+"/z")) },
		"its bytes are others":       func(to string) { put(t, to+"/z", strings.ToUpper(content)) },
		"a name is a directory":      func(to string) { must(t, os.Remove(to+"/z")); must(t, os.Mkdir(to+"/z", 0o755)) },
		"the first is a directory":   func(to string) { must(t, os.Remove(to+"/a/file")); must(t, os.Mkdir(to+"/a/file", 0o755)) },
		"a directory leads outwards": func(to string) { must(t, os.RemoveAll(to+"/b")); must(t, os.Symlink(filepath.Dir(outside), to+"/b")) },
	} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "to")
			restore(t, to, blobs, digest)
			change(to)
			restore(t, to, blobs, digest)
			sameTree(t, capture(t, dir), capture(t, to))
			if _, err := os.Lstat(outside); err == nil {
				if sameFile(t, to+"/z", outside) {
					t.Error("a name outside shows what is changed inside")
				}
				must(t, os.Remove(outside))
			}
		})
	}
}

// TestNamesThatMove: what a name leads to when the file was read is what counts, not what it led to when it was found.
func TestNamesThatMove(t *testing.T) {
	dir, _ := linked(t)
	d := open(t, dir)
	nodes, _, err := d.scan(t.Context(), d.now(), 1)
	must(t, err)
	at := map[string]int{}
	for i, n := range nodes {
		at[n.path] = i
	}
	others := furtherNames(nodes)
	first := at["a/file"]
	if len(others) != 2 || others[at["b/file"]] != first || others[at["z"]] != first {
		t.Fatalf("names: %v of %v", others, at)
	}
	must(t, os.Remove(filepath.Join(dir, "z")))
	put(t, filepath.Join(dir, "z"), "another file")
	must(t, os.Remove(filepath.Join(dir, "b/file")))
	v := &view{nodes: nodes, gone: map[int]bool{}}
	loose := d.loosen(v, others, []int{first})
	if len(loose) != 1 || loose[0] != at["z"] || !v.gone[at["b/file"]] || nodes[at["z"]].target != "" {
		t.Errorf("to be read: %v, gone: %v", loose, v.gone)
	}
}
