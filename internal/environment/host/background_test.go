package host

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
)

// comes fails the test unless something comes within seconds.
func comes(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nobody told of it", what)
	}
}

// TestProcessesInTheBackgroundAreAttendedTo: what they change is told, until it is stored; a workspace
// that does not change is left alone.
func TestProcessesInTheBackgroundAreAttendedTo(t *testing.T) {
	b := newBench(t, func(c *Config) { c.BackgroundEvery = 20 * time.Millisecond })
	b.prepare()
	o := b.open()
	b.sh("echo one > f")
	if s := b.save(); len(s.Background) != 0 {
		t.Errorf("in the background run %q", s.Background)
	}
	ended := b.began(b.key, "serve")
	other := b.began(b.key, "watch")
	if s := b.save(); len(s.Background) != 2 || s.Background[0] != "serve" || s.Background[1] != "watch" {
		t.Errorf("in the background run %q", s.Background)
	}
	time.Sleep(200 * time.Millisecond) // ten looks, at a workspace that is as it was
	select {
	case <-o.Changed:
		t.Error("a workspace that nobody changed is told of")
	default:
	}
	b.sh("echo two > f")
	comes(t, o.Changed, "a change")
	b.save()
	b.sh("echo three > f")
	ended()
	comes(t, o.Changed, "the end of a process")
	other()
	if got := b.Background(b.key); len(got) != 0 {
		t.Errorf("when all have ended, %q run", got)
	}
}

// counting is a store that counts what is put into it.
type counting struct {
	blob.Store
	puts atomic.Int64
}

func (c *counting) Put(ctx context.Context, key stead.SessionKey, data []byte) (string, error) {
	c.puts.Add(1)
	return c.Store.Put(ctx, key, data)
}

// TestALookStoresNothing: blobs of a checkpoint that nobody names would be nobody's.
func TestALookStoresNothing(t *testing.T) {
	store := &counting{}
	b := newBench(t, func(c *Config) { store.Store, c.Blobs = c.Blobs, store })
	b.prepare()
	b.open()
	b.save()
	b.sh("head -c 9000000 /dev/urandom > big")
	box, err := b.box(b.key)
	if err != nil {
		t.Fatal(err)
	}
	before := store.puts.Load()
	if changed, _ := b.changed(box); !changed {
		t.Error("nine megabytes are not seen")
	}
	if after := store.puts.Load(); after != before {
		t.Errorf("looking stored %d blobs", after-before)
	}
	b.save()
	if changed, _ := b.changed(box); changed {
		t.Error("a workspace that was just stored looks changed")
	}
}
