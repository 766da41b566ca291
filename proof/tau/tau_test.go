package tau

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead/proof/effect"
	"github.com/stead-dev/stead/proof/rig"
	"github.com/stead-dev/stead/proof/tau/trajectory"
)

var (
	kills = flag.Int("kills", 30, "SIGKILLs in each of the tests that kill")
	seed  = flag.Uint64("seed", 1, "of the moments and of how long the tools work")
)

const (
	// atOnce is how many conversations are held at once.
	atOnce = 12
	// wholeTimeout bounds one test.
	wholeTimeout = 4 * time.Minute
	// toolWork is the most that a call works, on each side of its effect, when there are kills: so
	// that there is something to interrupt.
	toolWork = 40 * time.Millisecond
)

var programs struct{ stead, airline string } // set by TestMain, read by the tests

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(rig.Main(m, map[string]*string{"./cmd/stead": &programs.stead, "./proof/tau/airline": &programs.airline}))
}

// data finds the recordings and the recorded model, or skips the test.
func data(t *testing.T) (dir, model string) {
	dir = os.Getenv("STEAD_TAU_DIR")
	if dir == "" {
		root, err := rig.Root()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(root, "..", "shared", "data", "tau-airline")
		if _, err := os.Stat(filepath.Join(dir, trajectory.File)); err != nil {
			t.Skipf("the recorded conversations are not here: set STEAD_TAU_DIR to the folder with %s", trajectory.File)
		}
	}
	model = os.Getenv("STEAD_TAU_MODEL")
	if model == "" {
		model = filepath.Join(dir, "..", "tools", "traj_llm.py")
	}
	if _, err := os.Stat(model); err != nil {
		t.Fatalf("the recorded model is not here (STEAD_TAU_MODEL): %v", err)
	}
	return dir, model
}

// stage is everything that runs in one test.
type stage struct {
	t      *testing.T
	all    []trajectory.Trajectory
	class  string
	node   *rig.Node
	desk   *rig.Server
	ledger string
	client *rig.Client
}

func newStage(t *testing.T, class string, work time.Duration) *stage {
	dir, model := data(t)
	s := &stage{t: t, class: class, ledger: filepath.Join(t.TempDir(), "ledger.jsonl")}
	var err error
	if s.all, err = trajectory.Load(dir); err != nil {
		t.Fatal(err)
	}
	s.desk, err = rig.StartServer(programs.airline, "-ledger", s.ledger, "-data", dir, "-work", work.String(), "-seed", fmt.Sprint(*seed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.desk.Close)
	upstream := startModel(t, model, dir)
	config := fmt.Sprintf(`providers:
  - {name: chat, api: chat, base_url: %[1]s/v1, api_key: none}
  - {name: responses, api: responses, base_url: %[1]s/v1, api_key: none}
mcp_servers:
  - {label: airline, url: %[2]s/mcp}
`, upstream, s.desk.URL())
	s.node, err = rig.NewNode(rig.NodeOptions{Program: programs.stead, Dir: filepath.Join(t.TempDir(), "node"), Config: config})
	if err == nil {
		err = s.node.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.node.Kill)
	s.client = rig.NewClient(s.node.URL())
	return s
}

// startModel runs the recorded model on a free port until the test ends.
func startModel(t *testing.T, program, dir string) string {
	port, err := rig.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", program, filepath.Join(dir, trajectory.File), fmt.Sprint(port))
	// It complains of every connection that a kill resets: nothing to show.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := rig.PollURL(rig.StartTimeout, base+"/log"); err != nil {
		t.Fatal(err)
	}
	return base
}

// TestPlain plays all conversations without harm, half of them in each dialect.
func TestPlain(t *testing.T) {
	s := newStage(t, effect.Idempotent, 0)
	s.check(s.play(nil))
}

// TestKilledWithKeys plays all of them under kills, over again until the kills are spent, with tools that honour the idempotency key:
// every recorded call arrives exactly once.
func TestKilledWithKeys(t *testing.T) {
	s := newStage(t, effect.Idempotent, toolWork)
	s.check(s.play(s.harm))
}

// TestKilledWithoutKeys plays them with tools of which nobody knows what repeating would do: a call
// whose outcome was lost is asked about, answered from the server's ledger, and never repeated.
func TestKilledWithoutKeys(t *testing.T) {
	s := newStage(t, effect.Unknown, toolWork)
	played := s.play(s.harm)
	s.check(played)
	asked := 0
	for _, c := range played {
		asked += len(c.asked)
	}
	t.Logf("%d unknown outcomes were asked about and answered", asked)
	if asked == 0 {
		t.Error("nothing was proved: no kill came into a call")
	}
}

// play holds all conversations, some at once, while harm is done, and begins again with the first one
// as long as it is.
func (s *stage) play(harm func(ctx context.Context) error) []*conversation {
	ctx, cancel := context.WithTimeout(s.t.Context(), wholeTimeout)
	defer cancel()
	queue := make(chan *conversation)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for c := range queue {
				c.fault = c.play(ctx)
			}
		})
	}
	harmed := make(chan struct{})
	var fault error
	go func() {
		defer close(harmed)
		if harm != nil {
			fault = harm(ctx)
		}
	}()
	var played []*conversation
	over := false
	for n := 0; n < len(s.all) || !over; n++ {
		c := &conversation{stage: s, asked: map[string]bool{}, count: n, number: n % len(s.all), dialect: []string{"chat", "responses"}[n%2]}
		played = append(played, c)
		queue <- c
		select {
		case <-harmed:
			over = true
		case <-ctx.Done():
			over = true
		default:
		}
	}
	close(queue)
	wg.Wait()
	<-harmed
	if fault != nil {
		s.t.Fatal(fault)
	}
	return played
}

// harm kills the node at moments of every kind, until the kills are spent: while a call is at the tool server before its effect, after it and before its answer, when
// the answer is on its way to the commit, and at any time, between turns too.
func (s *stage) harm(ctx context.Context) error {
	rnd := rand.New(rand.NewPCG(*seed, 99))
	moments := []string{effect.PhaseReceived, effect.PhaseApplied, effect.PhaseAnswered, "any"}
	hits := map[string]int{}
	defer func() { s.t.Logf("moments hit: %v", hits) }()
	for i := range *kills {
		moment := moments[i%len(moments)]
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(rnd.Int64N(int64(400 * time.Millisecond)))):
		}
		if moment != "any" {
			hold := 50 * time.Millisecond
			if moment == effect.PhaseAnswered {
				hold = 0
			}
			hit, err := s.desk.AwaitPhase(moment, hold, 3*time.Second)
			if err != nil {
				return err
			}
			if !hit {
				moment = "none in time"
			}
			time.Sleep(time.Duration(rnd.Int64N(int64(3 * time.Millisecond)))) // around the commit
		}
		hits[moment]++
		s.node.Kill()
		if err := s.node.Start(); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return nil
}
