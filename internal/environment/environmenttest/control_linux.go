package environmenttest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// HostileControl runs the same attacks on the bare host, where each has to succeed: one that fails
// there too would prove nothing about a driver. What this machine refuses to everybody is named with
// the reason. Attackers are the user that is natural for an attack; they aim at what the test made,
// they only open what it would be harmful to write, mounts and addresses are made in namespaces of
// the attack's own, and bombs are small. It needs no driver.
func HostileControl(t *testing.T) {
	c := newControl(t)
	t.Run("Probes", c.probes)
	t.Run("Races", c.races)
	t.Run("Bombs", c.bombs)
	t.Run("Daemons", c.daemons)
	t.Run("Bystanders", c.bystanders)
}

// control is a place on the bare host where attackers work.
type control struct {
	rig   *rig
	dir   string // where they work; everybody may write there
	field *field
}

func newControl(t *testing.T) *control {
	t.Helper()
	c := &control{rig: newRig(t, Bare{}, Options{HostPaths: true}), dir: publicDir(t), field: newField(t, nobody)}
	c.field.bare = true
	if err := os.Chmod(c.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	program, err := c.rig.probe()
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := c.rig.probe32()
	if err != nil {
		t.Fatal(err)
	}
	if err := copyFile(program, filepath.Join(c.dir, "probe")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "probe32"), narrow, 0o755); err != nil {
		t.Fatal(err)
	}
	carry(t, program, c.dir)
	c.field.setuid, c.field.capable = "./setuid", "./capable"
	return c
}

func (c *control) probes(t *testing.T) {
	var all []verdict
	defer func() { t.Logf("bare host:%s", table(all)) }()
	for _, p := range append(probes(), narrow()...) {
		t.Run(p.name, func(t *testing.T) {
			if p.bare != asUser && os.Getuid() != 0 {
				t.Skipf("it takes %v to show that this can succeed, and the test is run by user %d", p.bare, os.Getuid())
			}
			v, err := c.attack(t, p)
			if err != nil {
				v = verdict{p.name, true, err.Error()}
			}
			if !v.blocked {
				v.why = "as " + p.bare.String() + ": " + v.why
				all = append(all, v)
				return
			}
			for answer, reason := range p.refused {
				if strings.Contains(v.why, answer) {
					v.why = "this machine refuses it: " + reason
					all = append(all, v)
					t.Log(v.why)
					return
				}
			}
			all = append(all, v)
			t.Errorf("it fails on the bare host too, as %v, so that it proves nothing: %s", p.bare, v.why)
		})
	}
}

// attack runs a probe bare. An error says that the program did not start.
func (c *control) attack(t *testing.T, p probe) (verdict, error) {
	t.Helper()
	program, args := p.program(c.field)
	ctx, cancel := context.WithTimeout(t.Context(), c.rig.wait())
	defer cancel()
	words := append([]string{program, "try"}, args...)
	if p.bare == asNetRoot {
		words = []string{program, "with-address", "169.254.169.254", program, strings.Join(words[1:], " ")}
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + c.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: 0}
	switch {
	case p.bare == asUser && os.Getuid() == 0:
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	case p.bare == asNetRoot:
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWNET
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS
	case p.bare == asRoot:
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS
	}
	switch args[0] {
	case "fds":
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		cmd.ExtraFiles = []*os.File{null}
	case "tiocsti":
		terminal := openTerminal(t)
		cmd.Stdin = terminal
		cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return verdict{}, err
	}
	res := result{out: out.String(), err: errs.String()}
	res.Code = cmd.ProcessState.ExitCode()
	return read(t, p.name, res), nil
}

// openTerminal makes a terminal of the test's own and returns the side that programs sit at.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	other, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	if err := unix.IoctlSetPointerInt(int(other.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(int(other.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal
}

// races shows that the exchanging names lead those outside who follow paths in the plain way.
func (c *control) races(t *testing.T) {
	outside := publicDir(t)
	marker := filepath.Join(outside, "file")
	if err := os.WriteFile(marker, []byte("marker"), 0o666); err != nil {
		t.Fatal(err)
	}
	b := c.rig.open(t)
	b.putProbe(t)
	defer b.background(t, race{outside: outside}.set(t, b)...)()
	if b.args(t, attributeRace()...); sameAttributes(outside) == nil {
		t.Error("all changes missed the file outside: the race proves nothing")
	}
	tries, leaks := 0, 0
	for end := time.Now().Add(c.rig.wait()); leaks == 0 && time.Now().Before(end); tries++ {
		// Beside the FIFO a plain open would wait for ever: this one does not, and is plain else.
		f, err := os.OpenFile(filepath.Join(b.spec.Workspace, "race/dir/file"), os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		data := make([]byte, 100)
		n, _ := f.Read(data)
		if bytes.Contains(data[:n], []byte("marker")) {
			leaks++
		}
		f.Close()
	}
	if leaks == 0 {
		t.Errorf("%d plain reads all missed the file outside: the race proves nothing", tries)
	}
	for end := time.Now().Add(c.rig.wait()); time.Now().Before(end); {
		if err := os.WriteFile(filepath.Join(b.spec.Workspace, "race/dir/file"), []byte("written"), 0o644); err != nil {
			continue
		}
		if data, _ := os.ReadFile(marker); string(data) == "written" {
			return
		}
	}
	t.Error("plain writes all missed the file outside: the race proves nothing")
}

// bombs throws small ones, each above what the suite sets as a limit, and finds none.
func (c *control) bombs(t *testing.T) {
	for _, args := range [][]string{{"forks", "100"}, {"allocate", "300"}, {"fill", "48"}, {"descriptors", "300"}, {"inodes", "1000"}, {"deep", "300"}} {
		b := c.rig.open(t)
		b.putProbe(t)
		if res := b.args(t, append([]string{"./probe", "try"}, args...)...); !strings.Contains(res.out, "succeeded:") {
			t.Errorf("%q is stopped on the bare host too: %v", args, res)
		}
	}
}

// daemons shows that what the suites start survives a close that does nothing about it.
func (c *control) daemons(t *testing.T) {
	b := c.rig.open(t)
	b.daemons(t)
	b.close(t)
	left := b.processes()
	for _, pid := range left {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if len(left) == 0 {
		t.Error("the daemons died without a border: they prove nothing")
	}
	c.rig.until(t, "the daemons are gone", func() bool { return len(b.processes()) == 0 })
}
