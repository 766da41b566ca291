package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/ns"
	"github.com/stead-dev/stead/proof/rig"
)

// Sizes of the load on environments, and times.
const (
	computers = 4 // sessions whose commands append lines
	// sweepTime is how long a process may outlive a server that was killed.
	sweepTime = 2 * time.Second
	// cycles of suspend, fork and resume: chains times links.
	chains, links = 10, 10
	cycleTimeout  = 60 * time.Second
)

// marker is the variable by which commands of this test are known.
const marker = "CHAOS_RUN"

// scribe is the application of one session with an environment.
type scribe struct {
	client  *rig.Client
	n       int
	mark    string
	rnd     *rand.Rand
	session string
	turns   [][]string // the lines of each turn that was accepted
	gaveUp  int
	fault   error
}

// TestEnvironments kills a server while its sessions' commands append lines to files: no process
// outlives it, no session is stuck, and what a completed turn wrote is there, once.
func TestEnvironments(t *testing.T) {
	driver := ns.New(cgroup.Detect())
	if r := driver.Probe(t.Context()); !r.Usable {
		if os.Getenv("CI") != "" {
			t.Fatalf("no namespaces here: %s %s", r.Problem, r.Remedy)
		}
		t.Skipf("no namespaces here: %s", r.Problem)
	}
	node, err := rig.NewNode(rig.NodeOptions{Program: programs.stead, Dir: t.TempDir(), Config: "environments: {driver: ns, idle_seconds: 1}\n"})
	if err == nil {
		err = node.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Kill)
	client := rig.NewClient(node.URL())
	mark := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := make(chan struct{})
	var all []*scribe
	var wg sync.WaitGroup
	for i := range computers {
		s := &scribe{client: client, n: i, mark: mark, rnd: rand.New(rand.NewPCG(*seed, uint64(100+i)))}
		all = append(all, s)
		wg.Go(func() { s.fault = s.run(ctx, stop) })
	}
	rnd := rand.New(rand.NewPCG(*seed, 99))
	busy := 0
	for range *kills {
		time.Sleep(time.Duration(rnd.Int64N(int64(1200 * time.Millisecond)))) // the moment itself, not a wait for something
		found := processes(node.Pid(), mark)
		if len(found) > 0 {
			busy++
		}
		node.Kill()
		if err := rig.Poll(sweepTime, "the processes of a killed server to end", func() error { return gone(found, mark) }); err != nil {
			t.Error(err)
		}
		if err := node.Start(); err != nil {
			cancel()
			wg.Wait()
			t.Fatal(err)
		}
	}
	close(stop)
	timer := time.AfterFunc(settleTimeout, cancel)
	wg.Wait()
	timer.Stop()
	var turns, lines, resets, gaveUp int
	for _, s := range all {
		err := s.fault
		if err == nil {
			var l, r int
			l, r, err = s.check(t.Context())
			lines, resets = lines+l, resets+r
		}
		if err != nil {
			path := filepath.Join(keepDir(), fmt.Sprintf("stead-chaos-seed%d-%s.jsonl", *seed, s.session))
			_ = writeFile(path, client.Export(t.Context(), s.session))
			t.Errorf("session %s: %v\nits journal: %s", s.session, err, path)
		}
		turns, gaveUp = turns+len(s.turns), gaveUp+s.gaveUp
	}
	t.Logf("%d kills, %d of them with processes; %d turns, %d lines acknowledged, %d outcomes given up, %d resets", *kills, busy, turns, lines, gaveUp, resets)
	if busy == 0 || lines == 0 || resets == 0 {
		t.Error("nothing was proved")
	}
	if !t.Failed() {
		cycle(t, client, mark)
	}
	found := processes(node.Pid(), mark)
	if err := node.Stop(); err != nil {
		t.Error(err)
	}
	if err := gone(found, mark); err != nil {
		t.Errorf("after a graceful end: %v", err)
	}
}

// create makes a session whose commands carry the mark.
func create(ctx context.Context, client *rig.Client, key, mark, text string) (string, error) {
	var s rig.Session
	err := client.Insist(ctx, http.MethodPost, "/v1/agents/sessions", key, map[string]any{
		"environment": map[string]any{"type": "openai_hosted", "env": map[string]string{marker: mark}},
		"input":       text, "agent": map[string]any{"model": "sim"},
	}, &s)
	return s.ID, err
}

func (s *scribe) run(ctx context.Context, stop <-chan struct{}) error {
	first := s.plan()
	id, err := create(ctx, s.client, fmt.Sprintf("scribe-%d", s.n), s.mark, first)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	s.session = id
	for {
		if err := s.settle(ctx); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		default:
		}
		if err := s.client.Send(ctx, s.session, fmt.Sprintf("turn-%d", len(s.turns)), rig.Message(s.plan())); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
}

// plan draws a turn: one to three commands at once or one after another, each of which appends a line,
// takes its time and may leave a process behind.
func (s *scribe) plan() string {
	var lines, text []string
	for i := range 1 + s.rnd.IntN(3) {
		line := fmt.Sprintf("s%d-t%d-l%d", s.n, len(s.turns), i)
		command := fmt.Sprintf("sleep 0.%02d; echo %s >> log; sleep 0.%02d", s.rnd.IntN(20), line, s.rnd.IntN(20))
		if s.rnd.IntN(3) == 0 {
			command += "; (sleep 300 > /dev/null 2>&1 &)"
		}
		how := "Call"
		if s.rnd.IntN(2) == 0 && i > 0 {
			how = "Then call"
		}
		text = append(text, fmt.Sprintf("%s shell with {\"command\":%q}", how, command))
		lines = append(lines, line)
	}
	s.turns = append(s.turns, lines)
	return strings.Join(append(text, fmt.Sprintf("Say done %d", len(s.turns))), "\n")
}

// settle waits until the session is at rest. What became of a command that was cut off nobody knows.
func (s *scribe) settle(ctx context.Context) error {
	for {
		found, err := s.client.Session(ctx, s.session)
		if err != nil {
			return fmt.Errorf("wait for rest: %w", err)
		}
		if found.Status == "idle" {
			return nil
		}
		if found.Status == "failed" {
			return errors.New("the session failed")
		}
		for _, a := range found.Required {
			if a.Type != "outcome_unknown" {
				return fmt.Errorf("the session asks for %s", a.Type)
			}
			err := s.client.Send(ctx, s.session, "outcome-"+a.RequestID, rig.GiveUp(a.RequestID))
			var api *rig.APIError
			if err != nil && !errors.As(err, &api) {
				return fmt.Errorf("give %s up: %w", a.RequestID, err)
			}
			s.gaveUp++
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stuck: the session is %s: %w", found.Status, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// check weighs the file against the journal: a line of a command that said 0 is there once, one that
// was given up at most once, and nothing else is.
func (s *scribe) check(ctx context.Context) (lines, resets int, err error) {
	turns, err := s.client.Turns(ctx, s.session)
	if err != nil {
		return 0, 0, err
	}
	var faults []error
	if len(turns) != len(s.turns) {
		faults = append(faults, fmt.Errorf("%d messages made %d turns", len(s.turns), len(turns)))
	}
	for _, t := range turns {
		if t.Status != "completed" {
			faults = append(faults, fmt.Errorf("turn %s is %s: %+v", t.ID, t.Status, t.Error))
		}
	}
	acknowledged, told, resets, err := journaled(s.client.Export(ctx, s.session))
	faults = append(faults, err)
	if told != nil {
		faults = append(faults, told)
	}
	data, err := s.client.Bytes(ctx, filesPath(s.session)+"/content?path=/workspace/log")
	if err != nil {
		return 0, 0, errors.Join(append(faults, fmt.Errorf("read the file: %w", err))...)
	}
	there := map[string]int{}
	for line := range strings.Lines(string(data)) {
		there[strings.TrimSpace(line)]++
	}
	for _, turn := range s.turns {
		for _, line := range turn {
			n := there[line]
			delete(there, line)
			if n > 1 || n == 0 && acknowledged[line] {
				faults = append(faults, fmt.Errorf("line %s is there %d times, acknowledged: %v", line, n, acknowledged[line]))
			}
			if acknowledged[line] {
				lines++
			}
		}
	}
	if len(there) > 0 {
		faults = append(faults, fmt.Errorf("lines that nobody wrote: %v", there))
	}
	return lines, resets, errors.Join(faults...)
}

// journaled reads an export: the lines whose commands ended with 0, and whether each residence that was
// cut off is told as a reset by the next one.
func journaled(export string) (acknowledged map[string]bool, untold error, resets int, err error) {
	type event struct {
		Event struct {
			Seq  int
			Kind string
			Data json.RawMessage
		}
	}
	acknowledged, asked := map[string]bool{}, map[string]string{} // call id → line
	open, lost := false, false
	for line := range strings.Lines(export) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, nil, 0, fmt.Errorf("export: %w", err)
		}
		var data struct {
			CallID string `json:"call_id"`
			Exit   *int
			Reset  *struct{}
			Items  []struct {
				CallID    string `json:"call_id"`
				Arguments struct{ Command string }
			}
		}
		switch e.Event.Kind {
		case "model.replied", "tool.returned", "environment.connected":
			if err := json.Unmarshal(e.Event.Data, &data); err != nil {
				return nil, nil, 0, fmt.Errorf("event %d: %w", e.Event.Seq, err)
			}
		}
		switch e.Event.Kind {
		case "model.replied":
			for _, it := range data.Items {
				if _, rest, ok := strings.Cut(it.Arguments.Command, "echo "); ok {
					asked[it.CallID], _, _ = strings.Cut(rest, " ")
				}
			}
		case "tool.returned":
			if data.Exit != nil && *data.Exit == 0 {
				acknowledged[asked[data.CallID]] = true
			}
		case "environment.connected":
			if (data.Reset != nil) != lost {
				untold = errors.Join(untold, fmt.Errorf("event %d: a residence was lost: %v, told: %v", e.Event.Seq, lost, data.Reset != nil))
			}
			if data.Reset != nil {
				resets++
			}
			open, lost = true, false
		case "environment.suspended":
			open = false
		case "environment.disconnected", "runner.recovered":
			lost = lost || open
			open = false
		}
	}
	return acknowledged, untold, resets, nil
}

func filesPath(session string) string {
	return "/v1/agents/environments/env_" + strings.TrimPrefix(session, "sess_") + "/files"
}

// cycle suspends, forks and resumes over and over: the files stay what they are.
func cycle(t *testing.T, client *rig.Client, mark string) {
	ctx, cancel := context.WithTimeout(t.Context(), cycleTimeout)
	defer cancel()
	script := "mkdir -p a/b/c 'with space' && seq 1000 > a/n && head -c 300000 /dev/urandom > a/b/random && : > a/b/c/empty && " +
		"echo ü > 'with space/ü' && head -c 2000000 /dev/zero > zeros && for i in 1 2 3 4 5; do echo $i > a/b/c/$i; done"
	root, err := create(ctx, client, "cycle", mark, fmt.Sprintf("Call shell with {\"command\":%q}\nSay made", script))
	if err == nil {
		err = rest(ctx, client, root)
	}
	if err != nil {
		t.Fatal(err)
	}
	want, err := sum(ctx, client, root)
	if err != nil {
		t.Fatal(err)
	}
	if len(want.files) != 10 {
		t.Fatalf("files %q", want.files)
	}
	faults := slices.Repeat([]error{nil}, chains)
	var wg sync.WaitGroup
	for c := range chains {
		wg.Go(func() { faults[c] = chain(ctx, client, root, want, c) })
	}
	wg.Wait()
	if err := errors.Join(faults...); err != nil {
		t.Error(err)
	}
}

// chain forks a session, opens the fork's environment, has it suspended, forks that, and so on.
func chain(ctx context.Context, client *rig.Client, from string, want tree, n int) error {
	for link := range links {
		at := fmt.Sprintf("chain %d link %d", n, link)
		var fork rig.Session
		if err := client.Insist(ctx, http.MethodPost, rig.SessionPath(from, "/fork"), "", map[string]any{}, &fork); err != nil {
			return fmt.Errorf("%s: fork: %w", at, err)
		}
		same := func(when string) error {
			got, err := sum(ctx, client, fork.ID)
			if err == nil && got.hash != want.hash {
				err = fmt.Errorf("the files are %q, they were %q", got.files, want.files)
			}
			if err != nil {
				return fmt.Errorf("%s, session %s, %s: %w", at, fork.ID, when, err)
			}
			return nil
		}
		if err := same("as a fork"); err != nil {
			return err
		}
		key := fmt.Sprintf("link-%d", link)
		if err := client.Send(ctx, fork.ID, key, rig.Message("Call shell with {\"command\":\"touch zeros\"}\nSay again")); err != nil {
			return fmt.Errorf("%s: send: %w", at, err)
		}
		if err := rest(ctx, client, fork.ID); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if err := same("resumed"); err != nil {
			return err
		}
		if err := suspended(ctx, client, fork.ID); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if err := same("suspended"); err != nil {
			return err
		}
		from = fork.ID
	}
	return nil
}

func rest(ctx context.Context, client *rig.Client, id string) error {
	s := scribe{client: client, session: id}
	if err := s.settle(ctx); err != nil {
		return err
	}
	turns, err := client.Turns(ctx, id)
	if err == nil && turns[len(turns)-1].Status != "completed" {
		err = fmt.Errorf("the turn is %s", turns[len(turns)-1].Status)
	}
	return err
}

func suspended(ctx context.Context, client *rig.Client, id string) error {
	for {
		var e struct{ Status string }
		if err := client.Insist(ctx, http.MethodGet, strings.TrimSuffix(filesPath(id), "/files"), "", nil, &e); err != nil {
			return err
		}
		if e.Status == "suspended" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the environment is %s: %w", e.Status, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tree is what a workspace holds.
type tree struct {
	hash  string
	files []string
}

// sum is the SHA-256 over the names and contents of all files of a workspace.
func sum(ctx context.Context, client *rig.Client, id string) (tree, error) {
	var out tree
	h := sha256.New()
	page := ""
	for {
		var list struct {
			Data []struct{ Path string }
			Next string
		}
		if err := client.Insist(ctx, http.MethodGet, filesPath(id)+"?order=asc&limit=4&page="+page, "", nil, &list); err != nil {
			return out, err
		}
		for _, f := range list.Data {
			data, err := client.Bytes(ctx, filesPath(id)+"/content?path="+url.QueryEscape(f.Path))
			if err != nil {
				return out, fmt.Errorf("%s: %w", f.Path, err)
			}
			fmt.Fprintf(h, "%s %d\n", f.Path, len(data))
			h.Write(data)
			out.files = append(out.files, fmt.Sprintf("%s:%d", f.Path, len(data)))
		}
		if page = list.Next; page == "" {
			out.hash = hex.EncodeToString(h.Sum(nil))
			return out, nil
		}
	}
}

// process is one that was seen: a pid is used again, a pid with its start is not.
type process struct {
	pid   int
	start string // in ticks since the machine's start
	name  string
}

// processes are the inits that a server has started, and every process with the mark.
func processes(server int, mark string) []process {
	var out []process
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 20 || fields[0] == "Z" {
			continue
		}
		argv, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		name, _, _ := strings.Cut(string(argv), "\x00")
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if name == ns.Argv0 && fields[1] == strconv.Itoa(server) || bytes.Contains(environ, []byte(marker+"="+mark)) {
			out = append(out, process{pid, fields[19], name})
		}
	}
	return out
}

// gone says which of the processes that were seen still run, and whether any other has the mark.
func gone(seen []process, mark string) error {
	var faults []error
	for _, p := range processes(-1, mark) {
		faults = append(faults, fmt.Errorf("process %d (%s) has the mark", p.pid, p.name))
	}
	for _, p := range seen {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) >= 20 && fields[19] == p.start && fields[0] != "Z" {
			faults = append(faults, fmt.Errorf("process %d (%s) runs on", p.pid, p.name))
		}
	}
	return errors.Join(faults...)
}
