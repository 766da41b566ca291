package blob

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

// age makes a blob's file old.
func age(t *testing.T, root string, k stead.SessionKey, digest string) {
	t.Helper()
	old := time.Now().Add(-2 * Grace)
	if err := os.Chtimes(filepath.Join(root, "p", string(k.Session), digest[:2], digest), old, old); err != nil {
		t.Fatal(err)
	}
}

func sweep(t *testing.T, d *Dir, k stead.SessionKey, keep ...string) Swept {
	t.Helper()
	kept := map[string]bool{}
	for _, digest := range keep {
		kept[digest] = true
	}
	s, err := d.Sweep(t.Context(), k, func(digest string) bool { return kept[digest] }, time.Now().Add(-Grace))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDirSweep(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	kept, old, fresh, again := put(t, d, key(1), "kept"), put(t, d, key(1), "old"), put(t, d, key(1), "fresh"), put(t, d, key(1), "again")
	other := put(t, d, key(2), "old")
	for _, digest := range []string{kept, old, again} {
		age(t, root, key(1), digest)
	}
	age(t, root, key(2), other)
	put(t, d, key(1), "again") // of what is there: it counts as new
	dir := filepath.Join(root, "p", string(key(1).Session), old[:2])
	for name, when := range map[string]time.Time{"tmp-old": time.Now().Add(-2 * Grace), "tmp-new": time.Now()} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	if s := sweep(t, d, key(1), kept); s != (Swept{Removed: 1, RemovedBytes: 3, Kept: 3}) {
		t.Fatalf("swept %+v", s)
	}
	_, err := d.Get(t.Context(), key(1), old)
	fails(t, stead.KindNotFound, err)
	for _, digest := range []string{kept, fresh, again} {
		if _, err := d.Get(t.Context(), key(1), digest); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Get(t.Context(), key(2), other); err != nil {
		t.Fatalf("another session's blob: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp-old")); !os.IsNotExist(err) {
		t.Fatalf("a temporary file of a crash is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp-new")); err != nil {
		t.Fatal(err)
	}
	if s := sweep(t, d, key(3)); s != (Swept{}) {
		t.Fatalf("a session without blobs: %+v", s)
	}
}

// TestDirSweepKilled leaves a blob as a sweep leaves it that is killed in the middle: Get finds it, and
// the next sweep decides anew.
func TestDirSweepKilled(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	digest := put(t, d, key(1), "x")
	name := filepath.Join(root, "p", string(key(1).Session), digest[:2], digest)
	if err := os.Rename(name, name+sweptMark+"0123"); err != nil {
		t.Fatal(err)
	}
	if data, err := d.Get(t.Context(), key(1), digest); err != nil || string(data) != "x" {
		t.Fatalf("Get = %q, %v", data, err)
	}
	if s := sweep(t, d, key(1)); s != (Swept{Kept: 1}) {
		t.Fatalf("swept %+v", s)
	}
	if _, err := os.Stat(name); err != nil {
		t.Fatal(err)
	}
	age(t, root, key(1), digest)
	if s := sweep(t, d, key(1)); s.Removed != 1 {
		t.Fatalf("swept %+v", s)
	}
}

func TestDirCopy(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	a, b := put(t, d, key(1), "a"), put(t, d, key(1), "b")
	put(t, d, key(2), "b") // there already
	age(t, root, key(1), a)
	age(t, root, key(2), b)
	if err := d.Copy(t.Context(), key(1), key(2), []string{a, b, a}); err != nil {
		t.Fatal(err)
	}
	if s := sweep(t, d, key(2)); s.Kept != 2 {
		t.Fatalf("what has just been copied was swept: %+v", s)
	}
	// Each session's blobs are its own.
	if err := d.DeleteAll(t.Context(), key(1)); err != nil {
		t.Fatal(err)
	}
	for digest, want := range map[string]string{a: "a", b: "b"} {
		if data, err := d.Get(t.Context(), key(2), digest); err != nil || string(data) != want {
			t.Fatalf("Get = %q, %v", data, err)
		}
	}
	fails(t, stead.KindNotFound, d.Copy(t.Context(), key(2), key(3), []string{a, Digest([]byte("c"))}))
	fails(t, stead.KindInvalid, d.Copy(t.Context(), key(2), key(3), []string{"../" + a[3:]}))
	fails(t, stead.KindInvalid, d.Copy(t.Context(), stead.SessionKey{Project: "..", Session: "s"}, key(3), nil))
	// One that a killed sweep has moved aside is copied all the same.
	name := filepath.Join(root, "p", string(key(2).Session), a[:2], a)
	if err := os.Rename(name, name+sweptMark+"0123"); err != nil {
		t.Fatal(err)
	}
	if err := d.Copy(t.Context(), key(2), key(4), []string{a}); err != nil {
		t.Fatal(err)
	}
}

// running is what the Puts of a test that have not ended yet stamp files with at the earliest. A grace is
// longer than any Put lasts; how long one lasts is the disk's to say, so that oldest takes their place.
type running struct {
	mu     sync.Mutex
	began  map[int]time.Time
	oldest map[int]time.Time // of those that ran when this one began: they may rename an older file over its own
}

func (r *running) begin(t *testing.T, who int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := stamp(t)
	r.began[who] = now
	r.oldest[who] = now
	for _, other := range r.began {
		if other.Before(r.oldest[who]) {
			r.oldest[who] = other
		}
	}
}

func (r *running) end(who int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.began, who)
	delete(r.oldest, who)
}

// olderThan is the latest time of which files are no running Put's.
func (r *running) olderThan(t *testing.T) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	least := stamp(t)
	for _, began := range r.oldest {
		if began.Before(least) {
			least = began
		}
	}
	return least
}

// TestDirSweepRaces puts and copies a dozen blobs over and over while two sweeps in two stores over one
// directory, as in two processes, keep nothing but what those stamp who have not ended yet. What is put or
// copied, and looked for before that is over, must be there.
func TestDirSweepRaces(t *testing.T) {
	root := t.TempDir()
	putter, sweepers := openDir(t, root), []*Dir{openDir(t, root), openDir(t, root)}
	ctx, stop := context.WithCancel(t.Context())
	var removed, looked atomic.Int64
	var sweeping, putting sync.WaitGroup
	puts := running{began: map[int]time.Time{}, oldest: map[int]time.Time{}}
	for _, s := range sweepers {
		sweeping.Go(func() {
			for ctx.Err() == nil {
				for k := range 2 {
					swept, err := s.Sweep(t.Context(), key(k), func(string) bool { return false }, puts.olderThan(t))
					if err != nil {
						t.Errorf("Sweep: %v", err)
						return
					}
					removed.Add(int64(swept.Removed))
				}
			}
		})
	}
	deadline := time.Now().Add(time.Minute)
	for g := range 2 {
		putting.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for (looked.Load() < 300 || removed.Load() < 50) && time.Now().Before(deadline) {
				k, data := key(0), fmt.Sprint("blob ", r.IntN(12))
				puts.begin(t, g)
				digest, err := putter.Put(t.Context(), k, []byte(data))
				if err == nil && r.IntN(2) == 0 {
					k = key(1)
					err = putter.Copy(t.Context(), key(0), k, []string{digest})
				}
				var got []byte
				if err == nil {
					got, err = putter.Get(t.Context(), k, digest)
				}
				puts.end(g)
				looked.Add(1)
				if err != nil || string(got) != data {
					t.Errorf("%q, %v: a blob is gone that has just been put", got, err)
					return
				}
			}
		})
	}
	putting.Wait()
	stop()
	sweeping.Wait()
	t.Logf("%d times looked, %d blobs swept", looked.Load(), removed.Load())
	if !t.Failed() && (looked.Load() < 300 || removed.Load() < 50) {
		t.Error("the race did not happen often enough in a minute")
	}
}
