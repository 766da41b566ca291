//go:build amd64 || arm64

package landlock

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
)

// ordinary are scripts of what programs do to their own files every day, with what they print.
func ordinary() []struct{ needs, script, want string } {
	return []struct{ needs, script, want string }{
		{"sh", `echo x > a && chmod 600 a && stat -c %a a && chmod 751 . && stat -c %a .`, "600\n751\n"},
		{"sh", `touch -d @1000000000 b && stat -c %Y b && touch -r b c && stat -c %Y c`, "1000000000\n1000000000\n"},
		{"sh", `ln -s b l && touch -h -d @1200000000 l && stat -c %Y l && stat -c %Y b && touch -d @1300000000 l && stat -c %Y b`, "1200000000\n1000000000\n1300000000\n"},
		{"sh", `chmod 640 b && cp -p b d && stat -c '%a %Y' d && cp -a . "$TMPDIR/copy" && stat -c '%a %Y' "$TMPDIR/copy/d"`, "640 1300000000\n640 1300000000\n"},
		{"sh", `install -m 700 b e && stat -c %a e && mkdir -m 711 dir && chmod -R g-x dir && stat -c %a dir`, "700\n701\n"},
		{"sh", `ln -s "$PWD/dir" abs && touch abs/in && chmod 604 abs/in && stat -c %a dir/in && cd dir && chmod 644 ../dir/in && stat -c %a in`, "604\n644\n"},
		{"sh", `chown "$(id -u):$(id -g)" b && chown -h "$(id -u)" l && echo owned`, "owned\n"},
		{"tar", `tar cf t.tar b dir && mkdir to && tar xpf t.tar -C to && stat -c '%a %Y' to/b to/dir | head -1`, "640 1300000000\n"},
		{"sh", `chmod 700 absent; touch -d now absent/x; chmod 777 /usr/bin; chmod 777 "$PWD/.."; echo no`, "no\n"},
		{"git", `git init -q repository && cd repository && git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git log --format=%s`, "x\n"},
		{"python3", `python3 -c '
import os, shutil, tempfile
open("p", "w").close()
os.chmod("p", 0o640); os.utime("p", (1, 2)); os.utime("p", ns=(3000, 4000), follow_symlinks=False)
fd = os.open("p", os.O_RDONLY); os.fchmod(fd, 0o600); os.utime(fd); os.chown(fd, -1, -1); os.chmod("/proc/self/fd/%d" % fd, 0o604)
d = os.open(".", os.O_PATH); os.chmod("p", 0o641, dir_fd=d); shutil.copystat("p", "b"); shutil.copy2("p", "q")
f = tempfile.TemporaryFile(dir="."); os.fchmod(f.fileno(), 0o666); print(oct(os.fstat(f.fileno()).st_mode))
print(oct(os.stat("q").st_mode))
try: os.chmod("nowhere", 0)
except FileNotFoundError: print("none")
try: os.chmod("p/x", 0)
except NotADirectoryError: print("no directory")
try: os.chmod("x" * 5000, 0)
except OSError as e: print(e.errno)
' `, "0o100666\n0o100641\nnone\nno directory\n36\n"},
		{"node", `node -e '
const fs = require("fs"); fs.writeFileSync("n", ""); fs.chmodSync("n", 0o600)
const w = fs.watch(".", (_, name) => { if (name == "m") { console.log("seen"); w.close() } })
fs.promises.utimes("n", 5, 6).then(() => { console.log(fs.statSync("n").mtimeMs); fs.writeFileSync("m", "") })
'`, "6000\nseen\n"},
	}
}

// TestOrdinaryPrograms: what is supervised works in the workspace and in TMPDIR as ever.
func TestOrdinaryPrograms(t *testing.T) {
	e, err := open(t, func(*environment.Spec) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range ordinary() {
		if _, err := exec.LookPath(c.needs); err != nil {
			t.Logf("%s is not installed", c.needs)
			continue
		}
		exit, out := runOut(t, e, "sh", "-c", c.script)
		if out != c.want {
			t.Errorf("%s: exit %d, %q, want %q", c.script, exit.Code, out, c.want)
		}
	}
}

// runOut is run without what goes to standard error, unless it fails.
func runOut(t *testing.T, e environment.Environment, args ...string) (environment.Exit, string) {
	t.Helper()
	var out, errs strings.Builder
	exit, err := e.Exec(t.Context(), environment.Command{Args: args}, func(c environment.Chunk) {
		if c.Stream == environment.Stderr {
			errs.Write(c.Data)
		} else {
			out.Write(c.Data)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if errs.Len() > 0 {
		t.Logf("%.60q: %s", args, errs.String())
	}
	return exit, out.String()
}

// TestPlaces: what a path was said to be is not believed.
func TestPlaces(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"inside/deep", "inside-not", "outside"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"inside/file", "inside/deep/file (deleted)", "inside-not/file", "outside/file"} {
		if err := os.WriteFile(filepath.Join(base, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../outside/file", filepath.Join(base, "inside/link")); err != nil {
		t.Fatal(err)
	}
	all, err := places(filepath.Join(base, "inside"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"inside": true, "inside/file": true, "inside/deep": true, "inside/deep/file (deleted)": true,
		"inside/link": false, "inside/..": false, "inside-not": false, "inside-not/file": false, "outside/file": false, ".": false,
	} {
		pinned, err := pin(filepath.Join(base, name))
		if err != nil {
			t.Fatal(err)
		}
		found, err := find(all, pinned)
		if (err == nil) != want {
			t.Errorf("%s: %d, %v, want found: %v", name, found, err, want)
		}
	}
	gone, err := os.Create(filepath.Join(base, "outside/gone"))
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	if _, err := find(all, int(gone.Fd())); err == nil {
		t.Error("a file outside is found")
	}
	if err := os.Remove(gone.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := find(all, int(gone.Fd())); err != nil {
		t.Errorf("a file without a name: %v", err)
	}
}
