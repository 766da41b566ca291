package environmenttest

import (
	"context"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// fingerprint prints everything about a workspace that a checkpoint keeps: names, kinds, whether files
// are programs, contents and where links lead.
const fingerprint = `find . -path ./.cache -prune -o -type d -print -o -type l -printf '%p -> %l\n' -o -type f -perm -100 -printf '%p is a program\n' | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum`

// oddNames makes a directory, a file and a link whose names are Latin-1 and not UTF-8, as old archives have
// them.
const oddNames = `d=$(printf 'caf\351') && mkdir -p "$d/below" && echo odd > "$d/below/file$d" && ln -s "$d/below/file$d" "${d}link"`

func testCheckpoint(t *testing.T, r *rig) {
	r.run(t, "a workspace that is restored is the same", func(t *testing.T) {
		b := r.open(t)
		b.write(t, "from/host", "host")
		b.sh(t, `mkdir -p a/b empty && head -c 300000 /dev/urandom > a/random && echo '#!/bin/sh' > a/program && chmod +x a/program && ln -s a/random link && ln -s /etc/passwd out && ln -s nowhere dangling && : > nothing && echo ü > 'strange
name'`)
		b.sh(t, oddNames)
		want := b.sh(t, fingerprint)
		blobs := newMemory()
		first := b.checkpoint(t, blobs, "")
		if first.Files < 5 || first.Bytes < 300000 {
			t.Errorf("%+v", first)
		}
		b.close(t)
		again := r.restored(t, blobs, first.Digest)
		if got := again.sh(t, fingerprint); got != want {
			t.Errorf("restored:\n%s\nit was:\n%s", got, want)
		}
		again.sh(t, "echo more >> a/random && rm -r from && a/program")
		again.sh(t, `for f in caf*/below/file*; do echo more >> "$f"; done`) // they belong to whom they belonged
		second := again.checkpoint(t, blobs, first.Digest)
		again.close(t)
		if got := r.restored(t, blobs, second.Digest).sh(t, `cat caf*/below/file* caf*link`); got != "odd\nmore\nodd\nmore\n" {
			t.Errorf("restored twice: %q", got)
		}
	})
	r.run(t, "what did not change is not stored again", func(t *testing.T) {
		b := r.open(t)
		b.sh(t, `head -c 3000000 /dev/urandom > big`)
		blobs := newMemory()
		first := b.checkpoint(t, blobs, "")
		second := b.checkpoint(t, blobs, first.Digest)
		if second.Digest != first.Digest || second.Stored != 0 {
			t.Errorf("unchanged: %+v after %+v", second, first)
		}
		b.sh(t, `echo small > small`)
		if third := b.checkpoint(t, blobs, second.Digest); third.Digest == first.Digest || third.Stored > 1<<20 || third.Files != first.Files+1 {
			t.Errorf("one small file more: %+v after %+v", third, second)
		}
	})
	r.run(t, "what is no file, directory or link is left out", func(t *testing.T) {
		b := r.open(t)
		b.sh(t, `mkfifo fifo && echo kept > kept`)
		blobs := newMemory()
		again := r.restored(t, blobs, b.checkpoint(t, blobs, "").Digest)
		if out := again.sh(t, "cat kept; test -e fifo && echo there || echo gone"); out != "kept\ngone\n" {
			t.Errorf("%q", out)
		}
	})
	r.run(t, "commands may run meanwhile", func(t *testing.T) {
		b := r.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			_, _ = b.tryContext(ctx, environment.Command{Args: []string{"sh", "-c", `while :; do mkdir -p d/e; echo x > d/e/f; mv d/e/f d/g; echo y >> log; rm -rf d; done`}})
		})
		r.until(t, "the command writes", func() bool { return size(b, "log") > 0 })
		blobs, digest := newMemory(), ""
		for range 20 {
			digest = b.checkpoint(t, blobs, digest).Digest
		}
		cancel()
		group.Wait()
		r.restored(t, blobs, digest).sh(t, "test -s log")
	})
}

func (b *box) checkpoint(t *testing.T, blobs environment.Blobs, previous string) environment.Checkpoint {
	t.Helper()
	c, err := b.Checkpoint(t.Context(), blobs, previous)
	if err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	return c
}

// restored opens an environment over a checkpoint.
func (r *rig) restored(t *testing.T, blobs environment.Blobs, digest string) *box {
	t.Helper()
	s := r.spec(t)
	if err := workspace.Restore(t.Context(), s.Workspace, blobs, digest); err != nil {
		t.Fatalf("restore: %v", err)
	}
	return r.openSpec(t, s)
}

// memory is a Blobs in memory.
type memory struct {
	mu   sync.Mutex
	data map[string][]byte // digest → bytes
}

func newMemory() *memory { return &memory{data: map[string][]byte{}} }

func (m *memory) Put(_ context.Context, data []byte) (string, error) {
	digest := blob.Digest(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data[digest] = append([]byte(nil), data...)
	return digest, nil
}

func (m *memory) Get(_ context.Context, digest string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.data[digest]
	if !ok {
		return nil, stead.NotFound("blob", digest)
	}
	return data, nil
}
