package blob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

// aged makes everything below a directory look as if it had been there for a day.
func aged(t *testing.T, root string) {
	t.Helper()
	then := time.Now().Add(-24 * time.Hour)
	if err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(p, then, then))
	}); err != nil {
		t.Fatal(err)
	}
}

func TestSessionsListsWhoHasBlobs(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	put(t, d, key(1), "one")
	put(t, d, key(2), "two")
	other := stead.SessionKey{Project: "q", Session: "file_1"}
	put(t, d, other, "three")
	for _, name := range []string{"stray-file", ".hidden/s", "p/.hidden"} { // nobody's
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []stead.SessionKey
	if err := d.Sessions(t.Context(), func(k stead.SessionKey) error { got = append(got, k); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []stead.SessionKey{key(1), key(2), other}; !slices.Equal(got, want) {
		t.Errorf("sessions %v", got)
	}
	stop := errors.New("stop")
	if err := d.Sessions(t.Context(), func(stead.SessionKey) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("it went on: %v", err)
	}
}

// TestPruneLeavesNothing: neither blobs, nor what a kill left of one, nor directories.
func TestPruneLeavesNothing(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	for _, data := range []string{"one", "two", "three"} {
		put(t, d, key(1), data)
	}
	torn := filepath.Join(filepath.Dir(files(t, root)[0]), "tmp-0011223344556677")
	if err := os.WriteFile(torn, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	aged(t, root)
	kept := put(t, d, key(2), "one")
	s, err := d.Prune(t.Context(), key(1), time.Now().Add(-time.Hour))
	if err != nil || s.Removed != 3 || s.RemovedBytes != 11 || s.Kept != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "p", string(key(1).Session))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its directory is there: %v", err)
	}
	if got := files(t, root); len(got) != 1 || filepath.Base(got[0]) != kept {
		t.Errorf("left %v", got)
	}
	if s, err := d.Prune(t.Context(), key(1), time.Now()); err != nil || s != (Swept{}) {
		t.Errorf("of nothing: %+v, %v", s, err)
	}
}

// TestPruneLeavesWhatIsYoung: beside old blobs, in old directories, and directories in which the first one is
// about to be put.
func TestPruneLeavesWhatIsYoung(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	old := put(t, d, key(1), "old")
	again := put(t, d, key(1), "again")
	aged(t, root)
	put(t, d, key(1), "again") // its time is now, its directory's is not
	empty := filepath.Join(root, "p", string(key(1).Session), "zz")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := d.Prune(t.Context(), key(1), time.Now().Add(-time.Hour))
	if err != nil || s.Removed != 1 || s.Kept != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = d.Get(t.Context(), key(1), old)
	fails(t, stead.KindNotFound, err)
	if _, err := d.Get(t.Context(), key(1), again); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(empty); err != nil {
		t.Error(err)
	}
	_, err = d.Prune(t.Context(), stead.SessionKey{Project: "..", Session: "s"}, time.Now())
	fails(t, stead.KindInvalid, err)
}

// TestPruneLeavesWhatIsNoSession: a file that has the name of one, and links, whose blobs are another's.
func TestPruneLeavesWhatIsNoSession(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	kept := put(t, d, key(1), "one")
	at := func(k stead.SessionKey) string { return filepath.Join(root, string(k.Project), string(k.Session)) }
	file, link, elsewhere, away := key(2), key(3), stead.SessionKey{Project: "q", Session: key(1).Session}, key(4)
	if err := errors.Join(os.WriteFile(at(file), []byte("mine"), 0o600), os.Symlink(filepath.Base(at(key(1))), at(link)),
		os.Symlink("p", filepath.Join(root, "q")), os.Symlink(t.TempDir(), at(away))); err != nil {
		t.Fatal(err)
	}
	for _, k := range []stead.SessionKey{file, link, elsewhere, away} {
		if s, err := d.Prune(t.Context(), k, time.Now().Add(time.Hour)); err != nil || s != (Swept{}) {
			t.Errorf("of %v: %+v, %v", k, s, err)
		}
	}
	if _, err := d.Get(t.Context(), key(1), kept); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(at(file)); err != nil {
		t.Error(err)
	}
}
