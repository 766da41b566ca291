package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

// The race: somebody inside swaps a directory with a symbolic link that leads out, and a file with
// another such link, as fast as the system can, while the server works on paths through them.

const (
	secret = "secret of the host"
	ours   = "a file of the workspace"
)

// swapped is a workspace in a race, with a directory outside that holds files of the same names.
type swapped struct {
	dir, outside string
	before       map[string]string // what is outside
	stop         context.CancelFunc
	swapping     sync.WaitGroup
}

// race makes dir/d/f and dir/f, and swaps dir/d and dir/f with links to what is outside.
func race(t *testing.T) *swapped {
	t.Helper()
	return raceIn(t, t.TempDir(), t.TempDir())
}

// raceInMemory is race where writing is cheap, so that it can be tried often: below memoryDir, or else
// where temporary files are.
func raceInMemory(t *testing.T) *swapped {
	t.Helper()
	var dirs [2]string
	for i := range dirs {
		dir, err := os.MkdirTemp(memoryDir, "stead-race-")
		if err != nil {
			dir = t.TempDir()
		}
		dirs[i] = dir
		t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	}
	return raceIn(t, dirs[0], dirs[1])
}

const memoryDir = "/dev/shm"

func raceIn(t *testing.T, dir, outside string) *swapped {
	t.Helper()
	s := &swapped{dir: dir, outside: outside}
	for _, name := range []string{"f", "g", "sub/f"} {
		put(t, filepath.Join(s.outside, name), secret)
		put(t, filepath.Join(s.dir, "d", name), ours)
	}
	put(t, filepath.Join(s.dir, "f"), ours)
	must(t, os.Symlink(s.outside, filepath.Join(s.dir, "d-link")))
	must(t, os.Symlink(filepath.Join(s.outside, "f"), filepath.Join(s.dir, "f-link")))
	s.before = capture(t, s.outside)
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	for _, name := range []string{"d", "f"} {
		a, b := filepath.Join(s.dir, name), filepath.Join(s.dir, name+"-link")
		s.swapping.Go(func() {
			for ctx.Err() == nil {
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) // gone while restored
			}
		})
	}
	t.Cleanup(s.end)
	return s
}

func (s *swapped) end() {
	s.stop()
	s.swapping.Wait()
}

// untouched fails the test when anything outside has changed.
func (s *swapped) untouched(t *testing.T) {
	t.Helper()
	sameTree(t, s.before, capture(t, s.outside))
}

// raceTries is how often an operation is tried: n, times what STEAD_RACE_TIMES says.
func raceTries(n int) int {
	if times, err := strconv.Atoi(os.Getenv("STEAD_RACE_TIMES")); err == nil {
		return n * times
	}
	if testing.Short() {
		return n / 20
	}
	return n
}

func TestRaceRead(t *testing.T) {
	s := race(t)
	d := open(t, s.dir)
	read, tries := 0, raceTries(200_000)
	for i := range tries {
		p := [...]string{"d/f", "f", "d/sub/f"}[i%3]
		data, err := d.ReadFile(t.Context(), p, much)
		if bytes.Contains(data, []byte(secret)) {
			t.Fatalf("try %d: %s leaked", i, p)
		}
		if err == nil {
			read++
		}
	}
	s.end()
	t.Logf("%d of %d reads succeeded", read, tries)
	if read == 0 {
		t.Error("nothing was read: the race did not happen")
	}
}

// raceWriters write at once: one alone would wait for those who swap most of the time.
const raceWriters = 4

// TestRaceWrite writes hundreds of thousands of times in memory, and some thousands on a disk, where one
// try takes twenty times as long.
func TestRaceWrite(t *testing.T) {
	for name, at := range map[string]struct {
		race  func(*testing.T) *swapped
		tries int
	}{
		"memory": {raceInMemory, 200_000},
		"disk":   {race, 3_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := at.race(t)
			d := open(t, s.dir)
			tries := raceTries(at.tries)
			var written atomic.Int64
			var writing sync.WaitGroup
			for w := range raceWriters {
				writing.Go(func() {
					for i := w; i < tries; i += raceWriters {
						p := [...]string{"d/f", "f", "d/new", "d/sub/new"}[i/raceWriters%4]
						if d.WriteFile(t.Context(), p, []byte("written"), false) == nil {
							written.Add(1)
						}
						if i%64 > 60 {
							_ = d.Remove(t.Context(), p)
						}
					}
				})
			}
			writing.Wait()
			s.end()
			t.Logf("%d of %d writes succeeded", written.Load(), tries)
			s.untouched(t)
			if written.Load() == 0 {
				t.Error("nothing was written: the race did not happen")
			}
		})
	}
}

func TestRaceList(t *testing.T) {
	s := race(t)
	put(t, filepath.Join(s.outside, "only-outside"), secret)
	d := open(t, s.dir)
	listed, tries := 0, raceTries(20_000)
	for i := range tries {
		page, err := d.List(t.Context(), environment.ListQuery{Dir: [...]string{"", "d"}[i%2], Limit: 100})
		for _, f := range page.Files {
			if filepath.Base(f.Path) == "only-outside" {
				t.Fatalf("try %d: %s leaked", i, f.Path)
			}
		}
		if err == nil {
			listed += len(page.Files)
		}
		if i%100 == 0 {
			_, _ = d.DiskUsage()
		}
	}
	if listed == 0 {
		t.Error("nothing was listed: the race did not happen")
	}
}

func TestRaceCheckpoint(t *testing.T) {
	s := race(t)
	blobs := newBlobs(t)
	leak, ok := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(ours))
	stored, previous := 0, ""
	for i := range raceTries(1_000) {
		d := open(t, s.dir)
		if i%4 > 0 {
			d.last = nil
		}
		c, err := d.Checkpoint(t.Context(), blobs, previous)
		if err == nil {
			previous = c.Digest
			for _, e := range d.last.Entries {
				for _, p := range e.Parts {
					if p.Hash == leak {
						t.Fatalf("try %d: %s leaked", i, e.Path)
					}
					if p.Hash == ok {
						stored++
					}
				}
			}
		}
		d.Close()
	}
	s.end()
	if stored == 0 {
		t.Error("nothing was stored: the race did not happen")
	}
}

// TestRaceRestore restores into a directory whose parts are swapped with links that lead out.
func TestRaceRestore(t *testing.T) {
	blobs := newBlobs(t)
	s := race(t)
	s.end()
	digest := checkpoint(t, open(t, s.dir), blobs, "")
	s = race(t)
	done, tries := 0, raceTries(500)
	for range tries {
		if Restore(t.Context(), s.dir, blobs, digest) == nil {
			done++
		}
	}
	s.end()
	t.Logf("%d of %d restores succeeded", done, tries)
	s.untouched(t)
	restore(t, s.dir, blobs, digest) // and once more in peace
}

// TestRaceIsReal does the same things as one would do them without this package. Each leaks: so the
// tests above can fail.
func TestRaceIsReal(t *testing.T) {
	const tries = 200_000
	for name, try := range map[string]func(s *swapped) bool{
		"read": func(s *swapped) bool {
			data, _ := os.ReadFile(filepath.Join(s.dir, "d", "f"))
			return string(data) == secret
		},
		"read after a look": func(s *swapped) bool {
			if info, err := os.Lstat(filepath.Join(s.dir, "f")); err != nil || !info.Mode().IsRegular() {
				return false
			}
			data, _ := os.ReadFile(filepath.Join(s.dir, "f"))
			return string(data) == secret
		},
		"read after resolving": func(s *swapped) bool {
			name := filepath.Join(s.dir, "d", "f")
			if real, err := filepath.EvalSymlinks(name); err != nil || real != name {
				return false
			}
			data, _ := os.ReadFile(name)
			return string(data) == secret
		},
		"write": func(s *swapped) bool {
			_ = os.WriteFile(filepath.Join(s.dir, "d", "f"), []byte("written"), 0o644)
			data, _ := os.ReadFile(filepath.Join(s.outside, "f"))
			return string(data) != secret
		},
		"write beside and rename": func(s *swapped) bool {
			if os.WriteFile(filepath.Join(s.dir, "d", "tmp"), []byte("written"), 0o644) == nil {
				_ = os.Rename(filepath.Join(s.dir, "d", "tmp"), filepath.Join(s.dir, "d", "f"))
			}
			_, err := os.Stat(filepath.Join(s.outside, "tmp"))
			return err == nil
		},
		"walk": func(s *swapped) bool {
			leaked := false
			_ = filepath.WalkDir(s.dir, func(name string, e fs.DirEntry, err error) error {
				if err != nil || !e.Type().IsRegular() {
					return nil
				}
				data, _ := os.ReadFile(name)
				leaked = leaked || string(data) == secret
				return nil
			})
			return leaked
		},
		"restore": func(s *swapped) bool {
			_ = os.RemoveAll(filepath.Join(s.dir, "d", "new"))
			if errors.Join(os.MkdirAll(filepath.Join(s.dir, "d", "new"), 0o755), os.WriteFile(filepath.Join(s.dir, "d", "new", "f"), nil, 0o644)) != nil {
				return false
			}
			_, err := os.Stat(filepath.Join(s.outside, "new"))
			return err == nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			begin := race
			if strings.HasPrefix(name, "write") {
				begin = raceInMemory // where TestRaceWrite does most of its own
			}
			s := begin(t)
			for i := range tries {
				if try(s) {
					t.Logf("leaked at try %d", i+1)
					return
				}
			}
			t.Errorf("no leak in %d tries: the race is too weak to show anything", tries)
		})
	}
}
