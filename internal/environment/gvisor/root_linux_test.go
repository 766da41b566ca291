package gvisor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// image makes a directory like an unpacked image: a shell, a few programs, and the libraries that they
// need, found by the loader's own list.
func image(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	put := func(from, to string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sh", "cat", "ls"} {
		path, err := exec.LookPath("/bin/" + name)
		if err != nil {
			t.Fatal(err)
		}
		put(path, "bin/"+name)
		out, err := exec.Command("ldd", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.Fields(string(out)) {
			if strings.HasPrefix(word, "/") {
				put(word, word)
			}
		}
	}
	for name, text := range map[string]string{"etc/passwd": "of the image\n", "opt/tool/file": "tool\n", "workspace/hidden": "x", "run/hidden": "x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestImage(t *testing.T) {
	p := open(t, Config{})
	s := spec(t)
	s.Root.Image = image(t)
	// What an image can try: names that lead out of it must lead to the inside's own.
	for name, to := range map[string]string{"srv": "/etc", "home": "../../../../../../etc", "data": "/proc/self/ro" + "ot/etc"} {
		if err := os.Symlink(to, filepath.Join(s.Root.Image, name)); err != nil {
			t.Fatal(err)
		}
	}
	b := start(t, p, s)
	for _, name := range []string{"/etc", "/srv", "/home", "/data"} {
		if got := run(t, b, "cat", name+"/passwd"); got != "of the image\n" {
			t.Errorf("%s/passwd: %.100q", name, got)
		}
	}
	if got := run(t, b, "cat", "/opt/tool/file"); got != "tool\n" {
		t.Errorf("%q", got)
	}
	if got := run(t, b, "ls", "/workspace", "/usr"); strings.Contains(got, "hidden") || strings.Contains(got, "share") {
		t.Errorf("the image's workspace or the host's /usr is seen: %q", got)
	}
	run(t, b, "sh", "-c", "! echo x > /etc/passwd && ! echo x > /new && echo x > file")
}

func TestLayersOverAnImage(t *testing.T) {
	p := open(t, Config{})
	s := spec(t)
	s.Root.Image = image(t)
	upper := filepath.Join(publicDir(t), "upper: with a colon, and \\ more")
	if err := os.Mkdir(upper, 0o755); err != nil {
		t.Fatal(err)
	}
	set := s
	set.Root.Upper, set.AsRoot = upper, true
	if os.Geteuid() != 0 {
		t.Skip("an upper layer needs root")
	}
	b := start(t, p, set)
	run(t, b, "sh", "-c", "echo changed > /etc/passwd && echo new > /opt/new && echo var > /var/new")
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(upper); err != nil || len(names) != 4 {
		t.Errorf("the layer holds %v, %v; want etc, opt, usr, var", names, err)
	}
	s.Root.Layers = []string{upper}
	b = start(t, p, s)
	if got := run(t, b, "cat", "/etc/passwd", "/opt/new", "/opt/tool/file", "/var/new"); got != "changed\nnew\ntool\nvar\n" {
		t.Errorf("%q", got)
	}
}

// A layer was made by a set-up, which may be anybody's: a link in the place of a directory leads
// nowhere.
func TestAHostileLayer(t *testing.T) {
	p := open(t, Config{})
	for _, name := range []string{"usr", "etc", "opt", "var"} {
		s := spec(t)
		layer := publicDir(t)
		if err := os.Symlink("/etc", filepath.Join(layer, name)); err != nil {
			t.Fatal(err)
		}
		s.Root.Layers = []string{layer}
		if e, err := p.Open(t.Context(), s); err == nil {
			_ = e.Close(t.Context())
			t.Errorf("a layer whose %s is a link was taken", name)
		} else if stead.KindOf(err) != stead.KindUnavailable {
			t.Error(err)
		}
	}
}

func TestASetupsPackageManagerKnowsTheHostsPackages(t *testing.T) {
	if _, err := os.Stat("/var/lib/dpkg/status"); err != nil || os.Geteuid() != 0 {
		t.Skip("the host is no Debian, or the test is not root")
	}
	p := open(t, Config{})
	s := spec(t)
	s.AsRoot, s.Root.Upper = true, publicDir(t)
	b := start(t, p, s)
	if got := run(t, b, "dpkg-query", "-W", "-f", "${Status}", "dpkg"); got != "install ok installed" {
		t.Errorf("%q", got)
	}
	run(t, b, "sh", "-c", "dpkg-divert --local --rename --add /opt/x && echo x > /run/lock && touch /var/lib/dpkg/made")
}
