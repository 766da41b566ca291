package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/sim"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// node is a runner over a store that outlives it.
type node struct {
	*runner.Runner
	t     *testing.T
	store *journaltest.Memory
	tools *fakeTools
	model *switchModel
	cfg   runner.Config

	patience time.Duration // how long until waits
}

// newNode starts a runner on a fresh memory store with the sim model and counting tools, unless
// the options say otherwise.
func newNode(t *testing.T, options ...func(*node)) *node {
	t.Helper()
	n := &node{t: t, store: journaltest.NewMemory(time.Now), tools: newFakeTools(), model: &switchModel{Model: sim.New(sim.Options{})}, patience: time.Minute}
	level := slog.LevelError
	if os.Getenv("STEAD_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	n.cfg = runner.Config{
		Store: n.store, Agents: n.store, Blobs: newMemBlobs(), Models: oneModel{m: n.model}, Tools: n.tools,
		Policy: policy.AllowLocal{}, Node: "node-1",
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	for _, o := range options {
		o(n)
	}
	n.start("node-1")
	t.Cleanup(func() { n.Kill() })
	return n
}

func (n *node) start(id stead.NodeID) {
	n.t.Helper()
	n.cfg.Node = id
	n.Runner = runner.New(n.cfg)
	if err := n.Start(context.Background()); err != nil {
		n.t.Fatal(err)
	}
}

// crash kills the runner as SIGKILL would, and starts another one on what was stored.
func (n *node) crash(id stead.NodeID) {
	n.t.Helper()
	n.Kill()
	n.store.Crash()
	n.start(id)
}

var me = stead.LocalPrincipal()

func (n *node) create(text string, tools ...agent.Tool) session.Session {
	n.t.Helper()
	s, err := n.Create(context.Background(), me, session.CreateRequest{
		Override: func(s *agent.Spec) error { s.Model, s.Tools = "sim", tools; return nil },
		Input:    message(text),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func message(text string) []session.InputMessage {
	return []session.InputMessage{{Content: stead.TextContent(stead.ContentInputText, text)}}
}

func mcpServer() agent.Tool { return agent.Tool{Type: agent.ToolMCP, ServerLabel: "box"} }

func function(name string) agent.Tool {
	return agent.Tool{Type: agent.ToolFunction, Name: name, Parameters: json.RawMessage(`{"type":"object"}`)}
}

// until waits until the session is as wanted; it fails with the journal when it does not come.
func (n *node) until(id stead.SessionID, want func(session.Session) bool) session.Session {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), n.patience)
	defer cancel()
	var last session.Session
	seen := errors.New("seen")
	look := func() (err error) {
		if last, err = n.Get(ctx, me, id); err == nil && want(last) {
			return seen
		}
		return err
	}
	var first error
	ready := func() {
		if first = look(); first != nil {
			cancel()
		}
	}
	err := n.Stream(ctx, me, id, nil, ready, func(session.StreamEvent) error {
		if first != nil {
			return first
		}
		return look()
	})
	if first == nil {
		first = err
	}
	if !errors.Is(first, seen) {
		n.t.Fatalf("session %s is %s: %v\n%s", id, last.Status, first, n.journal(id))
	}
	return last
}

func status(want string) func(session.Session) bool {
	return func(s session.Session) bool { return s.Status == want }
}

func (n *node) journal(id stead.SessionID) string {
	var b strings.Builder
	if err := n.Export(context.Background(), me, id, &b); err != nil {
		return err.Error()
	}
	return b.String()
}

// texts lists the session's items as short lines.
func (n *node) items(id stead.SessionID) []string {
	n.t.Helper()
	page, err := n.Items(context.Background(), me, id, session.ItemQuery{PageQuery: session.PageQuery{Limit: 100}})
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, it := range page.Data {
		switch it := it.(type) {
		case *session.MessageItem:
			out = append(out, fmt.Sprintf("%s %s: %s", it.Role, it.Status, *it.Content[0].Text))
		case *session.FunctionCallItem:
			out = append(out, fmt.Sprintf("call %s %s %s", it.Name, it.Arguments, it.Status))
		case *session.FunctionOutputItem:
			e := ""
			if it.Error != nil {
				e = *it.Error
			}
			out = append(out, fmt.Sprintf("output %s%s %s", it.Output, e, it.Status))
		case *session.MCPCallItem:
			out = append(out, fmt.Sprintf("mcp %s %s %s", it.Name, it.Arguments, it.Status))
		}
	}
	return out
}

func TestAnswer(t *testing.T) {
	n := newNode(t)
	s := n.create("Say hello there")
	n.until(s.ID, status(session.StatusIdle))
	want := []string{"user completed: Say hello there", "assistant completed: hello there"}
	if got := n.items(s.ID); !slices.Equal(got, want) {
		t.Errorf("items %q\nwant  %q", got, want)
	}
}

func TestMCPCall(t *testing.T) {
	n := newNode(t)
	s := n.create(`Call count with {"n":1}`, mcpServer())
	n.until(s.ID, status(session.StatusIdle))
	got := n.items(s.ID)
	if len(got) != 3 || got[1] != `mcp count {"n":1} completed` {
		t.Errorf("items %q\n%s", got, n.journal(s.ID))
	}
	if calls := n.tools.log(); len(calls) != 1 {
		t.Errorf("calls %v", calls)
	}
}

func TestFunctionCallWaitsForTheApplication(t *testing.T) {
	n := newNode(t)
	s := n.create(`Call look with {"a":1}`, function("look"))
	s = n.until(s.ID, status(session.StatusRequiresAction))
	if len(s.RequiredActions) != 1 || s.RequiredActions[0].Name != "look" {
		t.Fatalf("required actions %+v", s.RequiredActions)
	}
	a := s.RequiredActions[0]
	result := session.SendRequest{Key: "k", Digest: "d", Inputs: []session.Input{{Result: &session.ToolResultInput{
		TurnID: a.TurnID, CallID: a.CallID, Success: true, Output: stead.TextContent(stead.ContentInputText, "blue"),
	}}}}
	for range 2 { // the second is a retry of the first
		if err := n.Send(context.Background(), me, s.ID, result); err != nil {
			t.Fatal(err)
		}
		n.until(s.ID, status(session.StatusIdle))
	}
	got := n.items(s.ID)
	if len(got) != 4 || !strings.Contains(got[3], "blue") {
		t.Errorf("items %q", got)
	}
}

func TestCrashByEffectClass(t *testing.T) {
	for _, tc := range []struct {
		tool  string
		calls int
		end   string
	}{
		{"read", 2, session.StatusIdle},
		{"count", 2, session.StatusIdle},
		{"launch", 1, session.StatusRequiresAction},
	} {
		t.Run(tc.tool, func(t *testing.T) {
			n := newNode(t)
			hold := n.tools.hold()
			s := n.create(`Call `+tc.tool+` with {"n":1}`, mcpServer())
			<-hold.begun
			n.crash("node-2")
			close(hold.release)
			s = n.until(s.ID, status(tc.end))
			calls := n.tools.log()
			if len(calls) != tc.calls {
				t.Errorf("%d calls, want %d\n%s", len(calls), tc.calls, n.journal(s.ID))
			}
			for _, c := range calls {
				if c.Key != calls[0].Key {
					t.Errorf("keys differ: %v", calls)
				}
			}
			if tc.end == session.StatusRequiresAction {
				a := s.RequiredActions[0]
				err := n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Outcome: &session.OutcomeInput{
					RequestID: a.RequestID, Decision: session.DecisionHappened, Output: stead.TextContent(stead.ContentInputText, "lift-off"),
				}}}})
				if err != nil {
					t.Fatal(err)
				}
				n.until(s.ID, status(session.StatusIdle))
				if got := n.items(s.ID); !strings.Contains(got[len(got)-1], "lift-off") {
					t.Errorf("items %q", got)
				}
			}
		})
	}
}

func TestApproval(t *testing.T) {
	for _, tc := range []struct {
		decision string
		calls    int
	}{{session.DecisionApprove, 1}, {session.DecisionDeny, 0}, {session.DecisionCancel, 0}} {
		t.Run(tc.decision, func(t *testing.T) {
			n := newNode(t)
			server := mcpServer()
			server.RequireApproval = &agent.Approval{Mode: "always"}
			s := n.create(`Call launch with {"n":1}`, server)
			s = n.until(s.ID, status(session.StatusRequiresAction))
			n.crash("node-2") // it waits as a row
			inbox, err := n.Approvals(context.Background(), me, session.PageQuery{})
			if err != nil || len(inbox.Data) != 1 || inbox.Data[0].ID != s.RequiredActions[0].RequestID {
				t.Fatalf("inbox %+v, %v", inbox, err)
			}
			err = n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Approval: &session.ApprovalInput{RequestID: inbox.Data[0].ID, Decision: tc.decision}}}})
			if err != nil {
				t.Fatal(err)
			}
			n.until(s.ID, status(session.StatusIdle))
			if calls := n.tools.log(); len(calls) != tc.calls {
				t.Errorf("%d calls, want %d\n%s", len(calls), tc.calls, n.journal(s.ID))
			}
		})
	}
}

func TestCancelStopsTheModelAtOnce(t *testing.T) { bubble(t, cancelStopsTheModelAtOnce) }

func cancelStopsTheModelAtOnce(t *testing.T, n *node) {
	s := n.create("Write 100000 words every 10ms")
	stop := errors.New("streaming")
	err := n.Stream(context.Background(), me, s.ID, &stead.Cursor{}, nil, func(e session.StreamEvent) error {
		if strings.HasSuffix(e.Type, "output_text.delta") {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if err := n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Cancel: true}}}); err != nil {
		t.Fatal(err)
	}
	n.until(s.ID, status(session.StatusIdle))
	turns, err := n.Turns(context.Background(), me, s.ID, session.PageQuery{})
	if err != nil || len(turns.Data) != 1 || turns.Data[0].Status != session.TurnCancel {
		t.Fatalf("turns %+v, %v", turns, err)
	}
	if got := n.items(s.ID); len(got) != 2 || !strings.HasPrefix(got[1], "assistant incomplete: ") {
		t.Errorf("items %q", got)
	}
	synctest.Wait()
	if n.model.stopped() == 0 {
		t.Fatal("the model call goes on")
	}
}

func TestMalformedCallGoesBackToTheModel(t *testing.T) {
	n := newNode(t)
	s := n.create(`Call nothing with {"a":1}`, function("look"))
	n.until(s.ID, status(session.StatusIdle))
	got := n.items(s.ID)
	if len(got) != 4 || !strings.Contains(got[2], "there is no tool") || !strings.Contains(got[2], "look") {
		t.Errorf("items %q", got)
	}
}

func TestPauseAndResume(t *testing.T) {
	n := newNode(t)
	hold := n.tools.hold()
	s := n.create(`Call count with {"n":1}`, mcpServer())
	<-hold.begun
	if _, err := n.Pause(context.Background(), me, s.ID); err != nil {
		t.Fatal(err)
	}
	close(hold.release)
	n.until(s.ID, func(s session.Session) bool { return s.Paused && len(n.items(s.ID)) == 2 })
	if _, err := n.Resume(context.Background(), me, s.ID); err != nil {
		t.Fatal(err)
	}
	n.until(s.ID, status(session.StatusIdle))
}

func TestShutdownHandsLeasesBack(t *testing.T) {
	n := newNode(t)
	s := n.create("Write 100000 words every 10ms")
	n.until(s.ID, func(session.Session) bool { return n.model.running() > 0 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // no time to finish
	if err := n.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	head, err := n.store.Head(context.Background(), stead.SessionKey{Project: me.Project, Session: s.ID})
	if err != nil || head.Holder != "" {
		t.Fatalf("head %+v, %v", head, err)
	}
	n.start("node-2")
	n.until(s.ID, func(session.Session) bool { return n.model.running() > 0 })
	if err := n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Cancel: true}}}); err != nil {
		t.Fatal(err)
	}
	n.until(s.ID, status(session.StatusIdle))
}

// oneModel is a catalog with one model behind every name that begins with "sim".
type oneModel struct {
	m      model.Model
	change []func(*model.Info)
}

func (c oneModel) Resolve(name string, _ model.Caller) (model.Info, model.Model, error) {
	if !strings.HasPrefix(name, "sim") {
		return model.Info{}, nil, stead.NotFound("model", name)
	}
	info := model.Info{Name: name, Provider: "sim", Upstream: name, ContextWindow: 128_000}
	for _, change := range c.change {
		change(&info)
	}
	return info, c.m, nil
}

func (c oneModel) List(stead.ProjectID) []model.Info { return nil }

// memBlobs keeps blobs in memory.
type memBlobs struct {
	mu    sync.Mutex
	bytes map[string][]byte    // session/digest
	times map[string]time.Time // of the last Put
	fails int                  // how many puts to refuse
}

// fail makes the next k puts fail.
func (m *memBlobs) fail(k int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails = k
}

// count is how many blobs there are of all sessions.
func (m *memBlobs) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.bytes)
}

func newMemBlobs() *memBlobs {
	return &memBlobs{bytes: map[string][]byte{}, times: map[string]time.Time{}}
}

func (m *memBlobs) Put(_ context.Context, key stead.SessionKey, data []byte) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails > 0 {
		m.fails--
		return "", stead.Errorf(stead.KindUnavailable, "the blobs are away")
	}
	d := blob.Digest(data)
	m.bytes[key.String()+"/"+d] = slices.Clone(data)
	m.times[key.String()+"/"+d] = time.Now()
	return d, nil
}

func (m *memBlobs) Get(_ context.Context, key stead.SessionKey, digest string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.bytes[key.String()+"/"+digest]
	if !ok {
		return nil, stead.NotFound("blob", digest)
	}
	return data, nil
}

func (m *memBlobs) Open(ctx context.Context, key stead.SessionKey, digest string) (io.ReadCloser, error) {
	data, err := m.Get(ctx, key, digest)
	return io.NopCloser(bytes.NewReader(data)), err
}

func (m *memBlobs) Copy(ctx context.Context, from, to stead.SessionKey, digests []string) error {
	for _, digest := range digests {
		data, err := m.Get(ctx, from, digest)
		if err != nil {
			return err
		}
		if _, err := m.Put(ctx, to, data); err != nil {
			return err
		}
	}
	return nil
}

func (m *memBlobs) Sweep(_ context.Context, key stead.SessionKey, keep func(string) bool, olderThan time.Time) (blob.Swept, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out blob.Swept
	for k := range m.bytes {
		if digest, ok := strings.CutPrefix(k, key.String()+"/"); ok && !keep(digest) && m.times[k].Before(olderThan) {
			delete(m.bytes, k)
			out.Removed++
		}
	}
	return out, nil
}

func (m *memBlobs) Prune(ctx context.Context, key stead.SessionKey, olderThan time.Time) (blob.Swept, error) {
	return m.Sweep(ctx, key, func(string) bool { return false }, olderThan)
}

func (m *memBlobs) Sessions(_ context.Context, each func(stead.SessionKey) error) error {
	m.mu.Lock()
	keys := map[stead.SessionKey]bool{}
	for k := range m.bytes {
		project, rest, _ := strings.Cut(k, "/")
		session, _, _ := strings.Cut(rest, "/")
		keys[stead.SessionKey{Project: stead.ProjectID(project), Session: stead.SessionID(session)}] = true
	}
	m.mu.Unlock()
	for key := range keys {
		if err := each(key); err != nil {
			return err
		}
	}
	return nil
}

func (m *memBlobs) DeleteAll(_ context.Context, key stead.SessionKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.bytes {
		if strings.HasPrefix(k, key.String()+"/") {
			delete(m.bytes, k)
		}
	}
	return nil
}

var _ tool.Source = (*fakeTools)(nil)
