package source_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/directory"
	"github.com/stead-dev/stead/internal/vectorstore"
)

func (f *tree) chmod(name string, mode os.FileMode) {
	f.Helper()
	if err := os.Chmod(filepath.Join(f.dir, name), mode); err != nil {
		f.Fatal(err)
	}
}

// reads are directory readers of a tree, whose owner is ada and whose group is of developers.
func (f *tree) reads(everyone bool) source.Reader {
	f.Helper()
	f.chmod(".", 0o755)
	return directory.New([]directory.Root{{Name: "docs", Path: f.dir, Permissions: &directory.Permissions{
		Users: map[uint32][]string{uint32(os.Getuid()): {"user:ada"}}, Groups: map[uint32][]string{uint32(os.Getgid()): {"role:developer"}}, Everyone: everyone,
	}}}, time.Now)
}

var (
	bob = stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalUser, ID: "bob", Role: "developer"}
	eve = stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalUser, ID: "eve", Role: "viewer"}
)

// TestPermissionsOfFilesFollow: who may read a file where it lies may read the document, and a change there is followed, though the file is not read again.
func TestPermissionsOfFilesFollow(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		for _, name := range []string{"all.md", "staff.md", "mine.md", "odd.md", "private/open.md", "hr/pay.md"} {
			f.write(name, "Bonus of "+name)
		}
		f.chmod("staff.md", 0o640)
		f.chmod("mine.md", 0o600)
		f.chmod("odd.md", 0o604) // the group, that may not, is no other
		f.chmod("private", 0o700)
		n := readBy(t, db, source.Directory, f.reads(true), &atomic.Int64{}).begin()
		store := n.store()
		src := n.source(store, source.Spec{Access: []source.Rule{{Paths: []string{"hr/"}, Readers: vectorstore.Readers{Principals: []string{"user:bob"}}}}})
		n.ended(src, 1)
		sees := func(when, ada, bobs, eves string) {
			t.Helper()
			n.want(when+": ada", n.finds(developer, store, "bonus"), ada)
			n.want(when+": bob", n.finds(bob, store, "bonus"), bobs)
			n.want(when+": eve", n.finds(eve, store, "bonus"), eves)
			n.want(when+": whoever has every right but theirs", n.finds(n.me, store, "bonus"), eves)
		}
		sees("at first", "all.md mine.md odd.md private/open.md staff.md", "all.md hr/pay.md staff.md", "all.md")
		f.chmod("all.md", 0o600)
		f.chmod("staff.md", 0o644)
		f.chmod("private", 0o711)
		n.want("did", n.again(src), "+0 ~3 -0 =3 !0")
		sees("changed", "all.md mine.md odd.md private/open.md staff.md", "hr/pay.md private/open.md staff.md", "private/open.md staff.md")
		n.want("did", n.again(src), "+0 ~0 -0 =6 !0")
		changed, err := n.Update(t.Context(), n.me, store, src.ID, &[]source.Rule{}, nil) // rules narrow, and open nothing
		check(t, err)
		sees("without rules", "all.md hr/pay.md mine.md odd.md private/open.md staff.md", "hr/pay.md private/open.md staff.md", "hr/pay.md private/open.md staff.md")

		n.ended(changed, changed.Run+1)

		// Another version and fewer readers at once: the version that is there until the next one is read is closed before.
		f.write("staff.md", "Bonus, and more.")
		f.chmod("staff.md", 0o600)
		asked := make(chan string, 1)
		hold := func(name string) { asked <- n.finds(eve, store, "bonus") }
		n.convert.Store(&hold)
		n.want("did", n.again(src), "+0 ~1 -0 =5 !0")
		n.want("while the next version is read, eve", <-asked, "hr/pay.md private/open.md")
		n.convert.Store(nil)
		sees("narrowed", "all.md hr/pay.md mine.md odd.md private/open.md staff.md", "hr/pay.md private/open.md", "hr/pay.md private/open.md")
	})
}

// TestPermissionsThatBegin: what was read before they were asked for is nobody's until its file has said who may read it; what those whom nobody
// knows may read is nobody's, and that is told.
func TestPermissionsThatBegin(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		f.write("a.md", "Bonus of many.")
		f.write("b.md", "Bonus of few.")
		f.chmod("b.md", 0o640)
		open := directory.New([]directory.Root{{Name: "docs", Path: f.dir}}, time.Now)
		first := readBy(t, db, source.Directory, open, &atomic.Int64{}).begin()
		store := first.store()
		src := first.source(store, source.Spec{})
		first.ended(src, 1)
		first.want("without permissions", first.finds(eve, store, "bonus"), "a.md b.md")
		first.stop()

		n := readBy(t, db, source.Directory, f.reads(true), &atomic.Int64{}).begin()
		check(t, os.Rename(f.dir, f.dir+".away"))
		asked, err := n.Sync(t.Context(), n.me, store, src.ID)
		check(t, err)
		if now := n.ended(asked, 2); now.Error == nil {
			t.Error("the source is there")
		}
		n.want("before a file was looked at", n.finds(developer, store, "bonus"), "")
		check(t, os.Rename(f.dir+".away", f.dir))
		n.want("did", n.again(src), "+0 ~2 -0 =0 !0")
		n.want("then: ada", n.finds(developer, store, "bonus"), "a.md b.md")
		n.want("then: eve", n.finds(eve, store, "bonus"), "a.md")
		n.stop()

		stranger := directory.New([]directory.Root{{Name: "docs", Path: f.dir, Permissions: &directory.Permissions{}}}, time.Now)
		last := readBy(t, db, source.Directory, stranger, &atomic.Int64{}).begin()
		last.want("did", last.again(src), "+0 ~2 -0 =0 !0")
		last.want("where nobody is known", last.finds(developer, store, "bonus"), "")
		found, err := last.Get(t.Context(), last.me, store, src.ID)
		check(t, err)
		if len(found.Failures) != 1 || found.Failures[0].Code != "access_unmapped" || found.Failures[0].Path != "a.md" {
			t.Errorf("it is not told: %+v", found.Failures)
		}
	})
}
