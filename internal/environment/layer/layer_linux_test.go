package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// base is what an image may look like. Two of them are equal.
func base(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sh(t, dir, `mkdir -p etc/conf usr/bin usr/share/doc/a var/lib/x tmp run
		echo old > etc/changed; echo keep > etc/kept; echo gone > etc/gone; echo doc > usr/share/doc/a/b
		echo x > var/lib/x/file; ln -s changed etc/link; echo dir > usr/becomes-dir; mkdir -p opt/becomes-file/deep; echo y > opt/becomes-file/deep/y
		mkdir -p opt/again; echo 1 > opt/again/first; touch -d @1000000000 etc/kept etc/changed`)
	return dir
}

func sh(t *testing.T, dir, script string) {
	t.Helper()
	c := exec.Command("sh", "-euc", script)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// layerOf is what a script changes in a root.
func layerOf(t *testing.T, dir, script string) []byte {
	t.Helper()
	root := openRoot(t, dir)
	var record, archive bytes.Buffer
	if err := Record(root, &record); err != nil {
		t.Fatal(err)
	}
	time.Sleep(25 * time.Millisecond) // the kernel's clock has ticks, of 10 ms at most
	sh(t, dir, script)
	if err := Pack(root, &record, &archive); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// tree describes all of a root but scratch.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	root := openRoot(t, dir)
	first := map[uint64]string{}
	err := walk(root, func(name string, info fs.FileInfo) error {
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&out, "%s %s %d:%d", name, info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := root.Readlink(name)
			fmt.Fprintf(&out, " -> %s", target)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %d %q", info.ModTime().UnixNano(), data)
			if f := first[st.Ino]; st.Nlink > 1 && f != "" {
				fmt.Fprintf(&out, " = %s", f)
			} else {
				first[st.Ino] = name
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

func TestALayerMakesOneRootOfAnother(t *testing.T) {
	needsRoot(t)
	scripts := map[string]string{
		"contents, owners and modes": `echo new > etc/changed; chown 7:8 var/lib/x/file; chmod 4755 usr/becomes-dir; chmod 000 etc/kept; chmod 1777 var/lib`,
		"links":                      `ln etc/kept usr/bin/hard; ln -sf nowhere etc/link; chown -h 5:6 etc/link; ln -s /etc usr/absolute; mkdir opt/z; ln usr/bin/hard opt/z/third`,
		"removals":                   `rm etc/gone; rm -r usr/share/doc; rm -r var`,
		"a directory begun anew":     `rm -r opt/again; mkdir opt/again; echo 2 > opt/again/second`,
		"one kind in place of another": `rm usr/becomes-dir; mkdir usr/becomes-dir; echo in > usr/becomes-dir/in; rm -r opt/becomes-file; echo file > opt/becomes-file;
			rm -r usr/share; ln -s ../etc usr/share`,
		"moves":            `mv var/lib var/moved; mv etc/kept etc/.wh.kept`,
		"strange names":    `printf x > "$(printf 'etc/a\377 \n\\')"; echo y > 'opt/with "quotes"'; mkdir -p "opt/$(printf '%0200d' 0)/$(printf '%0200d' 1)"`,
		"nothing":          `cat etc/kept`,
		"scratch is none":  `echo x > tmp/x; echo x > run/x; mkdir -p dev workspace; echo x > workspace/x`,
		"times of a file":  `touch -d @1234567890.123456789 etc/kept`,
		"a file grows":     `seq 100000 > usr/bin/big`,
		"a FIFO is let be": `mkfifo opt/fifo; rm etc/kept; mkfifo opt/f2; rm opt/fifo opt/f2`,
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			from, to := base(t), base(t)
			// The same times in both: a layer holds only what has changed.
			sh(t, to, "find . -mindepth 1 -depth -exec touch -h -r "+from+"/{} {} ';'")
			archive := layerOf(t, from, script)
			if err := Apply(openRoot(t, to), bytes.NewReader(archive)); err != nil {
				t.Fatal(err)
			}
			if got, want := tree(t, to), tree(t, from); got != want {
				t.Errorf("it became\n%s\nand not\n%s", got, want)
			}
			if name == "nothing" || name == "scratch is none" {
				if n := entries(t, archive); n != 0 {
					t.Errorf("%d entries for nothing", n)
				}
			}
		})
	}
}

func entries(t *testing.T, archive []byte) (n int) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; n++ {
		if _, err := r.Next(); err != nil {
			return n
		}
	}
}

// A layer is written by whoever set up, or by anybody who could write into the store.
func TestAHostileLayerStaysInItsRoot(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"above":                {Name: "../evil", Typeflag: tar.TypeReg},
		"absolute":             {Name: "/evil", Typeflag: tar.TypeReg},
		"through a link":       {Name: "out/evil", Typeflag: tar.TypeReg},
		"below a link":         {Name: "out/deep/evil", Typeflag: tar.TypeDir},
		"a hard link out":      {Name: "evil", Typeflag: tar.TypeLink, Linkname: "../victim"},
		"a hard link by link":  {Name: "evil", Typeflag: tar.TypeLink, Linkname: "out/victim"},
		"a removal above":      {Name: "out/victim", Typeflag: tar.TypeReg, PAXRecords: map[string]string{removedKey: "1"}, Format: tar.FormatPAX},
		"a removal of the top": {Name: ".", Typeflag: tar.TypeReg, PAXRecords: map[string]string{removedKey: "1"}, Format: tar.FormatPAX},
		"a device":             {Name: "evil", Typeflag: tar.TypeBlock, Devmajor: 8},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sh(t, dir, "mkdir root; echo safe > victim; ln -s "+dir+" root/out")
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			w.Close()
			if err := Apply(openRoot(t, filepath.Join(dir, "root")), &b); err == nil {
				t.Error("it is taken")
			}
			left, err := os.ReadDir(dir)
			if data, _ := os.ReadFile(filepath.Join(dir, "victim")); err != nil || len(left) != 2 || string(data) != "safe\n" {
				t.Errorf("outside are %v, %q, %v", left, data, err)
			}
		})
	}
}

func TestWhatRootMadeIsGivenBack(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	sh(t, dir, "mkdir -p w/a/b; echo x > w/a/b/c; echo out > out; ln -s ../out w/link; chmod 0 w/a; chown 77:78 w")
	if err := GiveBack(filepath.Join(dir, "w")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{"w/a/b/c": 77, "w/a": 77, "w/link": 77, "out": 0} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
