package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// computers is an environment.Host whose workspaces are lists of lines. Its one tool, run, adds its
// argument as a line; look (pure) reads them all. What is resident is lost with the host, what was
// stored is not: hosts that share a shelf are the nodes of one system.
type computers struct {
	shelf *shelved
	tools []tool.Tool

	mu    sync.Mutex
	boxes map[stead.SessionKey]*computer
	did   []string                  // what was asked for, in order, with the session left out
	took  map[string]time.Duration  // by action
	fails map[string][]error        // by action: what its next calls answer
	opens []environment.State       // as asked
	saves []environment.SaveRequest // as asked, of suspensions too
	next  []environment.Published   // of the next save that publishes
	run   func(context.Context, tool.Call, *computer) (tool.Result, error)
	drops []stead.Seq
	taken map[string]string             // path → why no file can be put there
	bg    []string                      // what runs in the background of every environment
	setUp *environment.SetUp            // what each prepare says
	used  environment.Usage             // what a self-hosted environment is said to have used, each time
	disk  map[stead.SessionKey][]string // what residences left, of a node that has it still; nil: no node has
}

// computer is a resident environment.
type computer struct {
	key stead.SessionKey
	environment.State
	lines []string
	had   int // of them, when it was opened
	done  chan struct{}
	news  chan struct{} // Opened.Changed
}

// shelved is what checkpoints hold: digest → lines.
type shelved struct {
	mu   sync.Mutex
	data map[string][]string
}

func (s *shelved) put(lines []string) environment.Checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := blob.Digest([]byte(strings.Join(lines, "\n")))
	s.data[d] = slices.Clone(lines)
	return environment.Checkpoint{Digest: d, Files: len(lines)}
}

func (s *shelved) get(digest string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.data[digest])
}

func newComputers(shelf *shelved) *computers {
	if shelf == nil {
		shelf = &shelved{data: map[string][]string{}}
	}
	h := &computers{shelf: shelf, boxes: map[stead.SessionKey]*computer{}, took: map[string]time.Duration{}, fails: map[string][]error{}}
	h.tools = []tool.Tool{
		does{"run", tool.Unknown, h.command}, does{"look", tool.Pure, h.command}, does{"touch", tool.Idempotent, h.command},
	}
	return h
}

func (h *computers) command(ctx context.Context, c tool.Call) (tool.Result, error) {
	h.mu.Lock()
	b, run := h.boxes[c.Session], h.run
	h.mu.Unlock()
	if b == nil {
		return tool.Result{}, &tool.NotSentError{Err: stead.Errorf(stead.KindUnavailable, "the environment is not open")}
	}
	if run != nil {
		return run(ctx, c, b)
	}
	return h.line(c, b)
}

func (h *computers) line(c tool.Call, b *computer) (tool.Result, error) {
	var args struct{ Command string }
	_ = json.Unmarshal(c.Arguments, &args)
	h.mu.Lock()
	defer h.mu.Unlock()
	if args.Command != "" {
		b.lines = append(b.lines, args.Command)
	}
	code := 0
	return tool.Result{Content: stead.TextContent(stead.ContentInputText, strings.Join(b.lines, ",")), Exit: &code}, nil
}

// begin begins an action: it notes it, takes its time and gives its failure.
func (h *computers) begin(ctx context.Context, action string) error {
	h.mu.Lock()
	h.did = append(h.did, action)
	took := h.took[action]
	var err error
	if f := h.fails[action]; len(f) > 0 {
		err, h.fails[action] = f[0], f[1:]
	}
	h.mu.Unlock()
	if took > 0 && !lasts(ctx, took) {
		return ctx.Err()
	}
	return err
}

// takes and fail change how an action goes from now on, beside others that are under way.
func (h *computers) takes(action string, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.took[action] = d
}

func (h *computers) fail(action string, errs ...error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails[action] = errs
}

func (h *computers) log() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.did)
}

func (h *computers) resident(key stead.SessionKey) *computer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.boxes[key]
}

func (h *computers) Tools() []tool.Tool { return h.tools }

func (h *computers) Prepare(ctx context.Context, _ stead.SessionKey, _ environment.Setup, _ environment.Note) (environment.Prepared, error) {
	err := h.begin(ctx, "prepare")
	return environment.Prepared{Checkpoint: h.shelf.put(nil), SetUp: h.setUp}, err
}

func (h *computers) Open(ctx context.Context, key stead.SessionKey, from environment.State) (environment.Opened, error) {
	h.mu.Lock()
	h.opens = append(h.opens, from)
	h.mu.Unlock()
	if err := h.begin(ctx, "open"); err != nil {
		return environment.Opened{}, err
	}
	b := &computer{key: key, State: from, lines: h.shelf.get(from.Checkpoint), done: make(chan struct{}), news: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	left, kept := h.disk[key]
	if kept = kept && !slices.Equal(left, b.lines); kept {
		b.lines = slices.Clone(left)
	}
	refused := h.put(b, from.Files)
	b.had = len(b.lines)
	h.boxes[key] = b
	used := func() environment.Usage {
		h.mu.Lock()
		defer h.mu.Unlock()
		return b.usage()
	}
	return environment.Opened{Driver: "fake", Kept: kept, Done: b.done, Used: used, Changed: b.news, Refused: refused}, nil
}

func (h *computers) put(b *computer, files []environment.Put) (refused []environment.Refused) {
	for _, f := range files {
		if why := h.taken[f.Path]; why != "" {
			refused = append(refused, environment.Refused{Path: f.Path, Reason: why})
			continue
		}
		b.lines = append(b.lines, "file "+f.Path)
	}
	return refused
}

func (h *computers) Admits(_ context.Context, key stead.SessionKey, path string, _ int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if why := h.taken[path]; why != "" && h.boxes[key] != nil {
		return stead.Errorf(stead.KindConflict, "%s", why)
	}
	return nil
}

func (h *computers) Save(ctx context.Context, key stead.SessionKey, s environment.SaveRequest) (environment.Saved, error) {
	return h.save(ctx, key, s, "save")
}

func (h *computers) save(ctx context.Context, key stead.SessionKey, s environment.SaveRequest, action string) (environment.Saved, error) {
	h.mu.Lock()
	h.saves = append(h.saves, s)
	h.mu.Unlock()
	if err := h.begin(ctx, action); err != nil {
		return environment.Saved{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.boxes[key]
	if b == nil {
		return environment.Saved{}, stead.Errorf(stead.KindUnavailable, "the environment is not open")
	}
	refused := h.put(b, s.Files)
	out := environment.Saved{Refused: refused, Checkpoint: h.shelf.put(b.lines), Background: slices.Clone(h.bg), Usage: b.usage()}
	if s.Publish != "" {
		out.Artifacts, h.next = h.next, nil
	}
	return out, nil
}

func (h *computers) Suspend(ctx context.Context, key stead.SessionKey, s environment.SaveRequest) (environment.Saved, error) {
	out, err := h.save(ctx, key, s, "suspend")
	if err == nil {
		h.end(key)
	}
	return out, err
}

// end ends what is resident of a session, as its death would.
func (h *computers) end(key stead.SessionKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.boxes[key]; b != nil {
		if h.disk != nil {
			h.disk[key] = slices.Clone(b.lines)
		}
		close(b.done)
		delete(h.boxes, key)
	}
}

func (h *computers) Drop(key stead.SessionKey, residence stead.Seq) {
	h.mu.Lock()
	b := h.boxes[key]
	h.drops = append(h.drops, residence)
	h.mu.Unlock()
	if b != nil && b.Next == residence {
		h.end(key)
	}
}

func (h *computers) Forget(ctx context.Context, key stead.SessionKey) error {
	h.end(key)
	return h.begin(ctx, "forget")
}

func (h *computers) Rewrite(context.Context, stead.SessionKey, []string, environment.Forgetting) ([]environment.Rewritten, error) {
	return nil, stead.Errorf(stead.KindNotImplemented, "lines are no files")
}

func (h *computers) Evict(context.Context, stead.SessionKey, func() (bool, error)) error { return nil }

func (h *computers) Files(_ context.Context, key stead.SessionKey, from environment.State, _ environment.ListQuery) (environment.FilePage, error) {
	var page environment.FilePage
	for _, l := range h.shelf.get(from.Checkpoint) {
		page.Files = append(page.Files, environment.File{Path: l})
	}
	for _, f := range from.Files {
		page.Files = append(page.Files, environment.File{Path: f.Path, Size: int64(f.Data.Bytes)})
	}
	return page, nil
}

func (h *computers) ReadFile(_ context.Context, _ stead.SessionKey, from environment.State, path string, w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s of %s", path, from.Checkpoint)
	return err
}

func (h *computers) Background(key stead.SessionKey) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.boxes[key] == nil {
		return nil
	}
	return slices.Clone(h.bg)
}

// writes is what a process in the background does: a line, of which the host tells.
func (h *computers) writes(key stead.SessionKey, line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.boxes[key]
	b.lines = append(b.lines, line)
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (h *computers) Origin(stead.SessionKey) tool.Origin { return nil }
func (h *computers) Used(key stead.SessionKey) environment.Resided {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.boxes[key]; b != nil {
		return environment.Resided{Residence: b.Next, Usage: b.usage()}
	}
	return environment.Resided{Usage: h.used}
}

// usage: each line is a command, of a second and ten bytes to the world.
func (b *computer) usage() environment.Usage {
	n := int64(len(b.lines) - b.had)
	return environment.Usage{Commands: n, CPU: time.Duration(n) * time.Second, EgressSentBytes: 10 * n}
}

func (h *computers) Connected(stead.SessionKey) bool { return false }

// withComputers serves environments of one's own.
func withComputers(h *computers) func(*node) {
	return with(func(c *runner.Config) { c.Environments, c.Foreign = h, asItIs })
}

// asItIs takes an imported environment for what its file says.
func asItIs(_ context.Context, _ stead.Principal, f session.ForeignEnvironment) (session.EnvironmentPlan, error) {
	plan := *hosted()
	plan.Type, plan.Config = f.Type, f.Config
	return plan, nil
}

// hosted is the plan of a hosted environment.
func hosted() *session.EnvironmentPlan {
	return &session.EnvironmentPlan{
		Type: session.EnvironmentHosted, Config: json.RawMessage(`{"type":"openai_hosted"}`),
		Object: func(id string) json.RawMessage { return json.RawMessage(`{"type":"openai_hosted","id":"` + id + `"}`) },
	}
}

// compute makes a session with an environment.
func (n *node) compute(text string, tools ...agent.Tool) stead.SessionID {
	n.t.Helper()
	s, err := n.Create(context.Background(), me, session.CreateRequest{Override: specOf(tools...), Input: message(text), Environment: hosted()})
	if err != nil {
		n.t.Fatal(err)
	}
	return s.ID
}

// payloads decodes the events of a kind.
func payloads[T any](t *testing.T, n *node, id stead.SessionID, kind string) []T {
	t.Helper()
	var out []T
	for _, e := range n.events(id) {
		if e.Kind == kind {
			p, err := session.Decode[T](e)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p)
		}
	}
	return out
}

// course lists the kinds of the events of an environment, in short, with tool calls between.
func (n *node) course(id stead.SessionID) []string {
	n.t.Helper()
	var out []string
	for _, e := range n.events(id) {
		switch e.Kind {
		case session.KindEnvironmentCalled:
			p, err := session.Decode[session.EnvironmentCalled](e)
			if err != nil {
				n.t.Fatal(err)
			}
			out = append(out, string(p.Action))
		case session.KindToolCalled, session.KindToolReturned, session.KindToolStreamed, session.KindTurnCompleted, session.KindRunnerRecovered:
			out = append(out, e.Kind)
		default:
			if strings.HasPrefix(e.Kind, "environment.") {
				out = append(out, strings.TrimPrefix(e.Kind, "environment."))
			}
		}
	}
	return out
}
