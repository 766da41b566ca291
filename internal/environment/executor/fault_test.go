package executor_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/executor"
)

// seed starts a test's random numbers; a failure prints it.
func seed(t *testing.T) *rand.Rand {
	s := uint64(time.Now().UnixNano())
	if given := os.Getenv("STEAD_SEED"); given != "" {
		fmt.Sscan(given, &s)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("STEAD_SEED=%d", s)
		}
	})
	return rand.New(rand.NewPCG(s, 1))
}

func behindProxy(t *testing.T, timing executor.Timing) (*rig, *proxy, *running) {
	r := newRig(t, timing)
	p := newProxy(t, r.server.Listener.Addr().String())
	e := r.run(r.register("env_1", p.url()), func(c *executor.Config) { c.Timing = timing })
	return r, p, e
}

// again runs a command until it was started: whoever asks while the executor is away is told so.
func again(t *testing.T, env environment.Environment, c func() environment.Command) string {
	t.Helper()
	var b bytes.Buffer
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // polls with a deadline
		b.Reset()
		x, err := env.Exec(t.Context(), c(), func(p environment.Chunk) { b.Write(p.Data) })
		if err == nil && x.Code == 0 {
			return b.String()
		}
		if !isNotStarted(err) || time.Now().After(deadline) {
			t.Fatalf("exit %+v, %v", x, err)
		}
	}
}

// Each command runs once, and its output comes whole, wherever its connection is cut: in the
// handshake, within frames and between them.
func TestCutAnywhere(t *testing.T) {
	random := seed(t)
	timing := quick()
	timing.BackoffMax = timing.BackoffMin
	r, p, e := behindProxy(t, timing)
	env := r.open("env_1")
	const stride, most = 11, 1100 // bytes: handshake, hello or welcome, and a command
	n := 0
	for _, down := range []bool{false, true} {
		for at := int64(1 + random.IntN(stride)); at < most; at += stride {
			f := fault{up: at}
			if down {
				f = fault{down: at}
			}
			p.set(f)
			p.cutAll()
			n++
			word := fmt.Sprintf("word%d", n)
			got := again(t, env, func() environment.Command {
				c := shell("cat >> log; echo said " + word)
				c.Stdin = strings.NewReader(word + "\n")
				return c
			})
			if got != "said "+word+"\n" {
				t.Fatalf("cut after %d bytes (down %v): got %q", at, down, got)
			}
		}
	}
	log, err := os.ReadFile(filepath.Join(e.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(log))
	for i, w := range lines {
		if w != fmt.Sprintf("word%d", i+1) {
			t.Fatalf("line %d is %q", i+1, w)
		}
	}
	if _, faults := p.counts(); len(lines) != n || faults < n/2 {
		t.Errorf("%d commands ran of %d, with %d cuts", len(lines), n, faults)
	}
}

// Megabytes in both directions come through many cuts, with nothing lost or doubled.
func TestStreamsThroughCuts(t *testing.T) {
	random := seed(t)
	r, p, _ := behindProxy(t, quick())
	env := r.open("env_1")
	inputs := make([][]byte, 4)
	for i := range inputs {
		inputs[i] = make([]byte, 1<<20)
		for j := range inputs[i] {
			inputs[i][j] = byte(random.Uint32())
		}
	}
	p.set(fault{again: func() fault { // called with the proxy's lock held
		f := fault{up: 20_000 + random.Int64N(200_000), twice: random.IntN(4) == 0}
		if random.IntN(2) == 0 {
			f = fault{down: 20_000 + random.Int64N(200_000)}
		}
		return f
	}})
	p.cutAll()
	var all sync.WaitGroup
	for _, in := range inputs {
		all.Go(func() {
			for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // polls with a deadline
				sums := map[environment.Stream]hash.Hash{environment.Stdout: sha256.New(), environment.Stderr: sha256.New()}
				x, err := env.Exec(t.Context(), environment.Command{
					Args: []string{"tee", "/dev/stderr"}, Stdin: bytes.NewReader(in), OutputBytes: environment.Unbounded, Timeout: patience,
				}, func(c environment.Chunk) { sums[c.Stream].Write(c.Data) })
				if isNotStarted(err) && time.Now().Before(deadline) {
					continue
				}
				want := sha256.Sum256(in)
				for s, sum := range sums {
					if err != nil || x.Code != 0 || !bytes.Equal(sum.Sum(nil), want[:]) {
						t.Errorf("stream %d is not what was sent: exit %+v, %v", s, x, err)
					}
				}
				return
			}
		})
	}
	all.Wait()
	if connections, faults := p.counts(); faults < 5 {
		t.Errorf("%d connections with %d cuts prove little", connections, faults)
	}
}

// A connection that is half dead, open but silent, does not keep the executor out.
func TestHalfDeadConnection(t *testing.T) {
	timing := quick()
	timing.Silence = 500 * time.Millisecond
	r, p, _ := behindProxy(t, timing)
	env := r.open("env_1")
	for i := range 4 {
		f := fault{up: 900, stall: true}
		if i%2 == 1 {
			f = fault{down: 500, stall: true}
		}
		p.set(f)
		p.cutAll()
		if got := again(t, env, func() environment.Command { return shell("sleep 0.2; echo still here") }); got != "still here\n" {
			t.Errorf("got %q", got)
		}
	}
	if _, faults := p.counts(); faults < 2 {
		t.Errorf("only %d connections stalled", faults)
	}
}

// The executor was away for too long: its commands are killed, and their outcome is unknown.
func TestGraceIsOver(t *testing.T) {
	timing := quick()
	timing.Grace = 300 * time.Millisecond
	r := newRig(t, timing)
	p := newProxy(t, r.server.Listener.Addr().String())
	e := r.run(r.register("env_1", p.url()), func(c *executor.Config) { c.Timing = timing })
	env := r.open("env_1")
	ended := make(chan error, 1)
	began := make(chan struct{}, 1)
	go func() {
		_, err := env.Exec(t.Context(), shell(`echo begun; while :; do date +%N > beat; sleep 0.01; done`), func(environment.Chunk) { began <- struct{}{} })
		ended <- err
	}()
	<-began
	p.set(fault{again: func() fault { return fault{up: 1} }})
	p.cutAll()
	if err := <-ended; isNotStarted(err) || stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("the command: %v", err)
	}
	<-env.Done()
	beat := filepath.Join(e.dir, "beat")
	until(t, "the command to be killed on its machine", func() bool {
		before, _ := os.ReadFile(beat)
		time.Sleep(50 * time.Millisecond)
		after, _ := os.ReadFile(beat)
		return string(before) == string(after)
	})
	p.set(fault{})
	if got, _ := output(t, r.open("env_1"), shell("echo anew")); got != "anew\n" {
		t.Errorf("afterwards: %q", got)
	}
}

// One command whose output nobody takes holds up itself alone, and fills no memory.
func TestSlowReader(t *testing.T) {
	r := newRig(t, quick())
	e := r.run(r.register("env_1", r.server.URL), nil)
	env := r.open("env_1")
	began, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	ended := make(chan error, 1)
	go func() {
		c := shell(`i=0; while :; do head -c 65536 /dev/zero; i=$((i+1)); echo $i > written; done`)
		c.OutputBytes = environment.Unbounded
		_, err := env.Exec(t.Context(), c, func(environment.Chunk) {
			once.Do(func() { close(began) })
			<-release
		})
		ended <- err
	}()
	<-began
	for range 20 {
		if got, _ := output(t, env, shell("echo quick")); got != "quick\n" {
			t.Errorf("got %q", got)
		}
	}
	written := func() string {
		b, _ := os.ReadFile(filepath.Join(e.dir, "written"))
		return strings.TrimSpace(string(b))
	}
	until(t, "the command to be held up", func() bool {
		before := written()
		output(t, env, shell("sleep 0.05"))
		return before != "" && before == written()
	})
	var blocks int
	fmt.Sscan(written(), &blocks)
	if most := 2 * executor.WindowBytes / 65536; blocks > most {
		t.Errorf("%d blocks were written before it was held up, more than %d", blocks, most)
	}
	close(release)
	if err := env.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil && !errors.Is(err, t.Context().Err()) {
		t.Errorf("ended with %v", err)
	}
}
