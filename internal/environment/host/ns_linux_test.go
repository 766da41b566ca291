package host

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/ns"
	"github.com/stead-dev/stead/internal/template"
)

// namespaced is a bench whose commands run in real sandboxes.
func namespaced(t *testing.T) *bench {
	t.Helper()
	p := ns.New(cgroup.Detect())
	if r := p.Probe(context.Background()); !r.Usable {
		if os.Getenv("CI") != "" {
			t.Fatalf("no namespaces here: %s %s", r.Problem, r.Remedy)
		}
		t.Skipf("no namespaces here: %s", r.Problem)
	}
	return newBench(t, func(c *Config) { c.Driver = p })
}

// TestSandboxFromSetUpToAnotherNode: a layer, a workspace, secrets, and both on a node that has nothing
// but the blobs.
func TestSandboxFromSetUpToAnotherNode(t *testing.T) {
	b := namespaced(t)
	c := commands("mkdir -p /opt/made && echo tool > /opt/made/tool && echo given > given")
	c.Env, c.Variables = map[string]string{"TOKEN": "hunter2"}, []string{"TOKEN"}
	b.setup(c)
	b.prepare()
	b.state.Tools = &answering{name: "first"}
	for _, dir := range []string{b.cfg.Dir, t.TempDir()} {
		b.again(func(c *Config) { c.Dir, c.Driver = dir, ns.New(cgroup.Detect()) })
		b.open()
		if got := b.sh("cat /opt/made/tool given; echo $TOKEN; test -S $STEAD_TOOLS && echo tools"); got != "tool\ngiven\nhunter2\ntools\n" {
			t.Errorf("inside: %q", got)
		}
		b.sh("echo more >> log; (sleep 100 & ) ")
		b.suspend()
	}
	b.is("/workspace/log", "more\nmore\n")
}

// TestALayerOnAnotherNodeIsTheSame: what a set-up removed is removed, and what it made has its owners, modes and links.
func TestALayerOnAnotherNodeIsTheSame(t *testing.T) {
	b := namespaced(t)
	owner := "true"
	if os.Getuid() == 0 {
		owner = "chown nobody /opt/nob"
	}
	b.setup(commands(`rm -f /usr/bin/env; rm -rf /etc/ssl; mkdir /etc/ssl; echo mine > /etc/ssl/only; mkdir -p /opt; echo 1 > /opt/one; ln /opt/one /opt/two
		echo x > /opt/nob; ` + owner + `; mkdir /opt/tool; chmod 1777 /opt/tool; mkfifo /opt/pipe; chmod 4711 /opt/one; mkdir /opt/shut; echo in > /opt/shut/f; chmod 700 /opt/shut`))
	b.prepare()
	const look = `ls -d /usr/bin/env 2>&1; ls -A /etc/ssl; stat -c "%n %F %U:%G %a %h" /opt/* | sort`
	b.open()
	here := b.sh(look)
	if !strings.Contains(here, "only") || strings.Contains(here, "certs") || !strings.Contains(here, "1777") || !strings.Contains(here, "4711 2") {
		t.Errorf("where it was made it is\n%s", here)
	}
	b.suspend()
	b.again(func(c *Config) { c.Dir, c.Driver = t.TempDir(), ns.New(cgroup.Detect()) })
	b.open()
	if there := b.sh(look); there != here {
		t.Errorf("elsewhere it is\n%s\nand not\n%s", there, here)
	}
}

func TestSandboxIsForgottenWhole(t *testing.T) {
	b := namespaced(t)
	b.setup(networked(template.AccessEnabled))
	b.prepare()
	b.open()
	b.sh("mkdir -p a/b && echo x > a/b/c && chmod 000 a/b a; ln -s /etc e")
	b.save()
	if err := b.Forget(context.Background(), b.key); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(b.cfg.Dir, EnvironmentsDir, "*", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left are %q, %v", left, err)
	}
}

// TestSandboxThatIsDroppedEndsItsProcesses: and the workspace stays.
func TestSandboxThatIsDroppedEndsItsProcesses(t *testing.T) {
	b := namespaced(t)
	b.prepare()
	o := b.open()
	b.sh("echo kept > f; (while :; do echo beat >> beats; sleep 0.05; done) >/dev/null 2>&1 &")
	b.Drop(b.key, b.state.Residence)
	select {
	case <-o.Done:
	default:
		t.Error("it was dropped, and is not done")
	}
	first := b.read("/workspace/beats")
	if o := b.open(); !o.Kept {
		t.Error("its workspace is gone")
	}
	if second := b.read("/workspace/beats"); second != first || strings.TrimSpace(b.read("/workspace/f")) != "kept" {
		t.Errorf("somebody wrote on: %d and %d bytes", len(first), len(second))
	}
}

// TestWhatACommandLeavesBehindIsSeen: no tool knows of it, and it may write.
func TestWhatACommandLeavesBehindIsSeen(t *testing.T) {
	b := namespaced(t)
	b.prepare()
	b.open()
	if got := b.Background(b.key); len(got) != 0 {
		t.Errorf("in an empty box run %q", got)
	}
	b.sh("setsid sleep 100 >/dev/null 2>&1 &")
	if s := b.save(); len(s.Background) != 1 || s.Background[0] != leftBehind {
		t.Errorf("in the background run %q", s.Background)
	}
	// Beside a command that a tool knows as well: of the two processes that run, one is it.
	defer b.began(b.key, "serve")()
	b.sh("setsid sleep 100 >/dev/null 2>&1 &")
	if got := b.Background(b.key); !slices.Equal(got, []string{"serve", leftBehind}) {
		t.Errorf("in the background run %q", got)
	}
	b.sh("pkill sleep || kill -9 -1")
}
