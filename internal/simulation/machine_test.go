package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// environmentIdle is short, so that environments are suspended while the chaos lasts.
const environmentIdle = 10 * time.Second

// disk is what a slot's machine keeps of workspaces, whatever node runs on it.
type disk map[stead.SessionKey]left

// left is a workspace, a line an op, as a residence left it.
type left struct {
	residence, before stead.Seq
	lines             []string
}

// computers is what all nodes know of workspaces: checkpoints, and which command ran where.
type computers struct {
	w      *world
	mu     sync.Mutex
	stored map[string][]string // digest → lines
	disks  map[int]disk
	ran    []ran
	hosts  []*machine // all that ever were
}

// ran is a command that began in a residence.
type ran struct {
	session   stead.SessionKey
	key       string
	residence stead.Seq
}

func newComputers(w *world) *computers {
	return &computers{w: w, stored: map[string][]string{}, disks: map[int]disk{}}
}

func (c *computers) store(lines []string) environment.Checkpoint {
	d := blob.Digest([]byte(strings.Join(lines, "\n")))
	c.stored[d] = slices.Clone(lines)
	return environment.Checkpoint{Digest: d, Files: len(lines)}
}

// machine is the environment.Host of one node: a process on the machine of its slot. Its actions are
// slow and fail, its environments die. All of it is under computers.mu.
type machine struct {
	*computers
	slot  int
	dead  bool
	boxes map[stead.SessionKey]*box
}

type box struct {
	residence stead.Seq
	done      chan struct{}
}

func (c *computers) machine(slot int) *machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disks[slot] == nil {
		c.disks[slot] = disk{}
	}
	m := &machine{computers: c, slot: slot, boxes: map[stead.SessionKey]*box{}}
	c.hosts = append(c.hosts, m)
	return m
}

// die ends the process, and with it everything that is resident.
func (m *machine) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	for key := range m.boxes {
		m.end(key)
	}
}

func (m *machine) end(key stead.SessionKey) {
	if b := m.boxes[key]; b != nil {
		close(b.done)
		delete(m.boxes, key)
	}
}

// strike lets one resident environment of the machine die, if there is any.
func (m *machine) strike() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.boxes {
		keys = append(keys, string(key.Session))
	}
	if len(keys) > 0 {
		m.end(stead.SessionKey{Project: me.Project, Session: stead.SessionID(slices.Min(keys))})
	}
}

// deaf is longer than any action goes on that does not listen to who gives it up.
const deaf = 30 * time.Second

// act takes an action's time and has its failures. Some do not listen to who gives them up.
func (m *machine) act(ctx context.Context) error {
	w := m.w
	if w.chance(20) {
		ctx = context.WithoutCancel(ctx)
	}
	if !sleep(ctx, w.upTo(3*time.Second)) {
		return ctx.Err()
	}
	if w.chance(20) { // also when the chaos is over: nobody else then wakes a session that waits for it
		return stead.Errorf(stead.KindUnavailable, "the machine is busy")
	}
	if !w.calm.Load() && w.chance(2) {
		return stead.Errorf(stead.KindTooLarge, "the disk is full")
	}
	return nil
}

func (m *machine) Prepare(ctx context.Context, key stead.SessionKey, _ environment.Setup, _ environment.Note) (environment.Prepared, error) {
	if err := m.act(ctx); err != nil {
		return environment.Prepared{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.disks[m.slot], key)
	return environment.Prepared{Checkpoint: m.store(nil)}, nil
}

func (m *machine) Open(ctx context.Context, key stead.SessionKey, from environment.State) (environment.Opened, error) {
	m.mu.Lock()
	m.end(key)
	m.mu.Unlock()
	if err := m.act(ctx); err != nil {
		return environment.Opened{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return environment.Opened{}, stead.Errorf(stead.KindUnavailable, "the machine's process is gone")
	}
	m.end(key)
	was := m.disks[m.slot][key]
	kept := from.Residence > 0 && (was.residence == from.Residence || was.before == from.Residence)
	now := left{residence: from.Next, lines: was.lines}
	if kept {
		now.before = from.Residence
	} else {
		lines, ok := m.stored[from.Checkpoint]
		if !ok {
			m.w.failf("session %s is opened from checkpoint %q, that was never made", key.Session, from.Checkpoint)
		}
		now.lines = slices.Clone(lines)
	}
	m.disks[m.slot][key] = now
	m.put(key, from.Files)
	b := &box{residence: from.Next, done: make(chan struct{})}
	m.boxes[key] = b
	return environment.Opened{Driver: "simulated", Kept: kept, Done: b.done, Used: func() environment.Usage { return environment.Usage{} }}, nil
}

func (m *machine) put(key stead.SessionKey, files []environment.Put) {
	for _, f := range files {
		m.add(key, "file "+f.Path)
	}
}

func (m *machine) add(key stead.SessionKey, line string) {
	l := m.disks[m.slot][key]
	if !slices.Contains(l.lines, line) {
		l.lines = append(slices.Clip(l.lines), line)
	}
	m.disks[m.slot][key] = l
}

func (m *machine) Save(ctx context.Context, key stead.SessionKey, s environment.SaveRequest) (environment.Saved, error) {
	return m.save(ctx, key, s, false)
}

func (m *machine) Suspend(ctx context.Context, key stead.SessionKey, s environment.SaveRequest) (environment.Saved, error) {
	return m.save(ctx, key, s, true)
}

func (m *machine) save(ctx context.Context, key stead.SessionKey, s environment.SaveRequest, end bool) (environment.Saved, error) {
	if err := m.act(ctx); err != nil {
		return environment.Saved{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boxes[key] == nil {
		return environment.Saved{}, stead.Errorf(stead.KindUnavailable, "the environment is not open")
	}
	m.put(key, s.Files)
	if end {
		m.end(key)
	}
	return environment.Saved{Checkpoint: m.store(m.disks[m.slot][key].lines)}, nil
}

func (m *machine) Drop(key stead.SessionKey, residence stead.Seq) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.boxes[key]; b != nil && b.residence == residence {
		m.end(key)
	}
}

func (m *machine) Forget(context.Context, stead.SessionKey) error { return nil }

func (m *machine) Rewrite(context.Context, stead.SessionKey, []string, environment.Forgetting) ([]environment.Rewritten, error) {
	return nil, stead.Errorf(stead.KindNotImplemented, "nothing is files here")
}

func (m *machine) Evict(context.Context, stead.SessionKey, func() (bool, error)) error { return nil }

func (m *machine) Files(context.Context, stead.SessionKey, environment.State, environment.ListQuery) (environment.FilePage, error) {
	return environment.FilePage{}, nil
}

func (m *machine) Admits(context.Context, stead.SessionKey, string, int64) error { return nil }

func (m *machine) ReadFile(context.Context, stead.SessionKey, environment.State, string, io.Writer) error {
	return nil
}

func (m *machine) Background(stead.SessionKey) []string      { return nil }
func (m *machine) Origin(stead.SessionKey) tool.Origin       { return nil }
func (m *machine) Connected(stead.SessionKey) bool           { return false }
func (m *machine) Used(stead.SessionKey) environment.Resided { return environment.Resided{} }

// Tools are commands of every class of effect.
func (m *machine) Tools() []tool.Tool {
	spec := func(name string, e tool.Effect) tool.Tool {
		return command{m, tool.Spec{Name: name, Effect: e, Parameters: json.RawMessage(`{"type":"object"}`)}}
	}
	return []tool.Tool{spec("peek", tool.Pure), spec("write", tool.Idempotent), spec("sh", tool.Unknown)}
}

type command struct {
	m    *machine
	spec tool.Spec
}

func (c command) Spec() tool.Spec { return c.spec }

// Call runs a command. It ends with its environment, in the middle if need be.
func (c command) Call(ctx context.Context, call tool.Call) (tool.Result, error) {
	m, w := c.m, c.m.w
	m.mu.Lock()
	b := m.boxes[call.Session]
	if b != nil {
		m.ran = append(m.ran, ran{call.Session, call.Key, b.residence})
	}
	m.mu.Unlock()
	if b == nil {
		return tool.Result{}, &tool.NotSentError{Err: fmt.Errorf("the environment is not open")}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-b.done:
			cancel()
		case <-stop:
		}
	}()
	if call.Output != nil {
		call.Output("begin ")
	}
	if !sleep(ctx, w.upTo(toolDelay)) {
		return tool.Result{}, ctx.Err()
	}
	m.mu.Lock()
	if m.boxes[call.Session] != b {
		m.mu.Unlock()
		return tool.Result{}, fmt.Errorf("the environment is gone")
	}
	op := opOf(call.Arguments)
	result := w.tools.apply(op, call.Key, c.spec.Effect)
	if c.spec.Effect != tool.Pure {
		m.add(call.Session, op)
	}
	m.mu.Unlock()
	if !sleep(ctx, w.upTo(toolDelay)) {
		return tool.Result{}, ctx.Err()
	}
	code := 0
	return tool.Result{Content: stead.TextContent(stead.ContentInputText, result), Exit: &code}, nil
}

// computer is the plan of an environment.
func computer() *session.EnvironmentPlan {
	return &session.EnvironmentPlan{
		Type: session.EnvironmentHosted, Config: json.RawMessage(`{}`),
		Object: func(id string) json.RawMessage { return json.RawMessage(`{"type":"openai_hosted","id":"` + id + `"}`) },
	}
}

// check holds what ran against the journals.
//
//   - in the end nothing is resident anywhere;
//   - no command ran but in the residence that was open when its intent was journaled;
//   - no turn is completed before what its finished commands wrote is stored, wherever the environment is by
//     then, unless the agent was told of a reset that may have lost it, or storing it failed for good;
//   - what a finished command wrote is in every later checkpoint, unless the agent was told of a reset
//     that may have lost it.
func (c *computers) check(journals map[stead.SessionKey][]stead.Event) {
	for _, m := range c.hosts {
		for key, b := range m.boxes {
			c.w.failf("session %s is resident in slot %d (residence %d), and nobody needs it", key.Session, m.slot, b.residence)
		}
	}
	open := map[string][]stead.Seq{} // idempotency key → residences in which its intents were journaled
	for key, events := range journals {
		c.checkJournal(key, events, open)
	}
	for _, r := range c.ran {
		if !slices.Contains(open[r.key], r.residence) {
			c.w.failf("session %s: call %s ran in residence %d; its intents were in %v", r.session.Session, r.key, r.residence, open[r.key])
		}
	}
}

func (c *computers) checkJournal(key stead.SessionKey, events []stead.Event, open map[string][]stead.Seq) {
	w := c.w
	s := session.NewState(key)
	var written []string // by finished commands, that the workspace must hold
	for _, e := range events {
		env := s.Environment
		if env != nil && e.Kind == session.KindTurnCompleted && e.Thread == 0 && len(written) > 0 && !env.Unsaved {
			w.failf("session %s: the turn is completed at %d while the environment is %s, and %q is in no checkpoint", key.Session, e.Seq, env.Status, written)
		}
		switch p := decoded(w, e).(type) {
		case session.ToolCalled:
			call := s.At(e.Thread).CallByID(p.CallID)
			if env == nil || call == nil || !call.Tool.Environment {
				break
			}
			if env.Status != session.EnvironmentConnectedNow || env.Action != "" && env.Action != session.ActionSave {
				w.failf("session %s: call %s is begun at %d while the environment is %s (%s)", key.Session, p.CallID, e.Seq, env.Status, env.Action)
			}
			open[p.Key] = append(open[p.Key], env.Residence)
		case session.ToolReturned:
			if call := s.At(e.Thread).CallByID(p.CallID); env != nil && call != nil && call.Tool.Environment && call.Tool.Effect != tool.Pure && p.Exit != nil {
				written = append(written, opOf(call.Arguments))
			}
		case session.EnvironmentConnected:
			if p.Reset != nil && !p.Reset.Kept {
				written = nil
			}
		case session.EnvironmentCheckpointed:
			written = c.holds(key, e, p.Checkpoint, written)
		case session.EnvironmentSuspended:
			written = c.holds(key, e, p.Checkpoint, written)
		}
		if err := s.Apply(e); err != nil {
			w.failf("replay: %v", err)
			return
		}
	}
}

// holds checks a checkpoint; what it holds need not be looked for again, since the next begins with it.
func (c *computers) holds(key stead.SessionKey, e stead.Event, p environment.Checkpoint, written []string) []string {
	for _, op := range written {
		if !slices.Contains(c.stored[p.Digest], op) {
			c.w.failf("session %s: the checkpoint at %d lacks %s: it holds %q", key.Session, e.Seq, op, c.stored[p.Digest])
		}
	}
	return nil
}

// decoded is the payload of the kinds that the check reads; nil of all others.
func decoded(w *world, e stead.Event) any {
	var p any
	var err error
	switch e.Kind {
	case session.KindToolCalled:
		p, err = session.Decode[session.ToolCalled](e)
	case session.KindToolReturned:
		p, err = session.Decode[session.ToolReturned](e)
	case session.KindEnvironmentConnected:
		p, err = session.Decode[session.EnvironmentConnected](e)
	case session.KindEnvironmentCheckpointed:
		p, err = session.Decode[session.EnvironmentCheckpointed](e)
	case session.KindEnvironmentSuspended:
		p, err = session.Decode[session.EnvironmentSuspended](e)
	}
	if err != nil {
		w.failf("%v", err)
	}
	return p
}
