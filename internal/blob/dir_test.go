package blob

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
)

func openDir(t *testing.T, root string) *Dir {
	t.Helper()
	d, err := OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func key(n int) stead.SessionKey {
	return stead.SessionKey{Project: "p", Session: stead.SessionID(fmt.Sprintf("sess_%032x", n))}
}

func put(t *testing.T, d *Dir, k stead.SessionKey, data string) string {
	t.Helper()
	digest, err := d.Put(t.Context(), k, []byte(data))
	if err != nil || digest != Digest([]byte(data)) {
		t.Fatalf("Put = %s, %v", digest, err)
	}
	return digest
}

func fails(t *testing.T, kind stead.Kind, err error) {
	t.Helper()
	if stead.KindOf(err) != kind {
		t.Fatalf("error %v (kind %q), want kind %q", err, stead.KindOf(err), kind)
	}
}

// files lists all files below a directory.
func files(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	if err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			out = append(out, p)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDirRoundTrip(t *testing.T) {
	root := filepath.Join(t.TempDir(), "made", "here")
	d := openDir(t, root)
	for _, data := range []string{"", "x", strings.Repeat("large ", 1<<18)} {
		digest := put(t, d, key(1), data)
		put(t, d, key(1), data) // again is harmless
		got, err := d.Get(t.Context(), key(1), digest)
		if err != nil || string(got) != data {
			t.Fatalf("Get = %d bytes, %v; want %d", len(got), err, len(data))
		}
		if _, err := os.Stat(filepath.Join(root, "p", string(key(1).Session), digest[:2], digest)); err != nil {
			t.Fatal(err)
		}
	}
	if got := files(t, root); len(got) != 3 {
		t.Fatalf("files %v, want three", got)
	}
	again := openDir(t, root)
	if got, err := again.Get(t.Context(), key(1), Digest([]byte("x"))); err != nil || string(got) != "x" {
		t.Fatalf("Get after opening again = %q, %v", got, err)
	}
}

func TestDirNotFound(t *testing.T) {
	d := openDir(t, t.TempDir())
	digest := put(t, d, key(1), "x")
	for _, k := range []stead.SessionKey{key(2), {Project: "q", Session: key(1).Session}} {
		_, err := d.Get(t.Context(), k, digest)
		fails(t, stead.KindNotFound, err)
	}
	_, err := d.Get(t.Context(), key(1), Digest([]byte("y")))
	fails(t, stead.KindNotFound, err)
}

// TestDirReadsInPieces: what is opened is what is got, also when it is swept meanwhile; damage shows at the
// end.
func TestDirReadsInPieces(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	text := strings.Repeat("large ", 1<<18)
	digest := put(t, d, key(1), text)
	r, err := d.Open(t.Context(), key(1), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := d.DeleteAll(t.Context(), key(1)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != text {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	_, err = d.Open(t.Context(), key(1), digest)
	fails(t, stead.KindNotFound, err)
	_, err = d.Open(t.Context(), key(1), "../../x")
	fails(t, stead.KindInvalid, err)
	digest = put(t, d, key(1), "good")
	if err := os.WriteFile(files(t, root)[0], []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad, err := d.Open(t.Context(), key(1), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	_, err = io.ReadAll(bad)
	fails(t, stead.KindInternal, err)
}

func TestDirFindsDamage(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	digest := put(t, d, key(1), "good")
	name := files(t, root)[0]
	if err := os.WriteFile(name, []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := d.Get(t.Context(), key(1), digest)
	fails(t, stead.KindInternal, err)
	if err := os.WriteFile(name, []byte("tor"), 0o600); err != nil { // a torn file is written anew
		t.Fatal(err)
	}
	put(t, d, key(1), "good")
	if got, err := d.Get(t.Context(), key(1), digest); err != nil || string(got) != "good" {
		t.Fatalf("Get = %q, %v", got, err)
	}
}

func TestDirDeleteAll(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	for i := range 20 {
		put(t, d, key(1), fmt.Sprint(i))
	}
	kept := put(t, d, key(2), "kept")
	for range 2 { // the second time there is nothing: no error
		if err := d.DeleteAll(t.Context(), key(1)); err != nil {
			t.Fatal(err)
		}
	}
	if got := files(t, root); len(got) != 1 || filepath.Base(got[0]) != kept {
		t.Fatalf("files %v, want only the other session's", got)
	}
	put(t, d, key(1), "new")
}

func TestDirHostileIDs(t *testing.T) {
	parent := t.TempDir()
	root := filepath.Join(parent, "root")
	d := openDir(t, root)
	secret := filepath.Join(parent, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	hostile := []string{"", ".", "..", "../..", "a/b", "/etc", `a\b`, "a\x00b", ".hidden", "a b", "ü", "a\n", strings.Repeat("a", 300)}
	for _, id := range hostile {
		for _, k := range []stead.SessionKey{
			{Project: stead.ProjectID(id), Session: "s"}, {Project: "p", Session: stead.SessionID(id)},
		} {
			_, err := d.Put(t.Context(), k, []byte("x"))
			fails(t, stead.KindInvalid, err)
			_, err = d.Get(t.Context(), k, Digest(nil))
			fails(t, stead.KindInvalid, err)
			fails(t, stead.KindInvalid, d.DeleteAll(t.Context(), k))
		}
	}
	for _, digest := range []string{"", "..", "../../../secret", strings.Repeat("A", 64), strings.Repeat("/", 64), Digest(nil)[:63]} {
		_, err := d.Get(t.Context(), key(1), digest)
		fails(t, stead.KindInvalid, err)
	}
	if got := files(t, parent); len(got) != 1 || got[0] != secret {
		t.Fatalf("files %v, want only the secret", got)
	}
}

// TestDirLinksDoNotLeadOut plants links where a session's directories would be.
func TestDirLinksDoNotLeadOut(t *testing.T) {
	parent := t.TempDir()
	root, outside := filepath.Join(parent, "root"), filepath.Join(parent, "outside")
	d := openDir(t, root)
	for _, dir := range []string{outside, filepath.Join(root, "p")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(root, "p", string(key(1).Session))); err != nil {
		t.Fatal(err)
	}
	_, err := d.Put(t.Context(), key(1), []byte("x"))
	fails(t, stead.KindUnavailable, err)
	bystander := filepath.Join(outside, "bystander")
	if err := os.WriteFile(bystander, []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteAll(t.Context(), key(1)); err != nil { // the link goes, not what it leads to
		t.Fatal(err)
	}
	if got := files(t, outside); len(got) != 1 || got[0] != bystander {
		t.Fatalf("files outside: %v", got)
	}
	put(t, d, key(1), "x")
}

func TestDirConcurrent(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			data := []byte(fmt.Sprint("blob ", i%4))
			digest, err := d.Put(context.Background(), key(1), data)
			if err != nil {
				t.Errorf("Put: %v", err)
				return
			}
			if got, err := d.Get(context.Background(), key(1), digest); err != nil || !bytes.Equal(got, data) {
				t.Errorf("Get = %q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if got := files(t, root); len(got) != 4 {
		t.Fatalf("files %v, want four", got)
	}
}

func TestDirEndedContext(t *testing.T) {
	d := openDir(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Put(ctx, key(1), []byte("x"))
	fails(t, stead.KindUnavailable, err)
}

// TestDirFullDisk fills a small file system of its own, where the system lets the test mount one.
func TestDirFullDisk(t *testing.T) {
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a tmpfs is not allowed here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	d := openDir(t, root)
	small := put(t, d, key(1), "small")
	large := strings.Repeat("y", 1<<20)
	_, err := d.Put(t.Context(), key(2), []byte(large))
	fails(t, stead.KindUnavailable, err)
	if got := files(t, root); len(got) != 1 {
		t.Fatalf("the failed Put left %v", got)
	}
	if got, err := d.Get(t.Context(), key(1), small); err != nil || string(got) != "small" {
		t.Fatalf("Get = %q, %v", got, err)
	}
	put(t, d, key(2), "fits") // there is room for less
	_, err = d.Get(t.Context(), key(2), Digest([]byte(large)))
	fails(t, stead.KindNotFound, err)
}

// Who keeps room for something else is asked before a blob is written, and only if it is: what is there is
// named by events that may come.
func TestPutAsksForRoom(t *testing.T) {
	room := int64(10)
	d, err := OpenDirWithin(t.TempDir(), func(bytes, files int64) error {
		if room -= bytes; room < 0 || files < 1 {
			return stead.Errorf(stead.KindUnavailable, "no room")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	put(t, d, key(1), "0123456789")
	put(t, d, key(1), "0123456789")
	_, err = d.Put(t.Context(), key(1), []byte("x"))
	fails(t, stead.KindUnavailable, err)
	_, err = d.Get(t.Context(), key(1), Digest([]byte("x")))
	fails(t, stead.KindNotFound, err)
}
