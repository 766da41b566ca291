package environmenttest

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is the user of attackers and victims where no other is known.
const nobody = 65534

// field is what the attacks aim at, all of it made by the test: files, a process, listeners.
type field struct {
	bare      bool   // the attacks run on the bare host
	secret    string // a file of the server, which nobody else may read
	public    string // a file outside that everybody may read
	neighbour string // a file in another workspace
	shadow    string // device and inode of /etc/shadow
	services  string // the services directory, as the attacker sees it

	handleKind int32  // of public
	handle     string // in hex

	victim int    // a process of the host with the attacker's user
	token  string // among its arguments

	tcp, tcp6, udp, abstract, socket string // the host's listeners

	setuid, capable string // programs that carry a right, as the attacker sees them

	shared, datagram    string // POSIX shared memory, a unix socket for datagrams by its path
	memory, sems, queue string // numbers of System V IPC objects
}

// newField makes the targets. uid is the attacker's on the host.
func newField(t *testing.T, uid int) *field {
	t.Helper()
	dir := publicDir(t)
	f := &field{
		secret: filepath.Join(dir, "secret"), public: filepath.Join(dir, "public"), neighbour: filepath.Join(dir, "neighbour", "file"),
		services: filepath.Join(dir, "services"), socket: filepath.Join(dir, "socket"), token: "victim-" + filepath.Base(dir),
		abstract: filepath.Base(dir),
	}
	for _, d := range []string{filepath.Dir(f.neighbour), f.services} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{f.secret: 0o600, f.public: 0o644, f.neighbour: 0o644} {
		if err := os.WriteFile(name, []byte("marker"), mode); err != nil {
			t.Fatal(err)
		}
	}
	var stat unix.Stat_t
	if err := unix.Stat("/etc/shadow", &stat); err == nil {
		f.shadow = fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	}
	if h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, f.public, 0); err == nil {
		f.handleKind, f.handle = h.Type(), hex.EncodeToString(h.Bytes())
	}
	f.listen(t)
	f.share(t)
	f.victim = startVictim(t, f.token, uid)
	return f
}

func (f *field) listen(t *testing.T) {
	t.Helper()
	f.tcp = listen(t, "tcp", "127.0.0.1:0")
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		f.tcp6 = listen(t, "tcp", "[::1]:0")
	}
	listen(t, "unix", "@"+f.abstract)
	listen(t, "unix", f.socket)
	if err := os.Chmod(f.socket, 0o777); err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	f.udp = c.LocalAddr().String()
	go func() {
		var data [64]byte
		for {
			_, from, err := c.ReadFrom(data[:])
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte("host"), from)
		}
	}()
}

// startVictim starts a process of the host for the attacker to find.
func startVictim(t *testing.T, token string, uid int) int {
	t.Helper()
	c := exec.Command("sh", "-c", "read x", token)
	if _, err := c.StdinPipe(); err != nil { // it ends with whoever runs the test, however that ends
		t.Fatal(err)
	}
	c.Env = []string{"PATH=/usr/bin:/bin", "SECRET=marker"}
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
	})
	// Whoever runs the suite may do so at the lowest priority: nothing could slow down the victim then.
	if err := unix.Setpriority(unix.PRIO_PROCESS, c.Process.Pid, 0); err != nil {
		t.Logf("the victim keeps the suite's own priority: %v", err)
	}
	return c.Process.Pid
}

// carry makes programs that carry a right with them, in the directory dir of the host.
func carry(t *testing.T, probe, dir string) {
	t.Helper()
	for _, name := range []string{"setuid", "capable"} {
		if err := copyFile(probe, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() != 0 {
		t.Log("without root no program can be made that carries a right")
		return
	}
	if err := os.Chown(filepath.Join(dir, "setuid"), 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "setuid"), os.ModeSetuid|0o755); err != nil {
		t.Fatal(err)
	}
	// Version 2 of the attribute: all of cap_sys_admin (bit 21) permitted and effective.
	attribute := []byte{1, 0, 0, 2, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(filepath.Join(dir, "capable"), "security.capability", attribute, 0); err != nil {
		t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// yamaOn says whether processes may trace only their children.
func yamaOn() bool {
	data, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	return err == nil && strings.TrimSpace(string(data)) != "0"
}

// ignoresRights says whether a file system lets no program carry a right.
func ignoresRights(dir string) bool {
	var stat unix.Statfs_t
	return unix.Statfs(dir, &stat) == nil && stat.Flags&unix.ST_NOSUID != 0
}

// capable says whether this process has a capability.
func capable(c uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[c/32].Effective&(1<<(c%32)) != 0
}
