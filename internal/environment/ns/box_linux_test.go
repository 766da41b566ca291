package ns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/packet"
	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// role names, in a process of this test binary, what it does instead of running tests.
const role = "STEAD_NS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "server":
		serve()
	case "probe":
		probe()
	default:
		os.Exit(m.Run())
	}
}

// patience is the longest wait for what has to happen.
const patience = 20 * time.Second

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

// serve opens boxes with processes of every stubborn kind, names itself, and waits to be killed.
func serve() {
	p := New(cgroup.Detect())
	for i := range 3 {
		e, err := p.Open(context.Background(), environment.Spec{ID: fmt.Sprint("env_killed", i), Workspace: os.Getenv("WORKSPACE") + strconv.Itoa(i)})
		if err == nil {
			_, err = e.Exec(context.Background(), environment.Command{Args: []string{"sh", "-c", `
				trap '' TERM HUP INT
				(setsid sleep 1234567 >/dev/null 2>&1 &)
				sleep 1234567 >/dev/null 2>&1 &`}}, nil)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// probe prints what the driver reports.
func probe() {
	p := New(cgroup.Detect())
	r := p.Probe(context.Background())
	fmt.Printf("usable=%v\nproblem=%s\nremedy=%s\n", r.Usable, r.Problem, r.Remedy)
}

func helper(t *testing.T, what string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), role+"="+what)
	return c
}

// sleepers counts the host's processes that serve's boxes have started.
func sleepers() int {
	n := 0
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil && string(data) == "sleep\x001234567\x00" {
			n++
		}
	}
	return n
}

func TestKilledServerLeavesNoProcess(t *testing.T) {
	dir := publicDir(t)
	for i := range 3 {
		if err := os.Mkdir(filepath.Join(dir, "w"+strconv.Itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := helper(t, "server")
	c.Env = append(c.Env, "WORKSPACE="+dir+"/w")
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err := errors.Join(err1, err2, c.Start()); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line)
	}
	until(t, "two processes run in each of 3 boxes", func() bool { return sleepers() == 6 })
	begin := time.Now()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it was killed
	until(t, "no process is left", func() bool { return sleepers() == 0 })
	t.Logf("all processes were gone %v after the kill", time.Since(begin))
	cgroup.Detect().Sweep(t.Context())
	groups, err := exec.Command("find", "/sys/fs/cgroup", "-name", fmt.Sprintf("stead-%d-*", c.Process.Pid)).Output()
	if err == nil && len(groups) > 0 {
		t.Errorf("groups are left: %s", groups)
	}
}

// A machine that denies user namespaces, as Docker's filter does, says so and what to do.
func TestReportWhereUserNamespacesAreDenied(t *testing.T) {
	type answer struct {
		out []byte
		err error
	}
	answers := make(chan answer)
	go func() { // its thread keeps the filter, and ends with it
		runtime.LockOSThread()
		f, err := seccomp.Build(seccomp.Options{})
		if err == nil {
			err = seccomp.Install(f)
		}
		if err != nil {
			answers <- answer{nil, err}
			return
		}
		out, err := helper(t, "probe").CombinedOutput()
		answers <- answer{out, err}
	}()
	a := <-answers
	if a.err != nil {
		t.Fatalf("%v: %s", a.err, a.out)
	}
	for _, want := range []string{"usable=false", "user namespaces are denied here", "remedy=Allow "} {
		if !strings.Contains(string(a.out), want) {
			t.Errorf("%q is not in\n%s", want, a.out)
		}
	}
}

// publicDir is a directory that other users can enter.
func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stead-ns-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The whole package once more as a user without rights, which is how most people will try it.
func TestUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the other tests run unprivileged already")
	}
	dir := publicDir(t)
	binary := filepath.Join(dir, "ns.test")
	data, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(binary, data, 0o755)
	}
	home := filepath.Join(dir, "own")
	if err := errors.Join(err, os.Mkdir(home, 0o755), os.Chown(home, 1000, 1000)); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(binary, "-test.v", "-test.run=^TestKilled|^TestReport|^TestImage|^TestLayer|^TestWorkspace|^TestNonsense|^TestMounts")
	c.Dir = home
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + home, "HOME=" + home, "CI=" + os.Getenv("CI")}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	out, err := c.CombinedOutput()
	if err != nil || strings.Contains(string(out), "--- SKIP") && os.Getenv("CI") == "true" {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// Files of an agent belong to nobody on the host that may do anything, and the server reads and
// writes all of them.
func TestWorkspaceOwners(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			p := open(t)
			p.ids.plain = plain
			ws := publicDir(t)
			if err := os.WriteFile(filepath.Join(ws, "before"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second box has other ids
				e := openBox(t, p, environment.Spec{Workspace: ws})
				run(t, e, "sh", "-c", "cat before >>after; echo x >>before; mkdir -p d; echo x >d/f$$; chmod 600 before after; test $(stat -c %u before) = 1000")
				if err := e.WriteFile(t.Context(), "new/of server", []byte("x"), false); err != nil {
					t.Fatal(err)
				}
				run(t, e, "sh", "-c", `echo y >>"new/of server"; rm -r new`)
				if data, err := e.ReadFile(t.Context(), "after", 100); err != nil || len(data) == 0 {
					t.Errorf("%q, %v", data, err)
				}
			}
			if os.Getuid() != 0 {
				return
			}
			err := filepath.WalkDir(ws, func(name string, d os.DirEntry, err error) error {
				if err != nil {
					return err
				}
				st, err := d.Info()
				if err == nil && ownerOf(st) < firstID {
					t.Errorf("%s belongs to %d", name, ownerOf(st))
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWorkspaceHasNoSetUserIDFiles(t *testing.T) {
	e := openBox(t, open(t), environment.Spec{})
	x, err := e.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "cp /bin/sh sh && chmod 4755 sh"}}, nil)
	if err != nil || x.Code == 0 {
		t.Errorf("%+v, %v", x, err)
	}
}

// image makes a small root out of files of the host: a shell, some tools and what they link.
func image(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(publicDir(t), "image")
	script := `set -e
		mkdir -p $1/usr/bin $1/usr/lib $1/etc $1/opt $1/var $1/srv $1/mnt $1/proc
		ln -s usr/bin $1/bin
		for p in sh cat id ls touch mkdir sleep; do
			cp $(command -v $p) $1/usr/bin/
			for l in $(ldd $(command -v $p) | grep -o '/[^ ]*'); do mkdir -p $1$(dirname $l); cp -L $l $1$l; done
		done
		printf 'root:x:0:0::/:/bin/sh\nimagined:x:7:7::/:/bin/sh\n' >$1/etc/passwd
		echo of the image >$1/srv/file
		chmod -R a+rX $1`
	if out, err := exec.Command("sh", "-c", script, "sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func TestImage(t *testing.T) {
	dir := image(t)
	upper := filepath.Join(publicDir(t), "upper")
	if err := os.Mkdir(upper, 0o755); err != nil {
		t.Fatal(err)
	}
	p := open(t)
	e := openBox(t, p, environment.Spec{Root: environment.Root{Image: dir}})
	if out := run(t, e, "sh", "-c", "id -un; cat /srv/file; echo >/dev/null; touch /tmp/x here; cat /etc/passwd"); !strings.HasPrefix(out, "agent\nof the image\n") || !strings.Contains(out, "imagined") {
		t.Errorf("%q", out)
	}
	for _, script := range []string{"touch /usr/x", "touch /srv/x", "touch /x", "test -e /usr/bin/env", "touch /etc/x"} {
		if x, err := e.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", script}}, nil); err != nil || x.Code == 0 {
			t.Errorf("%s: %+v, %v", script, x, err)
		}
	}
	e = openBox(t, p, environment.Spec{Root: environment.Root{Image: dir, Upper: upper}, AsRoot: true})
	run(t, e, "sh", "-c", "touch /usr/bin/new /etc/new /opt/new /var/new && mkdir /usr/share && cat /etc/passwd")
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	e = openBox(t, p, environment.Spec{Root: environment.Root{Image: dir, Layers: []string{upper}}})
	run(t, e, "sh", "-c", "ls /usr/bin/new /usr/bin/sh /etc/new /opt/new /var/new /usr/share && id -un")
}

// Images and layers are written by strangers. Links and special files in them lead nowhere.
func TestImageOfAnEnemy(t *testing.T) {
	secret := filepath.Join(publicDir(t), "secret")
	if err := os.MkdirAll(filepath.Join(secret, "lib", "dpkg"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secret, "lib", "dpkg", "file"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := open(t)
	dir := image(t)
	if out, err := exec.Command("sh", "-c", `cd "$1" && rm -r etc/passwd opt var && mkfifo etc/passwd && ln -s "$2" opt && ln -s "$2" var && ln -s "$2" stolen && ln -s "$2/lib/dpkg/file" etc/group`, "sh", dir, secret).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	layer := publicDir(t)
	for _, name := range []string{"opt", "var"} {
		if err := os.Symlink(secret, filepath.Join(layer, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, root := range map[string]environment.Root{
		"image": {Image: dir}, "layer": {Layers: []string{layer}}, "both": {Image: dir, Layers: []string{layer}},
	} {
		e, err := p.Open(t.Context(), environment.Spec{ID: "env_enemy", Workspace: t.TempDir(), Root: root})
		if err != nil {
			t.Logf("%s: refused: %v", name, err)
			continue
		}
		for _, script := range []string{"cat " + secret + "/lib/dpkg/file", "cat /opt/lib/dpkg/file", "cat /var/lib/dpkg/file", "cat /stolen/lib/dpkg/file", "cat /etc/group"} {
			var out strings.Builder
			_, err := e.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", script}}, func(c environment.Chunk) { out.Write(c.Data) })
			if err != nil || strings.Contains(out.String(), "secret\n") || out.String() == "secret" {
				t.Errorf("%s: %s: %q, %v", name, script, out.String(), err)
			}
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A mount whose way leads over a link of a layer ends inside.
func TestMountsOverLinks(t *testing.T) {
	secret, layer, source := publicDir(t), publicDir(t), publicDir(t)
	if err := errors.Join(os.Mkdir(filepath.Join(layer, "opt"), 0o755), os.Symlink(secret, filepath.Join(layer, "opt", "link"))); err != nil {
		t.Fatal(err)
	}
	e, err := open(t).Open(t.Context(), environment.Spec{
		ID: "env_links", Workspace: t.TempDir(), Root: environment.Root{Layers: []string{layer}},
		Mounts: []environment.Mount{{Source: source, Target: "/opt/link/below"}},
	})
	if err == nil {
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(secret); err != nil || len(left) > 0 {
		t.Errorf("the host has %v, %v", left, err)
	}
}

func TestMountsThatCantBe(t *testing.T) {
	p := open(t)
	for _, m := range []environment.Mount{
		{Source: "/usr", Target: "relative"}, {Source: "/usr", Target: "/a/../b"}, {Source: "/usr", Target: "/"},
		{Source: "/usr", Target: "/workspace/x"}, {Source: "/usr", Target: "/proc/x"}, {Source: "/usr", Target: "/run/stead"},
		{Source: "/nothing/of/this/name", Target: "/mnt/x"},
	} {
		_, err := p.Open(t.Context(), environment.Spec{ID: "env_mounts", Workspace: t.TempDir(), Mounts: []environment.Mount{m}})
		if stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

// A package of Debian's is made, installed with its set-user-ID program, and used from the layer.
func TestLayerOfAPackage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("a server without root has no ids for packages of the system: see ROUGH_EDGES.md")
		return
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("this is no Debian")
	}
	upper := filepath.Join(publicDir(t), "upper")
	if err := os.Mkdir(upper, 0o755); err != nil {
		t.Fatal(err)
	}
	p := open(t)
	e := openBox(t, p, environment.Spec{Root: environment.Root{Upper: upper}, AsRoot: true})
	out := run(t, e, "sh", "-ec", `
		mkdir -p p/DEBIAN p/usr/bin p/var/lib/stead-test && chmod 755 p p/DEBIAN
		printf 'Package: stead-test\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: a test\n' >p/DEBIAN/control
		printf '#!/bin/sh\nchown nobody /var/lib/stead-test\nupdate-alternatives --install /usr/bin/stead-alternative stead-alternative /usr/bin/stead-test 1\n' >p/DEBIAN/postinst
		printf '#!/bin/sh\necho packaged\n' >p/usr/bin/stead-test
		chmod 755 p/usr/bin/stead-test p/DEBIAN/postinst
		dpkg-deb --root-owner-group --build p p.deb
		dpkg -i p.deb
		chmod 4755 /usr/bin/stead-test
		dpkg -s stead-test coreutils | grep Status`)
	if strings.Count(out, "install ok installed") != 2 {
		t.Errorf("%s", out)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(upper, "usr/bin/stead-test")); err != nil || ownerOf(st) != diskID {
		t.Errorf("on disk the program belongs to %v, %v", st, err)
	}
	if _, err := os.Lstat(filepath.Join(upper, workDir)); err == nil {
		t.Error("the overlay's work is left in the layer")
	}
	e = openBox(t, p, environment.Spec{Root: environment.Root{Layers: []string{upper}}})
	if out := run(t, e, "sh", "-c", "stead-alternative; stat -c %U /var/lib/stead-test; ls /usr/bin/env; python3 -c 'import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 0)'"); out != "packaged\nnobody\n/usr/bin/env\nTrue\n" {
		t.Errorf("%q", out)
	}
}

// What a box says is a stranger's word: nonsense ends it, and nothing else.
func TestNonsenseEndsABox(t *testing.T) {
	for _, message := range []string{
		"", "{", "null", "{}", `{"ready":true}`, `{"started":1}`, `{"exited":1}`, `{"started":7}`, `{"exited":4294967295}`,
		`{"started":1,"exited":1}`, `{"started":-1}`, `[]`, strings.Repeat("x", maxReplyBytes+1),
	} {
		b := stranger(t)
		peer := b.peer
		if _, err := peer.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
		if message == "" {
			_ = peer.Close()
		}
		select {
		case <-b.dead:
		case <-time.After(patience):
			t.Errorf("%.40q did not end the box", message)
		}
	}
}

type strangerBox struct {
	*box
	peer *net.UnixConn
}

// stranger is a box whose init is somebody else, at the other end of peer.
func stranger(t *testing.T) strangerBox {
	t.Helper()
	conn, child, err := packet.Pair(maxRequestBytes)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := packet.Conn(child)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	b := newBox(nil, environment.Spec{Limits: environment.LimitsOf(environment.SizeSmall)})
	b.cell = &cell{conn: conn, init: c.Process, dead: make(chan struct{})}
	go func() { _ = c.Wait(); close(b.dead) }()
	go b.listen()
	t.Cleanup(func() { _ = c.Process.Kill(); <-b.dead; _ = conn.Close(); _ = peer.Close() })
	return strangerBox{b, peer}
}

func TestProgramsOf32BitsDontRun(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("there is no such interface here")
	}
	// int 0x80 with getpid's number of 32 bits, in a program of 64.
	e := openBox(t, open(t), environment.Spec{})
	script := `import ctypes, mmap
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
m.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))())`
	x, err := e.Exec(t.Context(), environment.Command{Args: []string{"python3", "-c", script}}, nil)
	if err != nil || x.Code != 128+int(unix.SIGSYS) {
		t.Errorf("%+v, %v", x, err)
	}
}

// Quick commands, one after the other, fill the disk no more than slow ones; and a box that is above
// its limit already can be used, to remove something at least.
func TestDiskLimitOfManyQuickCommands(t *testing.T) {
	e := openBox(t, open(t), environment.Spec{Limits: environment.Limits{DiskBytes: 8 << 20}})
	killed := false
	for i, end := 0, time.Now().Add(patience); !killed && time.Now().Before(end); i++ {
		x, err := e.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "head -c 1000000 /dev/zero >" + strconv.Itoa(i) + "; sleep 0.02"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		killed = x.Reason == environment.ReasonDisk
	}
	if !killed {
		t.Error("nobody minded")
	}
	run(t, e, "sh", "-c", "sleep 0.6; rm -f *; sleep 0.6")
}
