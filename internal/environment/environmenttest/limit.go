package environmenttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// testLimits holds the driver to its report: a control that it claims without a gap has to hold, and
// one that has a gap is not tried, since the report says what does not hold.
func testLimits(t *testing.T, r *rig) {
	for _, c := range []struct {
		control string
		test    func(*testing.T, *rig)
	}{
		{environment.ControlMemory, testMemory},
		{environment.ControlPIDs, testPIDs},
		{environment.ControlCPU, testCPU},
		{environment.ControlDisk, testDisk},
		{environment.ControlOpenFiles, testOpenFiles},
	} {
		r.run(t, c.control, func(t *testing.T) {
			if !r.claims(c.control) {
				t.Skip("the driver's report says that this does not hold here")
			}
			c.test(t, r)
		})
	}
}

func testMemory(t *testing.T, r *rig) {
	const limit = 256 << 20
	open := func(t *testing.T) *box {
		b := r.open(t, func(s *environment.Spec) { s.Limits.MemoryBytes = limit })
		b.putProbe(t)
		return b
	}
	r.run(t, "what is within it is had", func(t *testing.T) {
		if res := open(t).args(t, "./probe", "eat", "100"); res.Code != 0 {
			t.Errorf("100 MiB of 256: %v", res)
		}
	})
	r.run(t, "one process", func(t *testing.T) {
		res, err := open(t).try(environment.Command{Args: []string{"./probe", "eat", "400"}})
		overMemory(t, res, err)
	})
	r.run(t, "many together", func(t *testing.T) {
		res, err := open(t).try(environment.Command{Args: []string{"sh", "-c", `for i in 1 2 3 4; do ./probe eat 100 5s & pids="$pids $!"; done; for p in $pids; do wait $p || exit 1; done`}})
		overMemory(t, res, err)
	})
	r.run(t, "tmp counts", func(t *testing.T) {
		b := open(t)
		if b.rig.opts.HostPaths {
			t.Skip("this driver's /tmp is on the disk of the workspace: see disk")
		}
		res, err := b.try(environment.Command{Args: []string{"sh", "-c", "dd if=/dev/zero of=/tmp/big bs=65536 count=6100"}})
		overMemory(t, res, err)
		if !strings.Contains(res.out+res.err, "No space left on device") {
			t.Errorf("who fills /tmp is told %v, %v", res, err)
		}
		b.args(t, "sh", "-c", "head -c 400000000 /dev/zero > /dev/shm/big") // beside it, if there is one
		if got := b.sh(t, "echo alive"); got != "alive\n" {
			t.Errorf("with /tmp full the environment answers %q", got)
		}
	})
	r.run(t, "files in tmp count", func(t *testing.T) {
		b := open(t)
		if b.rig.opts.HostPaths {
			t.Skip("this driver's /tmp is on the disk of the workspace: see disk")
		}
		if res := b.args(t, "sh", "-c", "i=0; while [ $i -lt 100000 ]; do : > /tmp/$i || exit 1; i=$((i+1)); done"); res.Code == 0 {
			t.Errorf("100,000 files were had in /tmp with a limit of 256 MiB: %v", res)
		}
		if got := b.sh(t, "echo alive"); got != "alive\n" {
			t.Errorf("with /tmp full of files the environment answers %q", got)
		}
	})
}

// overMemory accepts every end but success: that the command was killed, that memory was refused to
// it, or that the environment died.
func overMemory(t *testing.T, res result, err error) {
	t.Helper()
	if err == nil && res.Code == 0 {
		t.Errorf("400 MiB were had with a limit of 256: %v", res)
	}
}

func testPIDs(t *testing.T, r *rig) {
	small := func(s *environment.Spec) { s.Limits.Processes = 40 }
	b, other := r.open(t, small), r.open(t, small)
	b.putProbe(t)
	b.limited(t, 40)
	// The limit is one environment's own, even while another has used up all of its.
	go func() { _, _ = b.try(environment.Command{Args: []string{"./probe", "forks", "200", "10s"}}) }()
	for range 10 {
		other.sh(t, "for i in 1 2 3 4 5; do sleep 0.01 & done; wait")
	}
	r.run(t, "recovery", func(t *testing.T) { testCrowded(t, r) })
}

// limited fails the test here and now unless the environment's limit of processes is met: what follows is
// a bomb, and what a driver says of itself does not save this machine from it.
func (b *box) limited(t *testing.T, limit int) {
	t.Helper()
	res, err := b.try(environment.Command{Args: []string{"./probe", "forks", "200"}})
	if made := len(strings.Fields(res.out)); err != nil || made == 0 || made > limit {
		t.Fatalf("%d processes of 200 were made with a limit of %d: %v, %v", made, limit, res, err)
	}
}

// testCrowded: what a command leaves behind uses up all processes, and the next command runs all the
// same. Commands that run have something to say about it, if they are killed for it.
func testCrowded(t *testing.T, r *rig) {
	b := r.open(t, func(s *environment.Spec) { s.Limits.Processes = 40 })
	b.putProbe(t)
	b.limited(t, 40)
	var once sync.Once
	begun, over := make(chan struct{}), make(chan result, 1)
	go func() {
		exit, err := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "echo begun; sleep 300"}}, func(environment.Chunk) { once.Do(func() { close(begun) }) })
		over <- result{Exit: exit, err: fmt.Sprint(err)}
	}()
	<-begun
	for _, bomb := range []string{
		`i=0; while [ $i -lt 60 ]; do setsid sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done; sleep 1`,
		`setsid ./probe try forkbomb >/dev/null 2>&1 & sleep 1`,
	} {
		_, _ = b.try(environment.Command{Args: []string{"sh", "-c", bomb}, Timeout: 5 * time.Second})
		res := b.args(t, "sh", "-c", "echo alive | cat") // has to fork for it
		if res.out != "alive\n" {
			t.Errorf("after %q the environment answers %v", bomb, res)
		}
		t.Logf("after %q: %v", bomb, res) // whoever had to make room says so
	}
	select {
	case res := <-over:
		if res.Reason != environment.ReasonProcesses {
			t.Errorf("a command that ran ended with %v", res)
		}
	default: // it lives
	}
	b.close(t)
	b.gone(t)
}

func testCPU(t *testing.T, r *rig) {
	b := r.open(t, func(s *environment.Spec) { s.Limits.CPUMilli = 300 })
	start := time.Now()
	out := b.sh(t, `for i in 1 2 3 4; do sh -c 'while :; do :; done' & p="$p $!"; done; sleep 2; kill -9 $p; wait; times`)
	took := time.Since(start)
	times := strings.Fields(out) // of the shell, then of its children: user and system, as 0m1.25s
	if len(times) != 4 {
		t.Fatalf("%q", out)
	}
	user, _ := time.ParseDuration(times[2])
	system, _ := time.ParseDuration(times[3])
	if used, most := user+system, took*40/100+100*time.Millisecond; used > most {
		t.Errorf("four loops used %v of CPU in %v, the limit is 0.3 of one", used, took)
	}
}

func testDisk(t *testing.T, r *rig) {
	const limit = 32 << 20
	b := r.open(t, func(s *environment.Spec) { s.Limits.DiskBytes = limit })
	b.sh(t, "head -c 8000000 /dev/zero > small && rm small")
	res, err := b.try(environment.Command{Args: []string{"sh", "-c", `i=0; while [ $i -lt 64 ]; do head -c 4000000 /dev/zero > big$i || exit 1; i=$((i+1)); sleep 0.05; done`}})
	if err == nil && res.Code == 0 {
		t.Errorf("256 MB were written with a limit of 32 MiB: %v", res)
	}
	var total int64
	_ = filepath.WalkDir(b.spec.Workspace, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	if total > 4*limit {
		t.Errorf("%d bytes lie in the workspace, the limit is %d", total, limit)
	}
	fileCount(t, r)
}

// fileCount is the disk's other limit: what has a name takes time to look at, and memory, however small.
func fileCount(t *testing.T, r *rig) {
	const limit = 2000
	b := r.open(t, func(s *environment.Spec) { s.Limits.Files = limit })
	b.sh(t, "mkdir some && cd some && seq 500 | xargs touch")
	res, err := b.try(environment.Command{Args: []string{"sh", "-c", `for i in $(seq 60); do mkdir d$i && (cd d$i && seq 200 | xargs touch) || exit 1; sleep 0.05; done; sleep 5`}})
	if err == nil && (res.Code == 0 || res.Reason != environment.ReasonFiles) {
		t.Errorf("12,000 files were made with a limit of 2000: %v", res)
	}
	if out := b.sh(t, "sleep 1; rm -r d*; ls some | wc -l"); strings.TrimSpace(out) != "500" { // who makes room is not killed, however slow
		t.Errorf("%q", out)
	}
}

func testOpenFiles(t *testing.T, r *rig) {
	b := r.open(t, func(s *environment.Spec) { s.Limits.OpenFiles = 64 })
	if out := b.sh(t, "ulimit -Hn; ulimit -Sn"); out != "64\n64\n" {
		t.Errorf("the limits are %q, want 64", out)
	}
	b.fails(t, "ulimit -n 65")
}
