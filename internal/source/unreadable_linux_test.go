package source_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
)

// nobody reads as a user that owns nothing, as far as the file system is concerned, where the tests run as root.
type nobody struct{ source.Reader }

func (n nobody) Walk(ctx context.Context, w source.Walk) (string, error) {
	if os.Geteuid() != 0 {
		return n.Reader.Walk(ctx, w)
	}
	runtime.LockOSThread() // the user is the thread's; it ends with the goroutine
	as := func(id int) {
		if err := syscall.Setfsuid(id); err != nil {
			panic(err)
		}
	}
	const other = 65534
	as(other)
	defer as(0)
	visit := w.Visit
	w.Visit = func(d source.Document) error { // databases are the server's
		if read := d.Read; read != nil {
			d.Read = func(ctx context.Context) (source.Content, error) {
				as(other)
				defer as(0)
				return read(ctx)
			}
		}
		as(0)
		defer as(other)
		return visit(d)
	}
	return n.Reader.Walk(ctx, w)
}

// public opens the test's own directories, which are closed to others.
func (f *tree) public() {
	f.Helper()
	for dir := f.dir; dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o055 != 0o055 {
			if err := os.Chmod(dir, info.Mode().Perm()|0o055); err != nil {
				f.Fatal(err)
			}
		}
	}
}

// What the server may not read any more is not found any more, and comes back when it may.
func TestPermissionsAreFollowed(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		f.public()
		f.write("a.md", "Apples.")
		f.write("b.md", "Bananas.")
		f.write("sub/c.md", "Cherries.")
		n := newNode(t, db, f.dir, &atomic.Int64{}, policy.AllowLocal{})
		n.reader.Reader = nobody{n.reader.Reader}
		n.begin()
		store := n.store()
		src := n.source(store, source.Spec{})
		n.want("the first", did(n.ended(src, 1)), "+3 ~0 -0 =0 !0")
		chmod := func(name string, mode os.FileMode) {
			if err := os.Chmod(filepath.Join(f.dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		chmod("b.md", 0)
		n.want("a file is closed", n.again(src), "+0 ~0 -1 =2 !1")
		n.want("bananas", n.finds(n.me, store, "bananas"), "")
		now := n.ended(src, 2)
		if len(now.Failures) != 1 || now.Failures[0].Path != "b.md" || now.Failures[0].Code != "unreadable" {
			t.Errorf("failures %+v", now.Failures)
		}
		chmod("sub", 0)
		n.want("a directory is closed", n.again(src), "+0 ~0 -1 =1 !2")
		chmod("sub", 0o755)
		chmod("b.md", 0o644)
		n.want("both are open", n.again(src), "+2 ~0 -0 =1 !0")
		n.want("all", n.finds(n.me, store, "apples bananas cherries"), "a.md b.md sub/c.md")
		chmod("", 0)
		n.want("all is closed", n.again(src), "+0 ~0 -3 =0 !1")
		n.want("all", n.finds(n.me, store, "apples bananas cherries"), "")
		chmod("", 0o755)
		n.passages(db, store, 0)
	})
}
