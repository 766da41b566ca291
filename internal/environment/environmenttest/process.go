package environmenttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// stubborn is a process that ignores what can be ignored and says that it lives, by a file that grows.
// Its arguments are a token, to find it by, and the file. It is written for sh, without the session.
const stubborn = `trap '' TERM HUP INT QUIT PIPE; while :; do echo >>"$2"; sleep 0.02; done`

func testProcesses(t *testing.T, r *rig) {
	b := r.open(t)
	r.run(t, "commands run in parallel", func(t *testing.T) { testParallel(t, b) })
	r.run(t, "a timeout kills the command's whole group", func(t *testing.T) {
		testKilled(t, b, environment.ReasonTimeout, func(c environment.Command) (res result, err error) {
			for c.Timeout = time.Second; c.Timeout < b.rig.wait()/2; c.Timeout *= 3 { // a busy machine may need more to begin it
				if res, err = b.try(c); err != nil || size(b, "beat") > 0 {
					break
				}
			}
			return res, err
		})
	})
	r.run(t, "the end of ctx kills the command's whole group", func(t *testing.T) {
		testKilled(t, b, environment.ReasonCancelled, func(c environment.Command) (result, error) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				defer cancel()
				for end := time.Now().Add(b.rig.wait()); time.Now().Before(end) && size(b, "beat") == 0; {
					time.Sleep(5 * time.Millisecond)
				}
			}()
			return b.tryContext(ctx, c)
		})
	})
	r.run(t, "a command without a timeout has the environment's", func(t *testing.T) {
		b := r.open(t, func(s *environment.Spec) { s.Limits.CommandTime = 300 * time.Millisecond })
		if res := b.args(t, "sleep", "1000"); res.Code != -1 || res.Reason != environment.ReasonTimeout {
			t.Errorf("%v, want -1 for the reason timeout", res)
		}
	})
	r.run(t, "what runs in the background lives across commands", func(t *testing.T) {
		b := r.open(t)
		pid := strings.TrimSpace(b.sh(t, `setsid sh -c "$1" "$2" token beat >/dev/null 2>&1 </dev/null & echo $!`, stubborn, b.spec.ID))
		for range 3 {
			before := size(b, "beat")
			r.until(t, "the background process goes on", func() bool { return size(b, "beat") > before })
			b.sh(t, `kill -0 "$1"`, pid)
		}
	})
	r.run(t, "who holds the output open delays no more than the grace", func(t *testing.T) { testGrace(t, b) })
	r.run(t, "orphans are reaped", func(t *testing.T) {
		// Were the zombies kept, they would use up the limit of 128 processes.
		for range 10 {
			b.sh(t, `i=0; while [ $i -lt 30 ]; do (sleep 0 & ); i=$((i+1)); done`)
		}
	})
	r.run(t, "use is counted", func(t *testing.T) { testUsage(t, r) })
}

// testParallel lets every command wait for all the others.
func testParallel(t *testing.T, b *box) {
	const n = 12
	b.sh(t, "rm -rf meet && mkdir meet")
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			res, err := b.try(environment.Command{Args: []string{"sh", "-c", `touch meet/$1; until [ "$(ls meet | wc -l)" -ge $2 ]; do sleep 0.02; done; echo met $1`, "sh", fmt.Sprint(i), fmt.Sprint(n)}})
			if want := fmt.Sprintf("met %d\n", i); err != nil || res.out != want {
				t.Errorf("command %d: %v, %v", i, res, err)
			}
		})
	}
	group.Wait()
}

// size is that of a file in the workspace, 0 when it is not there yet.
func size(b *box, name string) int64 {
	info, err := os.Stat(filepath.Join(b.spec.Workspace, name))
	if err != nil {
		return 0
	}
	return info.Size()
}

// still fails the test when a file in the workspace still grows: its writer lives. This is the one
// place where the suite can only watch for a while, fifty times as long as a living writer pauses.
func still(t *testing.T, b *box, name string) {
	t.Helper()
	before := size(b, name)
	time.Sleep(time.Second)
	if after := size(b, name); after != before {
		t.Errorf("a process that must be gone still writes: %s grew from %d to %d bytes", name, before, after)
	}
}

func testKilled(t *testing.T, b *box, reason environment.Reason, run func(environment.Command) (result, error)) {
	b.sh(t, "rm -f beat")
	start := time.Now()
	res, err := run(environment.Command{Args: []string{"sh", "-c", `trap '' TERM INT HUP; echo begun; sh -c "$1" "$2" token beat & wait; wait; sleep 1000`, "sh", stubborn, b.spec.ID}})
	if err != nil {
		t.Fatal(err)
	}
	if res.Code != -1 || res.Reason != reason || res.out != "begun\n" {
		t.Errorf("%v, want -1 for the reason %s", res, reason)
	}
	if size(b, "beat") == 0 {
		t.Error("the command's child never ran: nothing was tested")
	}
	if took := time.Since(start); took > b.rig.wait() {
		t.Errorf("it took %v", took)
	}
	still(t, b, "beat")
	b.sh(t, "true") // the environment itself lives
}

func testGrace(t *testing.T, b *box) {
	start := time.Now()
	res := b.args(t, "sh", "-c", `sh -c "$1" "$2" token held & echo done`, "sh", stubborn, b.spec.ID)
	if res.out != "done\n" || res.Code != 0 {
		t.Errorf("%v", res)
	}
	if took := time.Since(start); took > environment.OutputGrace+b.rig.wait()/10 {
		t.Errorf("a daemon that holds the output open delayed its command by %v, the grace is %v", took, environment.OutputGrace)
	}
	before := size(b, "held")
	b.rig.until(t, "the daemon lives on", func() bool { return size(b, "held") > before })
	b.sh(t, "true")
}

func testUsage(t *testing.T, r *rig) {
	b := r.open(t)
	before := b.Usage()
	b.sh(t, `i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo 12345678`)
	b.sh(t, `echo`)
	after := b.Usage()
	if n := after.Commands - before.Commands; n != 2 {
		t.Errorf("2 commands count as %d", n)
	}
	if n := after.OutputBytes - before.OutputBytes; n != 10 {
		t.Errorf("10 bytes of output count as %d", n)
	}
	const held = 64 << 20
	if name := r.provider.Name(); name == "ns" || name == "landlock" { // with control groups or without
		b.sh(t, `dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null`)
		if n := b.Usage().MemoryBytes; n < held || n > 4*held {
			t.Errorf("a command that held %d bytes, and ended, counts as %d", held, n)
		}
	}
	if after.CPU <= before.CPU {
		t.Errorf("a loop took no processor time: %v, then %v", before.CPU, after.CPU)
	}
}

func testClose(t *testing.T, r *rig) {
	r.run(t, "no process survives", func(t *testing.T) {
		b := r.open(t)
		b.daemons(t)
		b.close(t)
		b.gone(t)
	})
	r.run(t, "it ends commands, can be called again and from many goroutines", func(t *testing.T) { testCloseTwice(t, r) })
	r.run(t, "the workspace stays", func(t *testing.T) {
		b := r.open(t)
		b.sh(t, "echo kept > file")
		b.close(t)
		if data, err := os.ReadFile(filepath.Join(b.spec.Workspace, "file")); string(data) != "kept\n" {
			t.Errorf("%q, %v", data, err)
		}
		again := r.openSpec(t, b.spec)
		if out := again.sh(t, "cat file && echo more >> file && cat file"); out != "kept\nkept\nmore\n" {
			t.Errorf("opened again: %q", out)
		}
	})
	r.run(t, "a lifetime that is over ends it", func(t *testing.T) {
		var b *box
		for life := 1500 * time.Millisecond; ; life *= 4 {
			b = r.open(t, func(s *environment.Spec) { s.Limits.Lifetime = life })
			if b.tryDaemons(t) {
				break
			}
			if life > r.wait() { // else it was over before they ran, on a busy machine
				t.Fatalf("no daemon runs in %s", life)
			}
		}
		res, err := b.try(environment.Command{Args: []string{"sleep", "1000"}})
		if err == nil && (res.Code != -1 || res.Reason != environment.ReasonExpired) {
			t.Errorf("the command that was running: %v, want -1 for the reason expired", res)
		} else if err != nil {
			refused(t, "the command that was running", err, stead.KindUnavailable)
		}
		r.until(t, "Done is closed when the lifetime is over", func() bool { return ended(b) })
		b.gone(t)
		_, err = b.try(environment.Command{Args: []string{"true"}})
		notStarted(t, "a command after it", err, stead.KindUnavailable)
	})
	r.run(t, "one that was killed says so", func(t *testing.T) {
		if r.opts.Kill == nil {
			t.Skip("the driver has no resident process that could be killed")
		}
		if !r.claims(environment.ControlCleanup) {
			t.Skip("the driver's report says that this does not hold here")
		}
		b := r.open(t)
		b.daemons(t)
		r.opts.Kill(t, b.Environment)
		r.until(t, "Done is closed when the environment was killed", func() bool { return ended(b) })
		_, err := b.try(environment.Command{Args: []string{"true"}})
		notStarted(t, "a command after it", err, stead.KindUnavailable)
		b.gone(t)
	})
}

func ended(b *box) bool {
	select {
	case <-b.Done():
		return true
	default:
		return false
	}
}

// daemons starts what is hard to kill: in the session of a command, in sessions of their own, and
// forked twice. Each carries the environment's id in its arguments.
func (b *box) daemons(t *testing.T) {
	t.Helper()
	if !b.tryDaemons(t) {
		t.Fatal("the environment is over, and its daemons do not run")
	}
}

// tryDaemons reports whether the daemons ran before the environment was over.
func (b *box) tryDaemons(t *testing.T) bool {
	t.Helper()
	res, err := b.try(environment.Command{Args: []string{"sh", "-c", `for i in 1 2; do
		sh -c "$1" "$2" token beat$i >/dev/null 2>&1 &
		setsid sh -c "$1" "$2" token beat$i >/dev/null 2>&1 &
		(setsid sh -c "$1" "$2" token beat$i >/dev/null 2>&1 & ) &
	done`, "sh", stubborn, b.spec.ID}})
	if failed := err != nil || res.Code != 0; failed && (res.Reason == environment.ReasonExpired || ended(b)) {
		return false
	} else if failed {
		t.Fatalf("the daemons: %v, %v", res, err)
	}
	ran := func() bool { return size(b, "beat1") > 0 && size(b, "beat2") > 0 }
	b.rig.until(t, "the daemons run", func() bool { return ran() || ended(b) })
	return ran()
}

// gone checks that no daemon lives: none writes, and none of the host's processes has the id in its
// arguments (those of a driver with a kernel of its own are not seen there; their files are).
func (b *box) gone(t *testing.T) {
	t.Helper()
	var left []int
	for end := time.Now().Add(b.rig.wait() / 3); ; {
		if left = b.processes(); len(left) == 0 || time.Now().After(end) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if len(left) > 0 {
		t.Errorf("these processes survived: %d", left)
	}
	still(t, b, "beat1")
}

// processes lists the host's processes that b's daemons are: no others have its id in their arguments.
func (b *box) processes() []int {
	var found []int
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline") // none where there is no /proc
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(data), b.spec.ID+"\x00token") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			found = append(found, pid)
		}
	}
	return found
}

func testCloseTwice(t *testing.T, r *rig) {
	b := r.open(t)
	type answer struct {
		result
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		res, err := b.try(environment.Command{Args: []string{"sh", "-c", "touch begun; sleep 1000"}})
		answers <- answer{res, err}
	}()
	r.until(t, "the command runs", func() bool {
		_, err := os.Stat(filepath.Join(b.spec.Workspace, "begun"))
		return err == nil
	})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { b.close(t) })
	}
	group.Wait()
	select {
	case a := <-answers:
		if a.err == nil && a.Code != -1 && a.Code != 137 {
			t.Errorf("the command that ran: %v", a.result)
		} else if a.err != nil {
			refused(t, "the command that ran", a.err, stead.KindUnavailable)
		}
	case <-time.After(r.wait()):
		t.Error("Exec did not return after Close")
	}
	if !ended(b) {
		t.Error("Done is not closed after Close")
	}
	b.close(t)
}
