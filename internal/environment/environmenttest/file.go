package environmenttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

func testFiles(t *testing.T, r *rig) {
	b := r.open(t)
	r.run(t, "what is written is read, by both sides", func(t *testing.T) {
		b.write(t, "dir/deep/file", everyByte())
		if got := b.read(t, "dir/deep/file"); got != everyByte() {
			t.Errorf("%q", got)
		}
		if got := b.read(t, environment.WorkspaceDir+"/dir/deep/file"); got != everyByte() {
			t.Errorf("by its absolute path: %q", got)
		}
		if res := b.args(t, "cat", "dir/deep/file"); res.out != everyByte() {
			t.Errorf("a command reads %v", res)
		}
		b.sh(t, "printf 'of a command' > dir/deep/other")
		if got := b.read(t, "dir/deep/other"); got != "of a command" {
			t.Errorf("%q", got)
		}
	})
	r.run(t, "a command can change what the host wrote", func(t *testing.T) {
		b.write(t, "shared/file", "host")
		b.sh(t, "echo more >> shared/file && mv shared/file shared/moved && touch shared/new && rm shared/moved && rm -r shared")
	})
	r.run(t, "the host can change what a command wrote", func(t *testing.T) {
		b.sh(t, "umask 077; mkdir private && echo inside > private/file")
		b.write(t, "private/file", "host")
		b.write(t, "private/second", "host")
		if out := b.sh(t, "cat private/file private/second"); out != "hosthost" {
			t.Errorf("%q", out)
		}
	})
	r.run(t, "a write replaces the whole file", func(t *testing.T) {
		b.write(t, "replaced", "a long text")
		b.write(t, "replaced", "short")
		b.write(t, "empty", "")
		if got := b.read(t, "replaced") + b.read(t, "empty"); got != "short" {
			t.Errorf("%q", got)
		}
	})
	r.run(t, "a file may be a program", func(t *testing.T) {
		for _, executable := range []bool{true, false, true} {
			if err := b.WriteFile(t.Context(), "program", []byte("#!/bin/sh\n"), executable); err != nil {
				t.Fatal(err)
			}
			if out := b.sh(t, `test -x program && echo yes || echo no`); out != map[bool]string{true: "yes\n", false: "no\n"}[executable] {
				t.Errorf("executable %v: %q", executable, out)
			}
		}
	})
	r.run(t, "names may be strange", func(t *testing.T) {
		for _, name := range []string{"with space", "ü€😀", "-rf", "line\nbreak", `back\slash`, "...", "*"} {
			b.write(t, "names/"+name, name)
			if got := b.read(t, "names/"+name); got != name {
				t.Errorf("%q: %q", name, got)
			}
			if res := b.args(t, "cat", "names/"+name); res.out != name {
				t.Errorf("%q: a command reads %v", name, res)
			}
		}
	})
	r.run(t, "reads are bounded", func(t *testing.T) {
		b.write(t, "ten", "0123456789")
		if data, err := b.ReadFile(t.Context(), "ten", 10); string(data) != "0123456789" {
			t.Errorf("at the bound: %q, %v", data, err)
		}
		if err := b.CopyFile(t.Context(), "ten", 9, failing{}); stead.KindOf(err) != stead.KindTooLarge {
			t.Errorf("in pieces, above the bound: %v", err)
		}
		if err := b.CopyFile(t.Context(), "ten", 10, failing{}); !errors.Is(err, errFailing) {
			t.Errorf("where nobody takes it: %v", err)
		}
		_, err := b.ReadFile(t.Context(), "ten", 9)
		refused(t, "above the bound", err, stead.KindTooLarge)
	})
	r.run(t, "large files come whole", func(t *testing.T) {
		big := bytes.Repeat([]byte(everyByte()), 32<<10) // 8 MiB
		b.write(t, "big", string(big))
		if got := b.read(t, "big"); got != string(big) {
			t.Errorf("%d bytes of %d, or others", len(got), len(big))
		}
	})
	r.run(t, "what is not there or no file is refused", func(t *testing.T) {
		b.sh(t, "mkdir -p isdir && mkfifo fifo && ln -s nowhere dangling")
		_, err := b.ReadFile(t.Context(), "missing", 10)
		refused(t, "read what is missing", err, stead.KindNotFound)
		_, err = b.ReadFile(t.Context(), "missing/file", 10)
		refused(t, "read below what is missing", err, stead.KindNotFound)
		_, err = b.ReadFile(t.Context(), "isdir", 10)
		refused(t, "read a directory", err, stead.KindInvalid)
		_, err = b.ReadFile(t.Context(), "fifo", 10)
		refused(t, "read a FIFO", err, stead.KindInvalid, stead.KindNotFound) // not found where it is in the inside's kernel alone
		_, err = b.ReadFile(t.Context(), "dangling", 10)
		refused(t, "read a link to nothing", err, stead.KindNotFound, stead.KindInvalid)
		refused(t, "write over a directory", b.WriteFile(t.Context(), "isdir", nil, false), stead.KindInvalid, stead.KindConflict)
		b.write(t, "isfile", "x")
		refused(t, "write below a file", b.WriteFile(t.Context(), "isfile/file", nil, false), stead.KindInvalid, stead.KindConflict, stead.KindNotFound)
	})
	r.run(t, "lists", func(t *testing.T) { testList(t, r) })
}

// failing takes nothing.
type failing struct{}

var errFailing = errors.New("nobody takes it")

func (failing) Write([]byte) (int, error) { return 0, errFailing }

func testList(t *testing.T, r *rig) {
	b := r.open(t)
	// By path components, "a/z" stands before "a.b": "/" is the border, not a byte of the name.
	names := []string{"B", "a/b/c", "a/z", "a.b", "ab", "b", "ü"}
	for i, n := range slices.Backward(names) {
		b.write(t, n, strings.Repeat("x", i))
	}
	b.sh(t, "mkdir -p empty/dir && ln -s /etc linkdir && ln -s a/z link && mkfifo fifo")
	var want []environment.File
	for i, n := range names {
		want = append(want, environment.File{Path: environment.WorkspaceDir + "/" + n, Size: int64(i)})
	}
	list := func(q environment.ListQuery) []environment.File {
		t.Helper()
		var all []environment.File
		for range 20 {
			page, err := b.List(t.Context(), q)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			if len(page.Files) > q.Limit {
				t.Fatalf("%+v: %d files", q, len(page.Files))
			}
			all = append(all, page.Files...)
			if !page.More {
				break
			}
			q.After = page.Files[len(page.Files)-1].Path
		}
		// What a driver keeps for itself in the workspace's HOME is no concern of this test.
		return slices.DeleteFunc(all, func(f environment.File) bool { return strings.Contains(f.Path, "/.") })
	}
	back := slices.Clone(want)
	slices.Reverse(back)
	for _, limit := range []int{1, 2, 3, environment.MaxListed} {
		if got := list(environment.ListQuery{Limit: limit}); !slices.Equal(got, want) {
			t.Errorf("pages of %d: %v\nwant %v", limit, got, want)
		}
		if got := list(environment.ListQuery{Limit: limit, Desc: true}); !slices.Equal(got, back) {
			t.Errorf("pages of %d from the end: %v\nwant %v", limit, got, back)
		}
	}
	for _, dir := range []string{environment.WorkspaceDir + "/a", environment.WorkspaceDir + "/a/"} {
		if got := list(environment.ListQuery{Dir: dir, Limit: 10}); !slices.Equal(got, want[1:3]) {
			t.Errorf("below %s: %v", dir, got)
		}
	}
	if got := list(environment.ListQuery{Dir: environment.WorkspaceDir, Limit: 10, After: environment.WorkspaceDir + "/aa"}); !slices.Equal(got, want[4:]) {
		t.Errorf("after a file that is gone: %v", got)
	}
	for _, q := range []environment.ListQuery{{Limit: 0}, {Limit: environment.MaxListed + 1}, {Dir: "/etc", Limit: 1}, {Dir: environment.WorkspaceDir + "/../etc", Limit: 1}, {Dir: environment.WorkspaceDir + "/linkdir", Limit: 1}} {
		_, err := b.List(t.Context(), q)
		refused(t, fmt.Sprintf("list %+v", q), err, stead.KindInvalid)
	}
	_, err := b.List(t.Context(), environment.ListQuery{Dir: environment.WorkspaceDir + "/missing", Limit: 1})
	refused(t, "list what is missing", err, stead.KindNotFound)
}

// testEscapes tries every way out of the workspace through the contract's file calls, with a marker
// outside that must neither be read nor changed.
func testEscapes(t *testing.T, r *rig) {
	b := r.open(t)
	outside := filepath.Join(filepath.Dir(b.spec.Workspace), "marker")
	if err := os.WriteFile(outside, []byte("marker"), 0o666); err != nil {
		t.Fatal(err)
	}
	b.sh(t, `ln -s "$1" abs && ln -s ../marker rel && ln -s .. up && ln -s / top && ln -s /proc/self/root proc && ln -s /proc/self/fd fd && ln -s up/marker chain && mkdir in && ln -s ../../marker in/rel && ln -s loop loop`, outside)
	paths := []string{
		"../marker", "in/../../marker", "./../marker", "/workspace/../marker", "/marker", outside, "/etc/passwd", "//etc/passwd",
		"/workspacemarker", "/workspace2/x", "", ".", "/", "/workspace", "/workspace/", "a\x00b", strings.Repeat("x/", environment.MaxPathBytes/2+1),
		"abs", "rel", "up/marker", "top/etc/passwd", "proc/etc/passwd", "top" + outside, "fd/0", "chain", "in/rel", "loop", "loop/x",
	}
	for _, p := range paths {
		r.run(t, fmt.Sprintf("%.60q", p), func(t *testing.T) {
			if data, err := b.ReadFile(t.Context(), p, 1<<20); err == nil {
				t.Errorf("read %.80q", data)
			} else {
				refused(t, "read", err, stead.KindInvalid, stead.KindNotFound)
			}
			// A link itself may be replaced by a file: what it names may not be touched.
			if err := b.WriteFile(t.Context(), p, []byte("overwritten"), false); err != nil {
				refused(t, "write", err, stead.KindInvalid, stead.KindNotFound, stead.KindConflict)
			}
			if data, err := os.ReadFile(outside); string(data) != "marker" {
				t.Errorf("the marker outside is now %.80q, %v", data, err)
			}
		})
	}
	if _, err := os.Stat("/workspace2/x"); err == nil {
		t.Error("/workspace2/x was made on the host")
	}
	names, err := os.ReadDir(filepath.Dir(b.spec.Workspace))
	if err != nil || len(names) != 3 {
		t.Errorf("beside workspace, services and marker there is now: %v, %v", names, err)
	}
}
