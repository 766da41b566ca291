package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// variedTree makes one of everything that a checkpoint keeps.
func variedTree(t testing.TB, dir string) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	put(t, filepath.Join(dir, "a.txt"), "a")
	put(t, filepath.Join(dir, "a.txt-behind"), "names order by components: a/x before a.txt")
	put(t, filepath.Join(dir, "a", "x"), "x")
	put(t, filepath.Join(dir, "empty"), "")
	put(t, filepath.Join(dir, "zeros"), strings.Repeat("\x00", 5000))
	put(t, filepath.Join(dir, "deep/er/and/er", "program"), "#!/bin/sh\n")
	must(t, os.Chmod(filepath.Join(dir, "deep/er/and/er", "program"), 0o755))
	put(t, filepath.Join(dir, "large"), string(random(r, 3*manifest.MaxPieceBytes+17)))
	put(t, filepath.Join(dir, "exact"), string(random(r, 2*manifest.MaxPieceBytes)))
	put(t, filepath.Join(dir, "old"), "old")
	must(t, os.Chtimes(filepath.Join(dir, "old"), time.Now(), time.Date(1969, 7, 20, 20, 17, 40, 123456789, time.UTC)))
	put(t, filepath.Join(dir, "not utf-8 \xff\xfe\n"), "any bytes make a name")
	must(t, os.MkdirAll(filepath.Join(dir, "void/of/files"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "void"), 0o711))
	for name, target := range map[string]string{"link": "a.txt", "out": "/etc/passwd", "up": "../../..", "dangling": "nowhere", "loop": "loop", "dirlink": "deep"} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	must(t, os.Link(filepath.Join(dir, "a.txt"), filepath.Join(dir, "twin")))
	put(t, filepath.Join(dir, "shut"), "nobody may read it")
	must(t, os.Chmod(filepath.Join(dir, "shut"), 0))
	put(t, filepath.Join(dir, "closed", "in"), "behind a door")
	must(t, os.Chmod(filepath.Join(dir, "closed"), 0))
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	for _, at := range []int64{10 << 30, 5<<30 + 100} {
		_, err = sparse.WriteAt([]byte("far out"), at)
		must(t, err)
	}
	must(t, sparse.Close())
}

// captureVaried is capture without reading gigabytes of holes.
func captureVaried(t testing.TB, dir string) map[string]string {
	t.Helper()
	name := filepath.Join(dir, "sparse")
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	seen := fmt.Sprint(info.Size(), info.Mode(), info.ModTime().UnixNano())
	for _, at := range []int64{0, 5 << 30, 5<<30 + 100, 10 << 30} {
		data := make([]byte, 7)
		_, err = f.ReadAt(data, at)
		must(t, err)
		seen += fmt.Sprintf(" %q", data)
	}
	if s, ok := statOf(info); !ok || s.blocks*diskBlockBytes > 8<<20 {
		t.Fatalf("the sparse file takes %d blocks", s.blocks)
	}
	aside := filepath.Join(t.TempDir(), "sparse")
	must(t, os.Rename(name, aside))
	all := capture(t, dir)
	must(t, os.Rename(aside, name))
	all["sparse"] = seen
	return all
}

func TestCheckpointRoundTrip(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	variedTree(t, dir)
	want := captureVaried(t, dir)
	c, err := open(t, dir).Checkpoint(t.Context(), blobs, "")
	must(t, err)
	files := 0
	for _, is := range want {
		if !strings.HasPrefix(is, "directory") && !strings.HasPrefix(is, "link") {
			files++
		}
	}
	if c.Files != files || c.Bytes < 10<<30 || c.Stored < 2<<20 || c.Stored > 6<<20 || c.Skipped != 0 {
		t.Fatalf("checkpoint %+v of %d files", c, files)
	}
	to := filepath.Join(t.TempDir(), "made", "here")
	restore(t, to, blobs, c.Digest)
	sameTree(t, want, captureVaried(t, to))
	if info, err := os.Stat(filepath.Join(to, "twin")); err != nil || info.Sys().(*syscall.Stat_t).Nlink != 2 {
		t.Fatalf("hard links come back as files of their own: %v", err)
	}
	if again := checkpoint(t, open(t, to), blobs, c.Digest); again != c.Digest {
		t.Fatal("what was restored has another digest")
	}
	if v, err := Verify(t.Context(), blobs, c.Digest); err != nil || v.Files != c.Files || v.Bytes != c.Bytes {
		t.Fatalf("Verify = %+v, %v", v, err)
	}
}

// TestCheckpointLeavesOut: what is no file is counted, and nothing waits for a FIFO's other end.
func TestCheckpointLeavesOut(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	put(t, filepath.Join(dir, "kept"), "kept")
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o666))
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	defer syscall.Close(socket)
	t.Chdir(dir) // a socket's path is short
	must(t, syscall.Bind(socket, &syscall.SockaddrUnix{Name: "socket"}))
	must(t, os.Chmod(filepath.Join(dir, "kept"), 0o755|os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	must(t, os.WriteFile(filepath.Join(dir, temporaryPrefix+"0123456789abcdef"), []byte("being written"), 0o600))
	d := open(t, dir)
	c, err := d.Checkpoint(t.Context(), blobs, "")
	must(t, err)
	if c.Files != 1 || c.Skipped != 2 {
		t.Fatalf("checkpoint %+v, want one file and two left out", c)
	}
	to := t.TempDir()
	restore(t, to, blobs, c.Digest)
	info, err := os.Stat(filepath.Join(to, "kept"))
	must(t, err)
	if entries, _ := os.ReadDir(to); len(entries) != 1 || info.Mode() != 0o755 {
		t.Fatalf("restored %v, mode %v: setuid, setgid and sticky bits do not come back", entries, info.Mode())
	}
	d.now = func() time.Time { return time.Now().Add(2 * leftoverAge) }
	checkpoint(t, d, blobs, c.Digest)
	if _, err := os.Lstat(filepath.Join(dir, temporaryPrefix+"0123456789abcdef")); !os.IsNotExist(err) {
		t.Fatalf("an old temporary file is still there: %v", err)
	}
}

func TestCheckpointUnchanged(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	variedTree(t, dir)
	d := open(t, dir)
	rest(d)
	first := checkpoint(t, d, blobs, "")
	for name, d := range map[string]*Dir{"the same Dir": d, "a new Dir": open(t, dir)} {
		puts := blobs.puts
		c, err := d.Checkpoint(t.Context(), blobs, first)
		must(t, err)
		if c.Digest != first || c.Stored != 0 || blobs.puts != puts {
			t.Fatalf("%s: %+v after %s: an unchanged workspace stores nothing", name, c, first)
		}
	}
	if other := checkpoint(t, open(t, dir), newBlobs(t), ""); other != first {
		t.Fatal("the same tree from nothing has another digest")
	}
	// A touched directory or a second look changes nothing; a mode does.
	must(t, os.Chtimes(filepath.Join(dir, "void"), time.Now(), time.Now()))
	if checkpoint(t, d, blobs, first) != first {
		t.Fatal("the time of a directory counts")
	}
	must(t, os.Chmod(filepath.Join(dir, "a.txt"), 0o600))
	if checkpoint(t, d, blobs, first) == first {
		t.Fatal("the mode of a file does not count")
	}
}

// TestCheckpointStoresWhatChanged: content that is there already, here or before, is not stored again.
func TestCheckpointStoresWhatChanged(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 500 {
		put(t, filepath.Join(dir, fmt.Sprintf("d%d/f%d", i%20, i)), string(random(r, 2000)))
	}
	d := open(t, dir)
	rest(d)
	first, err := d.Checkpoint(t.Context(), blobs, "")
	must(t, err)
	if blobs.puts != 2 {
		t.Fatalf("%d blobs for 500 small files, want a pack and a manifest", blobs.puts)
	}
	steps := []struct {
		what   string
		change func()
		stored int64 // at most
		blobs  int   // at most
	}{
		{"a small file", func() { put(t, filepath.Join(dir, "new"), "new") }, 500, 2},
		{"a copy", func() {
			data, err := os.ReadFile(filepath.Join(dir, "d1/f1"))
			must(t, err)
			put(t, filepath.Join(dir, "copy"), string(data))
		}, 500, 1},
		{"a move of a directory", func() { must(t, os.Rename(filepath.Join(dir, "d2"), filepath.Join(dir, "moved"))) }, 4000, 1},
		{"a removal", func() { must(t, os.RemoveAll(filepath.Join(dir, "d3"))) }, 1500, 1},
		{"a touch", func() { must(t, os.Chtimes(filepath.Join(dir, "d4/f4"), time.Now(), time.Unix(5, 5))) }, 500, 1},
		{"one piece of a large file", func() {
			put(t, filepath.Join(dir, "large"), string(random(r, 8<<20)))
			checkpointed, err := d.Checkpoint(t.Context(), blobs, first.Digest)
			must(t, err)
			first, blobs.puts = checkpointed, 0
			f, err := os.OpenFile(filepath.Join(dir, "large"), os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("changed"), 3<<20+5)
			must(t, err)
			must(t, f.Close())
		}, 1<<20 + 1000, 2},
	}
	for _, s := range steps {
		blobs.puts = 0
		s.change()
		next, err := d.Checkpoint(t.Context(), blobs, first.Digest)
		must(t, err)
		if next.Digest == first.Digest || next.Stored > s.stored || blobs.puts > s.blobs {
			t.Errorf("%s stored %d bytes in %d blobs, want at most %d in %d", s.what, next.Stored, blobs.puts, s.stored, s.blobs)
		}
		first = next
		to := t.TempDir()
		restore(t, to, blobs, first.Digest)
		sameTree(t, capture(t, dir), capture(t, to))
	}
}

// TestCheckpointOfFreshFiles: a file that was changed within a tick of the clock is read again, however
// much its attributes look the same.
func TestCheckpointOfFreshFiles(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	name := filepath.Join(dir, "f")
	put(t, name, "one")
	d := open(t, dir)
	c := checkpoint(t, d, blobs, "")
	if d.seen[0] != (seen{}) {
		t.Fatal("a file that has just been written is taken for resting")
	}
	rest(d)
	c = checkpoint(t, d, blobs, c)
	if d.seen[0] == (seen{}) {
		t.Fatal("a resting file is not remembered")
	}
	// The same size, the same time of change, another content: what can't be set is looked at too.
	info, err := os.Stat(name)
	must(t, err)
	put(t, name, "two")
	must(t, os.Chtimes(name, info.ModTime(), info.ModTime()))
	if checkpoint(t, d, blobs, c) == c {
		t.Fatal("a change that hides its time was not seen")
	}
}

// TestCheckpointOfChangingFile: a file that is written all the time does not keep a checkpoint from
// ending, and neither does one that shrinks, grows or goes.
func TestCheckpointOfChangingFile(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	put(t, filepath.Join(dir, "still"), "still")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		name := filepath.Join(dir, "busy")
		data := bytes.Repeat([]byte("busy "), 1<<18)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if i%10 == 9 {
				_ = os.Remove(name)
			}
			_ = os.WriteFile(name, data[:(i%7)*len(data)/7], 0o644)
			_ = os.Truncate(name, int64(i%5)*1000)
		}
	}()
	d, previous := open(t, dir), ""
	for range 30 {
		previous = checkpoint(t, d, blobs, previous)
		if _, err := Verify(t.Context(), blobs, previous); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-done
	previous = checkpoint(t, d, blobs, previous)
	to := t.TempDir()
	restore(t, to, blobs, previous)
	sameTree(t, capture(t, dir), capture(t, to))
}

// TestCheckpointWithoutPrevious: a previous one that is gone or damaged costs space, not files.
func TestCheckpointWithoutPrevious(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	variedTree(t, dir)
	want := captureVaried(t, dir)
	first := checkpoint(t, open(t, dir), blobs, "")
	for _, previous := range []string{strings.Repeat("0", 64), "nonsense", first} {
		blobs.fail = func(digest string) error {
			if digest == first {
				return stead.NotFound("blob", digest)
			}
			return nil
		}
		again := checkpoint(t, open(t, dir), blobs, previous)
		blobs.fail = nil
		to := t.TempDir()
		restore(t, to, blobs, again)
		sameTree(t, want, captureVaried(t, to))
	}
	blobs.fail = func(string) error { return stead.Errorf(stead.KindUnavailable, "away") }
	_, err := open(t, dir).Checkpoint(t.Context(), blobs, first)
	fails(t, stead.KindUnavailable, err)
}

// TestCheckpointHistory changes a workspace many times: the chain of manifests and the number of packs
// stay bounded, and so does what is kept for content that nobody needs any more.
func TestCheckpointHistory(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	r := rand.New(rand.NewPCG(2, 2))
	for i := range 300 {
		put(t, filepath.Join(dir, fmt.Sprintf("d%d/f%d", i%10, i)), string(random(r, 3000)))
	}
	d := open(t, dir)
	rest(d)
	previous := checkpoint(t, d, blobs, "")
	longest := 0
	for i := range 120 {
		for range 3 {
			n := r.IntN(300)
			put(t, filepath.Join(dir, fmt.Sprintf("d%d/f%d", n%10, n)), fmt.Sprint("changed ", i, random(r, 2000)))
		}
		previous = checkpoint(t, d, blobs, previous)
		longest = max(longest, len(d.last.Chain))
		if len(d.last.Packs) > 2*manySmall {
			t.Fatalf("%d packs after %d changes", len(d.last.Packs), i)
		}
	}
	if longest < 3 || longest > manifest.MaxChain {
		t.Fatalf("the longest chain had %d manifests", longest)
	}
	size, live := 0, 0
	for i, n := range d.last.Live() {
		size, live = size+d.last.Packs[i].Size, live+n
	}
	if size > 2*live {
		t.Fatalf("packs of %d bytes are kept for %d that are needed", size, live)
	}
	references, err := References(t.Context(), blobs, previous)
	must(t, err)
	if len(references) != len(d.last.Chain)+len(d.last.Packs) || references[0] != previous {
		t.Fatalf("references %v", references)
	}
	needed := map[string]bool{}
	for _, digest := range references {
		needed[digest] = true
	}
	blobs.fail = func(digest string) error {
		if !needed[digest] {
			return stead.NotFound("blob", digest)
		}
		return nil
	}
	to := t.TempDir()
	restore(t, to, blobs, previous)
	sameTree(t, capture(t, dir), capture(t, to))
}

func TestVictims(t *testing.T) {
	big := func(size, live int) [2]int { return [2]int{size << 20, live << 20} }
	small := slices.Repeat([][2]int{{1000, 900}}, manySmall)
	for name, c := range map[string]struct {
		packs [][2]int // size, live
		want  []int
	}{
		"all needed":             {[][2]int{big(4, 4), big(4, 3)}, nil},
		"half wasted":            {[][2]int{big(4, 2), big(4, 1)}, []int{1}},
		"the most wasted first":  {[][2]int{big(8, 3), big(8, 1)}, []int{1, 0}},
		"not too much at a time": {[][2]int{big(8, 3), big(8, 3), big(8, 3)}, []int{0, 1}},
		"dead needs no move":     {[][2]int{big(4, 0), {100, 0}}, nil},
		"few small ones":         {small[1:], nil},
		"many small ones":        {small, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
	} {
		var packs []manifest.Pack
		var live []int
		for _, p := range c.packs {
			packs, live = append(packs, manifest.Pack{Size: p[0]}), append(live, p[1])
		}
		if got := victims(packs, live); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestListAndUsage(t *testing.T) {
	dir := t.TempDir()
	names := []string{"a/b", "a/b.c/d", "a/c", "a-b", "b/x", "b/y/z", "c"}
	for _, n := range names {
		put(t, filepath.Join(dir, n), n)
	}
	must(t, os.Symlink("/etc", filepath.Join(dir, "etc")))
	must(t, os.Symlink("c", filepath.Join(dir, "link")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o666))
	put(t, filepath.Join(dir, "b", temporaryPrefix+"0123456789abcdef"), "half")
	d := open(t, dir)
	for _, desc := range []bool{false, true} {
		want := slices.Clone(names)
		slices.SortFunc(want, manifest.Compare)
		if desc {
			slices.Reverse(want)
		}
		for limit := 1; limit <= len(names)+1; limit++ {
			var got []string
			q := environment.ListQuery{Desc: desc, Limit: limit}
			for {
				page, err := d.List(t.Context(), q)
				must(t, err)
				for _, f := range page.Files {
					got = append(got, strings.TrimPrefix(f.Path, "/workspace/"))
					if f.Size != int64(len(got[len(got)-1])) {
						t.Fatalf("%+v", f)
					}
				}
				if !page.More {
					break
				}
				q.After = page.Files[len(page.Files)-1].Path
			}
			if !slices.Equal(got, want) {
				t.Fatalf("pages of %d, desc %v: %v, want %v", limit, desc, got, want)
			}
		}
	}
	for dir, n := range map[string]int{"/workspace": 7, "/workspace/a": 3, "a/b.c": 1, "b/": 2, ".": 7} {
		page, err := d.List(t.Context(), environment.ListQuery{Dir: dir, Limit: 100})
		if err != nil || len(page.Files) != n {
			t.Errorf("%s: %+v, %v", dir, page, err)
		}
	}
	// A page may go on behind a file that has gone, or one that was never there.
	must(t, os.Remove(filepath.Join(dir, "a/c")))
	page, err := d.List(t.Context(), environment.ListQuery{After: "a/c", Limit: 1})
	if err != nil || page.Files[0].Path != "/workspace/a-b" {
		t.Errorf("%+v, %v", page, err)
	}
	for dir, kind := range map[string]stead.Kind{"nope": stead.KindNotFound, "c": stead.KindNotFound, "fifo": stead.KindNotFound, "etc": stead.KindInvalid, "/etc": stead.KindInvalid, "..": stead.KindInvalid} {
		_, err := d.List(t.Context(), environment.ListQuery{Dir: dir, Limit: 1})
		if stead.KindOf(err) != kind {
			t.Errorf("%s: %v, want %s", dir, err, kind)
		}
	}
	_, err = d.List(t.Context(), environment.ListQuery{})
	fails(t, stead.KindInvalid, err)

	before, err := d.DiskUsage()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "new"), make([]byte, 1<<20), 0o644))
	must(t, os.Link(filepath.Join(dir, "new"), filepath.Join(dir, "twin")))
	must(t, os.Truncate(filepath.Join(dir, "c"), 1<<40))
	after, err := d.DiskUsage()
	must(t, err)
	if grown := after - before; grown < 1<<20 || grown > 1<<20+64<<10 {
		t.Errorf("1 MB with two names and a sparse TB grew the usage by %d bytes", grown)
	}
}

// Restoring asks for the room of what is not there yet, before it writes any of it.
func TestRestoreAsksForRoom(t *testing.T) {
	from, blobs := t.TempDir(), newBlobs(t)
	put(t, filepath.Join(from, "a"), strings.Repeat("a", 1000))
	put(t, filepath.Join(from, "b"), strings.Repeat("b", 500))
	digest := checkpoint(t, open(t, from), blobs, "")
	to := filepath.Join(t.TempDir(), "to")
	var asked [][2]int64 // bytes and files
	refuse := stead.Errorf(stead.KindUnavailable, "no room")
	err := Restore(t.Context(), to, blobs, digest, WithRoom(func(bytes, files int64) error { asked = append(asked, [2]int64{bytes, files}); return refuse }))
	fails(t, stead.KindUnavailable, err)
	if names, err := os.ReadDir(to); err != nil || len(names) > 0 {
		t.Errorf("without room it wrote %v, %v", names, err)
	}
	take := WithRoom(func(bytes, files int64) error { asked = append(asked, [2]int64{bytes, files}); return nil })
	must(t, Restore(t.Context(), to, blobs, digest, take))
	must(t, os.Remove(filepath.Join(to, "b")))
	must(t, Restore(t.Context(), to, blobs, digest, take))
	must(t, Restore(t.Context(), to, blobs, digest, take))
	if want := [][2]int64{{1500, 2}, {1500, 2}, {500, 1}, {0, 0}}; !slices.Equal(asked, want) {
		t.Errorf("it asked for %d bytes and files, want %d", asked, want)
	}
}

// closer closes the directory when something of it has been stored: a box that dies while it is saved.
type closer struct {
	*sessionBlobs
	dir *Dir
}

func (c closer) Put(ctx context.Context, data []byte) (string, error) {
	digest, err := c.sessionBlobs.Put(ctx, data)
	_ = c.dir.Close()
	return digest, err
}

// A directory that is closed between its listing and the look at what is in it is not an empty one, however deep.
func TestAScanOfADirectoryThatIsClosed(t *testing.T) {
	closing := func(root *os.Root, seen *atomic.Int64) ([]string, error) {
		names, err := namesOf(root, seen)
		_ = root.Close()
		return names, err
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), "x")
	for how, list := range map[string]func(*scanner, *os.Root) (*listing, error){
		"flat": func(s *scanner, r *os.Root) (*listing, error) { return s.list(r, "", 1) },
		"deep": func(s *scanner, r *os.Root) (*listing, error) { return s.deep(r, "", 1) },
	} {
		root, err := os.OpenRoot(dir)
		must(t, err)
		if l, err := list(&scanner{ctx: t.Context(), now: time.Now(), names: closing}, root); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %+v, %v", how, l, err)
		}
	}
}

// A file of an agent that is called much as one that is being written is as any other.
func TestNamesLikeThoseOfTemporaryFiles(t *testing.T) {
	dir, blobs := t.TempDir(), newBlobs(t)
	put(t, filepath.Join(dir, temporaryPrefix+"report.csv"), "x")
	d := open(t, dir)
	if c, err := d.Checkpoint(t.Context(), blobs, ""); err != nil || c.Files != 1 {
		t.Errorf("a checkpoint of %+v, %v", c, err)
	}
	page, err := d.List(t.Context(), environment.ListQuery{Dir: "/workspace", Limit: 10})
	if err != nil || len(page.Files) != 1 {
		t.Errorf("listed: %+v, %v", page, err)
	}
	err = d.WriteFile(t.Context(), "/workspace/"+temporaryPrefix+"0123456789abcdef", []byte("x"), false)
	if stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a name of the server's own: %v", err)
	}
}

// A checkpoint is whole, or there is none: files that can't be read any more are not files that are gone.
func TestCheckpointOfADirectoryThatIsClosed(t *testing.T) {
	for name, sub := range map[string]string{"flat": "", "deep": "a/b/c"} {
		dir := t.TempDir()
		must(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
		for i := range 200 {
			data := make([]byte, 100_000)
			data[0], data[1] = byte(i), byte(i>>8) // each is its own
			put(t, filepath.Join(dir, sub, fmt.Sprint("file", i)), string(data))
		}
		d := open(t, dir)
		c, err := d.Checkpoint(t.Context(), closer{newBlobs(t), d}, "")
		if stead.KindOf(err) != stead.KindUnavailable {
			t.Errorf("%s: a checkpoint of %d files of 200, %v", name, c.Files, err)
		}
	}
}
