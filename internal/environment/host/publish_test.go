package host

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
	"github.com/stead-dev/stead/internal/template"
)

// sparseBytes is the size of an output that costs its agent no disk, and many times PartBytes.
const sparseBytes = 6 * PartBytes

// heldBytes is what handling such a file may allocate in all: less than the file by far.
const heldBytes = 2 * PartBytes

// allocated is how many bytes a function allocates, kept or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// sparse makes a large file that has no bytes in an open environment's workspace.
func (b *bench) sparse(rel string, size int64) {
	b.t.Helper()
	f, err := os.Create(filepath.Join(b.place(b.key).workspace(), rel))
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	f.Close()
}

// watched is a store that knows which buffers it was given.
type watched struct {
	blob.Store
	mu      sync.Mutex
	buffers map[*byte]bool
	longest int
	open    func() // called in each Put, if set
}

func (w *watched) Put(ctx context.Context, key stead.SessionKey, data []byte) (string, error) {
	w.mu.Lock()
	if len(data) == PartBytes { // and no part of a checkpoint
		w.buffers[&data[0]] = true
	}
	w.longest = max(w.longest, len(data))
	w.mu.Unlock()
	if w.open != nil {
		w.open()
	}
	return w.Store.Put(ctx, key, data)
}

func watch(c *Config) *watched {
	w := &watched{Store: c.Blobs, buffers: map[*byte]bool{}}
	c.Blobs = w
	return w
}

// TestALargeOutputIsNeverWholeInMemory: neither when it is published, nor when it is looked at again, nor
// when it is downloaded, from an open environment and from one that rests.
func TestALargeOutputIsNeverWholeInMemory(t *testing.T) {
	var store *watched
	b := newBench(t, func(c *Config) { store = watch(c) })
	b.prepare()
	b.open()
	b.sparse("outputs/sparse", sparseBytes)
	dir, err := openWorkspace(b.place(b.key))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	file := environment.File{Path: "/workspace/outputs/sparse", Size: sparseBytes}
	var published *environment.Published
	within := func(what string, f func()) {
		t.Helper()
		if n := allocated(f); n > heldBytes {
			t.Errorf("%s allocates %d bytes for a file of %d, and may %d", what, n, sparseBytes, heldBytes)
		}
	}
	within("publishing", func() { published, err = b.publishFile(context.Background(), b.key, dir, file, "", true) })
	if err != nil || published == nil || published.Size != sparseBytes || len(published.Parts) != sparseBytes/PartBytes || store.longest != PartBytes {
		t.Fatalf("published %+v, %v; the longest part has %d bytes", published, err, store.longest)
	}
	within("looking at it again", func() { published, err = b.publishFile(context.Background(), b.key, dir, file, published.Digest, true) })
	if err != nil || published != nil {
		t.Errorf("unchanged, it is published as %+v, %v", published, err)
	}
	read := func() {
		n := counter(0)
		if err := b.ReadFile(context.Background(), b.key, b.state, file.Path, &n); err != nil || n != sparseBytes {
			t.Errorf("%d bytes are read, %v", n, err)
		}
	}
	within("a download", read)
	b.suspend()
	within("a download of one that rests", read)
}

// counter counts what is written.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// TestPublishingIsBoundedOverAllSessions: as many buffers as the process has, whoever publishes.
func TestPublishingIsBoundedOverAllSessions(t *testing.T) {
	var store *watched
	b := newBench(t, func(c *Config) { store = watch(c) })
	b.prepare()
	b.open()
	const sessions = 3 * MaxPublishing
	for i := range sessions {
		b.sparse(fmt.Sprintf("outputs/%d", i), PartBytes)
	}
	store.open = runtime.Gosched // others may come in between
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			dir, err := openWorkspace(b.place(b.key))
			if err != nil {
				t.Error(err)
				return
			}
			defer dir.Close()
			f := environment.File{Path: fmt.Sprintf("/workspace/outputs/%d", i)}
			if p, err := b.publishFile(context.Background(), b.key, dir, f, "", true); err != nil || p.Size != PartBytes {
				t.Errorf("published %+v, %v", p, err)
			}
		})
	}
	wg.Wait()
	if len(store.buffers) > MaxPublishing {
		t.Errorf("%d sessions have %d buffers, the limit is %d", sessions, len(store.buffers), MaxPublishing)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range MaxPublishing {
		part, err := b.parts.take(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer b.parts.giveBack(part)
	}
	if _, err := b.parts.take(ended); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("whoever waits and is not wanted any more: %v", err)
	}
}

// TestALargeFileByIDIsNeverWholeInMemory: what a template names by id comes into the workspace as it is
// read.
func TestALargeFileByIDIsNeverWholeInMemory(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.File = func(context.Context, stead.ProjectID, string) (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(zeros{}, sparseBytes)), nil
		}
	})
	root := t.TempDir()
	dir, err := workspace.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	n := allocated(func() {
		err = b.fillFile(context.Background(), b.key, dir, template.File{Path: "/workspace/large", FileID: "file-1"})
	})
	info, statErr := os.Stat(filepath.Join(root, "large"))
	if err != nil || statErr != nil || info.Size() != sparseBytes || n > heldBytes {
		t.Errorf("it has %v, after %d bytes were allocated (%v, %v)", info, n, err, statErr)
	}
}

// zeros has as many as are wanted.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestANameThatIsNotUTF8IsPublishedOnce: the journal is JSON, and has to know the file again.
func TestANameThatIsNotUTF8IsPublishedOnce(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	b.sh(`printf one > "outputs/$(printf 'caf\351')"; printf two > "outputs/$(printf 'caf\350')"`)
	request := environment.SaveRequest{Publish: environment.OutputsDir, Known: map[string]string{}}
	saved, err := b.Save(context.Background(), b.key, request)
	if err != nil || len(saved.Artifacts) != 2 || saved.Artifacts[0].Path != "file:///workspace/outputs/caf%E8" || saved.Artifacts[1].Path != "file:///workspace/outputs/caf%E9" {
		t.Fatalf("published %+v, %v", saved.Artifacts, err)
	}
	for _, a := range saved.Artifacts {
		path, err := environment.FilePath("path", a.Path)
		if err != nil {
			t.Fatal(err)
		}
		b.is(path, map[string]string{"file:///workspace/outputs/caf%E8": "two", "file:///workspace/outputs/caf%E9": "one"}[a.Path])
		request.Known[a.Path] = a.Digest
	}
	request.Previous = saved.Checkpoint.Digest
	if saved, err = b.Save(context.Background(), b.key, request); err != nil || len(saved.Artifacts) != 0 {
		t.Errorf("published again: %+v, %v", saved.Artifacts, err)
	}
	b.state.Checkpoint = saved.Checkpoint.Digest
	b.suspend()
	b.is("/workspace/outputs/caf\xe9", "one")
}
