package workspace

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

const much = environment.MaxFileBytes

func TestPaths(t *testing.T) {
	for p, want := range map[string]string{
		"a": "a", "a/b": "a/b", "./a": "a", "a//b/": "a/b", ".": ".", "": ".", "/workspace": ".", "/workspace/": ".",
		"/workspace/a": "a", "//workspace//a/./b": "a/b", "..a/b..": "..a/b..", "a\\b": "a\\b", "ü \xff": "ü \xff",
		"/workspace/" + strings.Repeat("a/", 500) + "b": strings.Repeat("a/", 500) + "b",
	} {
		if got, err := clean(p); err != nil || got != want {
			t.Errorf("%q = %q, %v; want %q", p, got, err, want)
		}
	}
	for _, p := range []string{
		"..", "../a", "a/../../b", "a/..", "/workspace/..", "/workspace/../etc/passwd", "/", "/etc/passwd", "/workspaces/a",
		"/workspace2", "/work", "a\x00b", "\x00", strings.Repeat("a", 256), strings.Repeat("a/", 600), "/workspace/" + strings.Repeat("a/", 507),
	} {
		_, err := clean(p)
		if stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%q: %v, want it refused", p, err)
			continue
		}
		if err.(*stead.Error).Param != "path" || strings.ContainsRune(err.Error(), 0) {
			t.Errorf("%q: %#v", p, err)
		}
	}
	for _, p := range []string{"", ".", "/workspace", "a/"} {
		if _, err := cleanFile(p); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%q is taken for a file's path: %v", p, err)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	put(t, outside, "secret")
	put(t, filepath.Join(dir, "a", "f"), "0123456789")
	put(t, filepath.Join(dir, "empty"), "")
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o666))
	for name, target := range map[string]string{
		"in": "a/f", "in-abs": "/workspace/a/f", "a/up": "../a/f", "dir-in": "a", "chain": "in-abs",
		"out": outside, "out-dir": filepath.Dir(outside), "up": "../outside", "a/up-out": "../../outside", "dev": "/dev/zero", "proc": "/proc/self/ro" + "ot/etc/passwd",
		"loop": "loop", "ping": "pong", "pong": "ping", "dangling": "nowhere", "self": ".", "root": "/workspace", "fifo-link": "fifo",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	if os.Geteuid() == 0 {
		must(t, syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, 1<<8|3))
	}
	d := open(t, dir)
	for _, p := range []string{"a/f", "/workspace/a/f", "in", "in-abs", "a/up", "dir-in/f", "chain"} {
		if data, err := d.ReadFile(t.Context(), p, 10); err != nil || string(data) != "0123456789" {
			t.Errorf("%s = %q, %v", p, data, err)
		}
	}
	if data, err := d.ReadFile(t.Context(), "empty", 0); err != nil || len(data) != 0 {
		t.Errorf("%q, %v", data, err)
	}
	_, err := d.ReadFile(t.Context(), "a/f", 9)
	fails(t, stead.KindTooLarge, err)
	for p, kind := range map[string]stead.Kind{
		"none": stead.KindNotFound, "a/f/g": stead.KindNotFound, "none/f": stead.KindNotFound, "dangling": stead.KindNotFound,
		"a": stead.KindInvalid, "fifo": stead.KindInvalid, "fifo-link": stead.KindInvalid, "fifo/x": stead.KindNotFound, "self": stead.KindInvalid, "root": stead.KindInvalid,
		"out": stead.KindInvalid, "out-dir/outside": stead.KindInvalid, "up": stead.KindInvalid, "a/up-out": stead.KindInvalid,
		"dev": stead.KindInvalid, "proc": stead.KindInvalid, "loop": stead.KindInvalid, "ping": stead.KindInvalid, "ping/x": stead.KindInvalid,
	} {
		if data, err := d.ReadFile(t.Context(), p, much); stead.KindOf(err) != kind {
			t.Errorf("%s = %.20q, %v, want %s", p, data, err, kind)
		}
	}
	if os.Geteuid() == 0 {
		_, err := d.ReadFile(t.Context(), "null", much)
		fails(t, stead.KindInvalid, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.ReadFile(ctx, "a/f", much)
	fails(t, stead.KindUnavailable, err)
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	outside := t.TempDir()
	put(t, filepath.Join(outside, "f"), "untouched")
	put(t, filepath.Join(dir, "a", "f"), "old")
	must(t, os.Link(filepath.Join(dir, "a", "f"), filepath.Join(dir, "twin")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o666))
	for name, target := range map[string]string{
		"in": "a/f", "dir-in": "a", "out": filepath.Join(outside, "f"), "out-new": filepath.Join(outside, "new"), "out-dir": outside, "dangling": "made/by/link", "loop": "loop",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	d := open(t, dir)
	for p, at := range map[string]string{
		"a/f": "a/f", "/workspace/new": "new", "x/y/z": "x/y/z", "in": "a/f", "dir-in/g": "a/g", "dangling": "made/by/link", "fifo": "fifo",
	} {
		must(t, d.WriteFile(t.Context(), p, []byte("new "+p), false))
		if data, err := os.ReadFile(filepath.Join(dir, at)); err != nil || string(data) != "new "+p {
			t.Errorf("%s: %q, %v", p, data, err)
		}
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "twin")); string(data) != "old" {
		t.Errorf("a write went through a hard link: %q", data)
	}
	old := syscall.Umask(0o077)
	must(t, d.WriteFile(t.Context(), "program", nil, true))
	must(t, d.WriteFile(t.Context(), "plain", nil, false))
	syscall.Umask(old)
	for name, mode := range map[string]os.FileMode{"program": 0o755, "plain": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
		if executable, err := d.Executable(t.Context(), name); err != nil || executable != (mode == 0o755) {
			t.Errorf("%s is executable: %v, %v", name, executable, err)
		}
	}
	for p, kind := range map[string]stead.Kind{
		"a": stead.KindInvalid, "dir-in": stead.KindInvalid, "out": stead.KindInvalid, "out-new": stead.KindInvalid, "out-dir/f": stead.KindInvalid, "out-dir/new": stead.KindInvalid,
		"out-dir/d/new": stead.KindInvalid, "loop": stead.KindInvalid, "plain/x": stead.KindInvalid, "../f": stead.KindInvalid, "": stead.KindInvalid,
	} {
		if err := d.WriteFile(t.Context(), p, []byte("bad"), false); stead.KindOf(err) != kind {
			t.Errorf("%s: %v, want %s", p, err, kind)
		}
	}
	sameTree(t, map[string]string{"f": capture(t, outside)["f"]}, capture(t, outside))
	if data, _ := os.ReadFile(filepath.Join(outside, "f")); string(data) != "untouched" {
		t.Errorf("outside: %q", data)
	}
	fails(t, stead.KindTooLarge, d.WriteFile(t.Context(), "f", make([]byte, environment.MaxFileBytes+1), false))
	for rel := range capture(t, dir) {
		if strings.Contains(rel, temporaryPrefix) {
			t.Errorf("%s is left", rel)
		}
	}

	// Remove takes names of files and links, not what links lead to.
	for p, kind := range map[string]stead.Kind{
		"a/f": "", "out": "", "none": stead.KindNotFound, "a": stead.KindInvalid, "out-dir/f": stead.KindInvalid, "out-dir": "", ".": stead.KindInvalid,
	} {
		if p == "out-dir" {
			continue // after out-dir/f
		}
		if err := d.Remove(t.Context(), p); stead.KindOf(err) != kind {
			t.Errorf("remove %s: %v, want %q", p, err, kind)
		}
	}
	must(t, d.Remove(t.Context(), "out-dir"))
	if _, err := os.Stat(filepath.Join(outside, "f")); err != nil {
		t.Error(err)
	}
}

// TestFullDisk: a workspace with a quota says so, and nothing half-written is left.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a tmpfs is not allowed here: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	d := open(t, dir)
	must(t, d.WriteFile(t.Context(), "f", []byte("old"), false))
	err := d.WriteFile(t.Context(), "f", make([]byte, 1<<20), false)
	fails(t, stead.KindUnavailable, err)
	if !strings.Contains(err.Error(), "disk is full") {
		t.Error(err)
	}
	if all := capture(t, dir); len(all) != 1 {
		t.Errorf("%v", all)
	}
	blobs, big := newBlobs(t), t.TempDir()
	put(t, filepath.Join(big, "big"), strings.Repeat("big", 1<<18))
	fails(t, stead.KindUnavailable, Restore(t.Context(), dir, blobs, checkpoint(t, open(t, big), blobs, "")))
	restore(t, dir, blobs, checkpoint(t, open(t, t.TempDir()), blobs, "")) // and makes room again
	must(t, d.WriteFile(t.Context(), "f", []byte("fits"), false))
}

// TestForeignOwner: root serves a workspace of another user. What it makes is that user's; what that
// user made, with whatever mode, it can read, replace and remove.
func TestForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI runs this test as root")
		}
		t.Skip("only root can give files away")
	}
	const uid = 12345
	dir, blobs := t.TempDir(), newBlobs(t)
	put(t, filepath.Join(dir, "theirs"), "theirs")
	must(t, os.Chmod(filepath.Join(dir, "theirs"), 0))
	must(t, os.Lchown(filepath.Join(dir, "theirs"), uid, uid))
	must(t, os.Chown(dir, uid, uid))
	d := open(t, dir)
	if data, err := d.ReadFile(t.Context(), "theirs", much); err != nil || string(data) != "theirs" {
		t.Fatalf("%q, %v", data, err)
	}
	must(t, d.WriteFile(t.Context(), "theirs", []byte("replaced"), false))
	must(t, d.WriteFile(t.Context(), "new/dir/f", []byte("new"), true))
	must(t, os.Symlink("new", filepath.Join(dir, "link")))
	digest := checkpoint(t, d, blobs, "")
	owned := func(dir string, uid int) {
		t.Helper()
		for rel := range capture(t, dir) {
			info, err := os.Lstat(filepath.Join(dir, rel))
			must(t, err)
			if s, _ := statOf(info); rel != "link" && (s.uid != uid || s.gid != uid) {
				t.Errorf("%s belongs to %d:%d, want %d", rel, s.uid, s.gid, uid)
			}
		}
	}
	owned(dir, uid)
	theirs, other := t.TempDir(), t.TempDir()
	must(t, os.Chown(theirs, uid, uid))
	restore(t, theirs, blobs, digest)
	owned(theirs, uid)
	must(t, Restore(t.Context(), other, blobs, digest, WithOwner(777, 777)))
	owned(other, 777)
	must(t, Restore(t.Context(), other, blobs, digest, WithOwner(778, 778))) // over what another had
	owned(other, 778)
	sameTree(t, capture(t, dir), capture(t, other))
}

// asUser is set where the test binary runs again as somebody who has no power.
const asUser = "STEAD_TEST_AS_USER"

// TestUnprivileged runs as an ordinary user, who owns a workspace in which modes are in the way.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() == 0 && os.Getenv(asUser) == "" {
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o777))
		must(t, os.Chmod(filepath.Dir(dir), 0o755))
		binary := filepath.Join(dir, "test")
		data, err := os.ReadFile("/proc/self/exe")
		must(t, err)
		must(t, os.WriteFile(binary, data, 0o755))
		c := exec.Command(binary, "-test.run=^TestUnprivileged$", "-test.v")
		c.Env = append(os.Environ(), asUser+"=1", "TMPDIR="+dir)
		c.Dir = dir
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
		out, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestUnprivileged") {
			t.Fatalf("as an ordinary user: %v\n%s", err, out)
		}
		return
	}
	dir, blobs := t.TempDir(), newBlobs(t)
	put(t, filepath.Join(dir, "shut/in/f"), "in")
	put(t, filepath.Join(dir, "shut/g"), "g")
	put(t, filepath.Join(dir, "file"), "file")
	put(t, filepath.Join(dir, "blind/f"), "blind")
	want := capture(t, dir)
	want["shut/in"], want["shut"], want["blind"] = "directory ----------", "directory ----------", "directory --wx------"
	want["file"] = strings.Replace(want["file"], "-rw-r--r--", "----------", 1)
	shut := func(dir string) {
		t.Helper()
		for rel, mode := range map[string]os.FileMode{"file": 0, "shut/in": 0, "blind": 0o300} {
			must(t, os.Chmod(filepath.Join(dir, rel), mode))
		}
		must(t, os.Chmod(filepath.Join(dir, "shut"), 0))
		must(t, os.Chmod(dir, 0))
	}
	shut(dir)
	t.Cleanup(func() { removeForTest(t, dir) })
	d := open(t, dir)
	digest := checkpoint(t, d, blobs, "")
	for name, mode := range map[string]os.FileMode{"shut": 0, "file": 0, "blind": 0o300} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v after a checkpoint, %v", name, info.Mode(), err)
		}
	}
	for p, want := range map[string]string{"file": "file", "shut/in/f": "in", "shut/g": "g", "blind/f": "blind"} {
		if data, err := d.ReadFile(t.Context(), p, much); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", p, data, err)
		}
	}
	page, err := d.List(t.Context(), environment.ListQuery{Limit: 10})
	if err != nil || len(page.Files) != 4 {
		t.Errorf("%+v, %v", page, err)
	}
	if page, err = d.List(t.Context(), environment.ListQuery{Dir: "shut/in", Limit: 10}); err != nil || len(page.Files) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
	if _, err := d.DiskUsage(); err != nil {
		t.Error(err)
	}
	to := t.TempDir()
	t.Cleanup(func() { removeForTest(t, to) })
	for range 2 { // the second time over what is there, shut
		restore(t, to, blobs, digest)
		if again := checkpoint(t, open(t, to), blobs, digest); again != digest {
			t.Fatal("what was restored has another digest")
		}
	}
	must(t, d.WriteFile(t.Context(), "shut/in/f", []byte("new"), false))
	must(t, d.WriteFile(t.Context(), "shut/in/more/f", []byte("more"), false))
	if data, err := d.ReadFile(t.Context(), "shut/in/f", much); err != nil || string(data) != "new" {
		t.Errorf("%q, %v", data, err)
	}
	must(t, d.Remove(t.Context(), "shut/g"))
	empty := checkpoint(t, open(t, t.TempDir()), blobs, "")
	restore(t, to, blobs, empty)
	if entries, err := os.ReadDir(to); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v is left", entries, err)
	}
	must(t, os.Chmod(dir, 0)) // and what is below is as shut as it was
	must(t, Remove(dir))
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("%v: the workspace is still there", err)
	}
}

func removeForTest(t *testing.T, dir string) {
	t.Helper()
	must(t, Remove(dir))
}
