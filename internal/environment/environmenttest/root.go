package environmenttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

func testRoot(t *testing.T, r *rig) {
	b := r.open(t)
	r.run(t, "only workspace and tmp can be written", func(t *testing.T) {
		b.sh(t, `echo x > here && echo x > "${TMPDIR:-/tmp}/there" && cat "${TMPDIR:-/tmp}/there"`)
		for _, dir := range []string{"", "/usr", "/usr/bin", "/etc", "/opt", "/var", "/dev", "/proc", "/sys", b.services()} {
			p := dir + "/" + b.spec.ID // nobody else's name: a driver that lets it through does no other harm
			b.fails(t, `echo x 2>/dev/null > "$1"`, p)
			if os.Remove(p) == nil {
				t.Errorf("%s was made on the host", p)
			}
		}
	})
	r.run(t, "the usual devices are there", func(t *testing.T) {
		b.sh(t, `echo x > /dev/null && head -c 8 /dev/zero | wc -c && head -c 8 /dev/urandom | wc -c && : < /dev/null`)
	})
	r.run(t, "tmp is not the host's and not another environment's", func(t *testing.T) {
		// A driver without a root of its own has another place for it.
		file := strings.TrimSpace(b.sh(t, `f="${TMPDIR:-/tmp}/$1"; echo secret > "$f" && echo "$f"`, b.spec.ID))
		r.open(t).fails(t, `cat "$1"`, file)
		if _, err := os.Stat(file); !r.opts.HostPaths && err == nil || os.Remove("/tmp/"+b.spec.ID) == nil {
			t.Error("a file in the inside's /tmp is in the host's")
		}
	})
	r.run(t, "mounts are read-only", func(t *testing.T) { testMounts(t, r) })
	r.run(t, "layers and upper", func(t *testing.T) { testLayers(t, r) })
	r.run(t, "commands are root only for set-up", func(t *testing.T) {
		root := r.open(t, func(s *environment.Spec) { s.AsRoot = true })
		if out := root.sh(t, "id -u && echo x > file"); out != "0\n" {
			t.Errorf("AsRoot: uid %q", out)
		}
		root.write(t, "file", "of the host")
		if out := b.sh(t, "id -u"); out == "0\n" {
			t.Error("a command is root without AsRoot")
		}
	})
}

func testMounts(t *testing.T, r *rig) {
	dir := publicDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mounted"), 0o666); err != nil {
		t.Fatal(err)
	}
	b := r.open(t, func(s *environment.Spec) {
		s.Mounts = []environment.Mount{{Source: dir, Target: "/mnt/dir"}, {Source: file, Target: "/mnt/alone"}}
	})
	if out := b.sh(t, "cat /mnt/dir/file /mnt/alone"); out != "mountedmounted" {
		t.Errorf("%q", out)
	}
	for _, script := range []string{"echo x > /mnt/dir/new", "echo x > /mnt/dir/file", "echo x > /mnt/alone", "rm -f /mnt/dir/file", "chmod 777 /mnt/dir/file", "mv /mnt/dir/file /mnt/dir/other"} {
		b.fails(t, script)
	}
	if data, err := os.ReadFile(file); string(data) != "mounted" {
		t.Errorf("the source is now %q, %v", data, err)
	}
}

func testLayers(t *testing.T, r *rig) {
	dir := publicDir(t)
	upper := filepath.Join(dir, "upper")
	if err := os.Mkdir(upper, 0o755); err != nil {
		t.Fatal(err)
	}
	setUp := func(s *environment.Spec) { s.Root.Upper, s.AsRoot = upper, true }
	if !r.claims(environment.ControlLayers) {
		s := r.spec(t)
		setUp(&s)
		e, err := r.provider.Open(t.Context(), s)
		refused(t, "an upper layer that the report does not claim", err, stead.KindNotImplemented)
		if err == nil {
			_ = e.Close(t.Context())
		}
		return
	}
	b := r.open(t, setUp)
	id := b.spec.ID // names of nobody else: see testRoot
	var leaks []string
	for _, p := range []string{"/usr/lib/", "/etc/", "/opt/", "/var/", "/usr/bin/"} {
		leaks = append(leaks, p+id)
	}
	t.Cleanup(func() {
		for _, p := range leaks { // whatever a broken driver let through to the host
			_ = os.RemoveAll(p)
		}
	})
	b.sh(t, `for d in /usr/lib /etc /opt /var; do mkdir -p $d/$1 && echo by the set-up > $d/$1/file || exit 1; done`, id)
	b.sh(t, `printf '#!/bin/sh\necho installed\n' > /usr/bin/$1 && chmod 755 /usr/bin/$1`, id)
	b.sh(t, `ln -s file /opt/$1/link && chmod 754 /opt/$1/file`, id)
	b.close(t)
	for _, p := range leaks {
		if _, err := os.Lstat(p); err == nil {
			t.Errorf("the set-up wrote %s on the host", p)
		}
	}
	used := r.open(t, func(s *environment.Spec) { s.Root.Layers = append([]string{upper}, s.Root.Layers...) })
	out := used.sh(t, `$1; cat /usr/lib/$1/file /etc/$1/file /opt/$1/file /var/$1/file; ls /usr/bin/env; cat /opt/$1/link; stat -c %a /opt/$1/file`, id)
	if want := "installed\n" + strings.Repeat("by the set-up\n", 4) + "/usr/bin/env\nby the set-up\n754\n"; out != want {
		t.Errorf("over the layer: %q, want %q", out, want)
	}
	used.fails(t, `echo x > /opt/$1/file`, id)
}
