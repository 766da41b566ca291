package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
)

// sessionBlobs are a real directory's blobs of one session, counted.
type sessionBlobs struct {
	store *blob.Dir
	key   stead.SessionKey

	mu         sync.Mutex
	puts, gets int
	fail       func(digest string) error // of Get, if not nil
}

func (b *sessionBlobs) Put(ctx context.Context, data []byte) (string, error) {
	b.mu.Lock()
	b.puts++
	b.mu.Unlock()
	return b.store.Put(ctx, b.key, data)
}

func (b *sessionBlobs) Get(ctx context.Context, digest string) ([]byte, error) {
	b.mu.Lock()
	b.gets++
	var err error
	if b.fail != nil {
		err = b.fail(digest)
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return b.store.Get(ctx, b.key, digest)
}

func newBlobs(t testing.TB) *sessionBlobs {
	t.Helper()
	store, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &sessionBlobs{store: store, key: stead.SessionKey{Project: "p", Session: "s"}}
}

func open(t testing.TB, dir string) *Dir {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// checkpoint takes a checkpoint, and fails the test when it can't.
func checkpoint(t testing.TB, d *Dir, blobs *sessionBlobs, previous string) string {
	t.Helper()
	c, err := d.Checkpoint(t.Context(), blobs, previous)
	if err != nil {
		t.Fatal(err)
	}
	return c.Digest
}

func restore(t testing.TB, dir string, blobs *sessionBlobs, digest string) {
	t.Helper()
	if err := Restore(t.Context(), dir, blobs, digest); err != nil {
		t.Fatal(err)
	}
}

func fails(t testing.TB, kind stead.Kind, err error) {
	t.Helper()
	if stead.KindOf(err) != kind {
		t.Fatalf("error %v (kind %q), want kind %q", err, stead.KindOf(err), kind)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a file of the host, with the directories above it.
func put(t testing.TB, name string, data string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(data), 0o644))
}

// files of a tree: path → what is there, with everything that a checkpoint keeps.
func capture(t testing.TB, root string) map[string]string {
	t.Helper()
	all, names := map[string]string{}, map[any]string{}
	must(t, filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case info.IsDir():
			all[rel] = fmt.Sprint("directory ", info.Mode().Perm())
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			all[rel] = "link " + target
			return err
		case info.Mode().IsRegular():
			data, err := os.ReadFile(name)
			file := statID(info)
			if first, ok := names[file]; ok {
				all[rel] = "another name of " + first
				return err
			}
			names[file] = rel
			all[rel] = fmt.Sprintf("file %v %d %s %x", info.Mode().Perm(), len(data), info.ModTime().UTC().Format(time.RFC3339Nano), sha256.Sum256(data))
			return err
		default:
			all[rel] = info.Mode().Type().String()
		}
		return nil
	}))
	return all
}

// statID is what tells two names of one file from two files.
func statID(info fs.FileInfo) any {
	if s, ok := statOf(info); ok {
		return s.ino
	}
	return info.Name()
}

// sameTree compares two directories.
func sameTree(t testing.TB, want, got map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		if len(diff) > 3000 {
			diff = diff[:3000] + "…"
		}
		t.Fatalf("the trees differ (-want +got):\n%s", diff)
	}
}

// rest makes files old enough to be taken for unchanged: it waits until the last change is, instead of
// setting their times, which nobody can for the one that counts.
func rest(d *Dir) { d.now = func() time.Time { return time.Now().Add(2 * restAge) } }

// random makes bytes, a part of which can be compressed, from a seeded source.
func random(r *rand.Rand, n int) []byte {
	data := make([]byte, 0, n+512)
	for len(data) < n {
		if r.IntN(20) < 9 {
			for range 32 {
				v := r.Uint64()
				data = append(data, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
			}
		} else {
			data = append(data, bytes.Repeat([]byte(fmt.Sprintf("line %d of a file\n", r.IntN(1000))), 14)...)
		}
	}
	return data[:n]
}
