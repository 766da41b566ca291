package trait_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/trait"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

func sh(t *testing.T, dir, script string) {
	t.Helper()
	c := exec.Command("sh", "-euc", script)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func open(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// plenty is a host with room for whatever is asked for.
func plenty(int64, int64) error { return nil }

// tree describes all that is in a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := environment.Walk(open(t, dir), func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := filepath.Join(dir, name)
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0 {
			fmt.Fprintf(&out, "%s was removed\n", name)
			return nil
		}
		fmt.Fprintf(&out, "%s %s %d:%d %d", name, info.Mode(), st.Uid, st.Gid, st.Rdev)
		if info.IsDir() || info.Mode().IsRegular() {
			value := make([]byte, 100)
			for _, key := range []string{"user.overlay.opaque", "user.note"} {
				if n, err := unix.Getxattr(at, key, value); err == nil {
					fmt.Fprintf(&out, " %s=%q", key, value[:n])
				}
			}
			if info.IsDir() {
				fmt.Fprintf(&out, " %d", info.ModTime().UnixNano())
			} else {
				fmt.Fprintf(&out, " x%d", st.Nlink)
			}
		}
		out.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// kept are blobs in memory.
type kept struct{ sync.Map }

func (k *kept) Put(_ context.Context, data []byte) (string, error) {
	digest := fmt.Sprintf("%x", sha256.Sum256(data))
	k.Store(digest, bytes.Clone(data))
	return digest, nil
}

func (k *kept) Get(_ context.Context, digest string) ([]byte, error) {
	if data, ok := k.Load(digest); ok {
		return data.([]byte), nil
	}
	return nil, stead.NotFound("blob", digest)
}

// needsRoot skips a test of owners where nobody can give files away, but for CI.
func needsRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Getuid() == 0:
	case os.Getenv("CI") != "":
		t.Fatal("owners need root, and CI has it for the drivers")
	default:
		t.Skip("owners need root")
	}
}

// layer is what a set-up of a server that is root leaves of an overlay.
func layer(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	sh(t, ".", `mkdir -p `+dir+`/usr/bin `+dir+`/usr-local `+dir+`/-x `+dir+`/etc/ssl `+dir+`/opt/shut/in; cd `+dir+`
		mknod usr/bin/perl c 0 0; echo new > etc/ssl/n; mkfifo opt/pipe; echo x > opt/nob; ln -s /etc opt/link
		echo 1 > opt/one; ln opt/one opt/two; cp /bin/true opt/suid; mkdir opt/tmp; echo in > opt/shut/in/f; mknod opt/shut/in/gone c 0 0
		chown -hR 2147352576:2147352576 .; chown 2147352577:2147352677 opt/nob opt/tmp; chown -h 2147352580 opt/link
		chmod 600 opt/nob; chmod 4755 opt/suid; chmod 1777 opt/tmp; chmod 2750 etc; chmod 640 opt/pipe; chmod 000 opt/shut`)
	for name, key := range map[string]string{"etc/ssl": "user.overlay.opaque", "opt/one": "user.note"} {
		if err := unix.Setxattr(filepath.Join(dir, name), key, []byte("y"), 0); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, dir, `touch -d @1000000000 etc/ssl opt usr .`)
	return dir
}

// TestALayerIsRestoredAsItWasMade: a checkpoint and the list beside it have all of it.
func TestALayerIsRestoredAsItWasMade(t *testing.T) {
	needsRoot(t)
	ctx := context.Background()
	from, to := layer(t), t.TempDir()
	mine := &kept{}
	d, err := workspace.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := d.Checkpoint(ctx, mine, "")
	if err != nil {
		t.Fatal(err)
	}
	var list, again bytes.Buffer
	if err := trait.Write(open(t, from), &list); err != nil {
		t.Fatal(err)
	}
	if err := trait.Write(open(t, from), &again); err != nil || !bytes.Equal(list.Bytes(), again.Bytes()) {
		t.Errorf("the list of the same is another one, %v", err)
	}
	if err := workspace.Restore(ctx, to, mine, c.Digest); err != nil {
		t.Fatal(err)
	}
	if err := trait.Apply(open(t, to), &list, plenty); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, to), tree(t, from); got != want {
		t.Errorf("it became\n%s\nand not\n%s", got, want)
	}
}

// TestAHostileListTouchesNothingElse: it may come with a session from another server.
func TestAHostileListTouchesNothingElse(t *testing.T) {
	const head = `{"version":1,"uid":0,"gid":0}` + "\n"
	mode := func(name string) string { // of a directory, as it is; the last one must not be heeded
		return fmt.Sprintf(`{"path":%q,"mode":493,"time":1000000000000000000}`+"\n", base64.StdEncoding.EncodeToString([]byte(name)))
	}
	for name, list := range map[string]string{
		"nothing":               "",
		"another version":       `{"version":2}`,
		"above":                 head + `{"path":"Li4vdmljdGlt","mode":2541}`,
		"through a link":        head + `{"path":"b3V0L3ZpY3RpbQ==","mode":2541}`,
		"a mark through a link": head + `{"path":"b3V0L25ldw==","kind":"removed"}`,
		"a device":              head + `{"path":"bmV3","kind":"device"}`,
		"no attribute of users": head + `{"path":"Zg==","attributes":{"trusted.x":"eA=="}}`,
		"a mark that leads out": head + `{"path":"Zg==","attributes":{"user.overlay.redirect":"L2V0Yw=="}}`,
		"the same twice":        head + mode("d") + mode("d"),
		"the root twice":        head + mode(".") + mode("."),
		"the root later":        head + mode("d") + mode("."),
		"one before another":    head + mode("e") + mode("d"),
		"one before what is in": head + mode("d/in") + mode("d"),
		"no path":               head + mode(""),
		"what is not there":     head + `{"path":"eA==","mode":2541}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sh(t, dir, "umask 022; mkdir -p root/d/in root/e; touch -d @1000000000 root root/d root/d/in root/e; echo safe > victim; chmod 600 victim; echo f > root/f; ln -s "+dir+" root/out")
			before := tree(t, dir)
			err := trait.Apply(open(t, filepath.Join(dir, "root")), strings.NewReader(list), plenty)
			if err == nil {
				t.Error("it is taken")
			}
			if after := tree(t, dir); after != before {
				t.Errorf("it became\n%s\nof\n%s", after, before)
			}
		})
	}
	dir := t.TempDir()
	sh(t, dir, "echo f > f")
	if err := trait.Apply(open(t, dir), strings.NewReader(head+`{"path":"Zg==","uid":33,"gid":33,"mode":2541}`), plenty); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "f"))
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Getuid() || os.Getuid() == 0 && info.Mode()&fs.ModeSetuid != 0 {
		t.Errorf("a list makes programs of the host's users: %v, %v", info.Mode(), err)
	}
}
