// Package sessiontest makes journals of sessions at random, for tests of whatever reads them.
//
// Shape: New(seed) → Gen; each Step appends one or a few events to Gen.Events: what session.Next
// asks for, an outcome of something in flight, input from outside, or a crash and its recovery.
// The events are such as a runner writes them, so every prefix of a journal is one that can be.
//
// The same seed gives the same journal. A Gen is not safe for concurrent use.
package sessiontest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// Key is the session of every generated journal.
var Key = stead.SessionKey{Project: "default", Session: "sess_0123456789abcdef0123456789abcdef"}

// start is the time of the first event: Unix milliseconds.
const start = 1_790_000_000_000

// Gen writes one journal.
type Gen struct {
	Events []stead.Event
	State  *session.State    // after Events
	Window session.Window    // of the session's model
	Blobs  map[string]string // digest → text

	rng    *rand.Rand
	asks   *rand.Rand // which calls of the model policies hold; nil: none
	now    int64
	model  *flight              // the step's model call in flight
	ids    map[string]stead.Seq // call id → the model call that used it last
	Async  bool                 // whether models ask for async calls
	Cancel bool                 // whether anything is cancelled
	Keep   bool                 // crash only when everything that was shown is journaled
	Agents bool                 // whether the agent makes subagents, and they do

	others map[stead.Seq]*flight // the steps' model calls of the threads that are not looked from
}

// flight is a model call in flight: what it will say, and how much of that is journaled.
type flight struct {
	seq     stead.Seq
	items   []session.ReplyItem
	plan    []session.Segment // the stream, whole, in small pieces
	flushed int               // pieces of plan in the journal
	listed  bool              // it was said which tools there are
	shown   int               // pieces of plan that watchers were shown
	finish  string
}

// New begins a journal with its session.created.
func New(seed uint64) *Gen { return begin(seed, false) }

func begin(seed uint64, agents bool) *Gen {
	g := &Gen{
		Agents: agents,
		State:  session.NewState(Key), Blobs: map[string]string{}, ids: map[string]stead.Seq{}, others: map[stead.Seq]*flight{}, now: start,
		rng: rand.New(rand.NewPCG(seed, 0x57ead)),
	}
	if seed%holdsModels == 2 { // of dice of its own, so that other journals stay what they are
		g.asks = rand.New(rand.NewPCG(seed, 0x401d))
	}
	g.Async, g.Cancel = g.chance(50), g.chance(80)
	if g.chance(40) {
		g.Window = session.Window{ContextTokens: 400 + g.rng.IntN(2000), OutputTokens: 50}
	}
	spec := agent.Spec{Model: "sim", Compaction: agent.Compaction{Async: g.chance(50)}, MultiAgent: agent.MultiAgent{Enabled: agents}}
	if g.chance(20) {
		spec.MaxSteps = 1 + g.rng.IntN(5)
	}
	if seed%remembers == 0 {
		spec.Tools = []agent.Tool{{Type: agent.ToolMemory, ServerLabel: agent.ToolMemory, MemoryStores: []agent.MemoryStore{{ID: "memstore_1"}},
			Recall:     &agent.Recall{Mode: agent.RecallAlways, TokenBudget: 100, MaxResults: 3},
			Extraction: &agent.Extraction{Store: "memstore_1", Strategies: []string{"fact"}, Scope: "user", Conversation: true}}}
	}
	created := session.Created{
		Agent: session.AgentPin{ID: "agent_1", Spec: spec}, Principal: stead.LocalPrincipal(),
		Environment: json.RawMessage(`{"type":"none"}`), Metadata: map[string]string{"seed": fmt.Sprint(seed)},
	}
	if g.chance(10) {
		limit := int64(1 + g.rng.IntN(20))
		created.SpendLimitCents = &limit
	}
	g.append(session.KindSessionCreated, created)
	return g
}

// Journal makes a journal of at least n events (fewer if the session fails).
func Journal(seed uint64, n int) *Gen { return New(seed).upTo(n) }

// NewWithSubagents is New of an agent with subagents.
func NewWithSubagents(seed uint64) *Gen { return begin(seed, true) }

// Subagents is Journal of an agent with subagents.
func Subagents(seed uint64, n int) *Gen { return NewWithSubagents(seed).upTo(n) }

func (g *Gen) upTo(n int) *Gen {
	for len(g.Events) < n && g.State.Failed == nil {
		g.Step()
	}
	return g
}

// Texts loads what the journal holds as blobs.
func (g *Gen) Texts(t stead.Text) string {
	if t.IsBlob() {
		return g.Blobs[t.Digest]
	}
	return t.Inline
}

// Streaming is the model call in flight: all that it will ever stream, in pieces, and how many of
// them the journal holds. Zero when no step's call is in flight.
func (g *Gen) Streaming() (call stead.Seq, plan []session.Segment, flushed int) {
	if g.model == nil {
		return 0, nil, 0
	}
	return g.model.seq, g.model.plan, g.model.flushed
}

// Read is a session.EventReader of the journal.
func (g *Gen) Read(after stead.Seq, limit int, desc bool) ([]stead.Event, error) {
	return Reader(g.Events)(after, limit, desc)
}

// Reader reads a journal from memory.
func Reader(events []stead.Event) session.EventReader {
	return func(after stead.Seq, limit int, desc bool) ([]stead.Event, error) {
		if limit < 1 || limit > stead.MaxReadEvents {
			return nil, stead.Errorf(stead.KindInternal, "read of %d events", limit)
		}
		if !desc {
			from := min(int(after), len(events))
			return events[from:min(from+limit, len(events))], nil
		}
		top := len(events)
		if after > 0 {
			top = min(top, int(after)-1)
		}
		var out []stead.Event
		for i := top - 1; i >= 0 && len(out) < limit; i-- {
			out = append(out, events[i])
		}
		return out, nil
	}
}

func (g *Gen) chance(percent int) bool { return g.rng.IntN(100) < percent }

func (g *Gen) append(kind string, payload any) {
	g.now += int64(g.rng.IntN(400))
	e, err := session.NewEvent(g.now, kind, payload)
	if err == nil {
		e.Seq, e.Thread = g.State.Tail+1, g.State.Focus()
		err = g.State.Apply(e)
	}
	if err != nil {
		panic(fmt.Sprintf("sessiontest: %s: %v", kind, err))
	}
	g.Events = append(g.Events, e)
	g.forget()
}

// forget drops a flight of a model call that is over.
func (g *Gen) forget() {
	if g.model != nil && (g.State.Turn == nil || g.State.Turn.Model == nil || g.State.Turn.Model.Seq != g.model.seq) {
		g.model = nil
	}
}

// on does something on a thread, with the flight that is that one's.
func (g *Gen) on(thread stead.Seq, do func()) {
	was := g.State.Focus()
	if thread == was {
		do()
		return
	}
	g.others[was] = g.model
	_ = g.State.On(thread, func() error {
		g.model = g.others[thread]
		g.forget()
		do()
		g.others[thread] = g.model
		return nil
	})
	g.model = g.others[was]
	g.forget()
}

// somewhere does something on a thread, mostly on one that works.
func (g *Gen) somewhere(do func()) {
	thread := stead.Seq(0)
	if n := len(g.State.Subagents); n > 0 && g.chance(70) {
		thread = g.State.Subagents[g.rng.IntN(n)].ID
	}
	g.on(thread, do)
}

// Step appends what happens next.
func (g *Gen) Step() {
	n := len(g.Events)
	for len(g.Events) == n {
		switch p := g.rng.IntN(100); {
		case p < 45:
			g.act()
		case p < 80:
			g.somewhere(g.happen)
		case p < 97:
			g.input()
		default:
			g.crash()
		}
	}
}

// act does what the core asks for, as a runner does: all of it, in one append.
func (g *Gen) act() {
	for _, c := range g.State.Next(g.Window) {
		if in, ok := c.(session.InThread); ok {
			g.on(in.Thread, func() {
				if g.State.Turn != nil {
					g.do(in.Command)
				}
			})
			continue
		}
		g.do(c)
	}
}

func (g *Gen) do(c session.Command) {
	switch c := c.(type) {
	case session.ActOnSubagent, session.AnswerTool, session.TellParent:
		g.about(c)
	case session.StartTurn:
		g.append(session.KindTurnStarted, session.TurnStarted{})
	case session.RecallMemory:
		g.append(session.KindMemoryCalled, session.MemoryCalled{Stores: []session.MemoryGate{{Store: "memstore_1", Decision: allowed}}})
	case session.KeepMemories:
		g.append(session.KindMemoryKeeping, session.MemoryKeepingStarted{Store: "memstore_1", Items: c.Items, Turns: c.Turns, Decision: allowed})
	case session.ExtractMemories:
		g.append(session.KindModelCalled, session.ModelCalled{Model: "sim", Purpose: session.PurposeRemember, Attempt: c.Attempt, Decision: allowed})
	case session.CallModel:
		if g.holds(session.PurposeStep, g.State.Context.Last()) {
			break
		}
		g.append(session.KindModelCalled, session.ModelCalled{Model: "sim", Attempt: c.Attempt, Decision: allowed})
		g.model = g.reply()
	case session.CompactContext:
		if g.holds(session.PurposeCompact, c.Upto) {
			break
		}
		g.append(session.KindModelCalled, session.ModelCalled{Model: "sim", Purpose: session.PurposeCompact, Attempt: 1, Upto: c.Upto, Decision: allowed})
	case session.CallTool:
		if c.Call.Function() {
			g.append(session.KindToolRequired, session.ToolRequired{CallID: c.Call.CallID, Decision: allowed})
			break
		}
		if len(c.Call.Approved) == 0 && !c.Call.Lapsed && c.Call.Attempts == 0 && g.chance(10) {
			g.append(session.KindToolHeld, session.ToolHeld{CallID: c.Call.CallID, Decision: g.holding()})
			break
		}
		g.append(session.KindToolCalled, session.ToolCalled{CallID: c.Call.CallID, Key: c.Call.Key(Key.Session), Attempt: c.Call.Attempts + 1, Decision: allowed})
	case session.LapseEffect:
		g.append(session.KindEffectLapsed, session.EffectLapsed{Asked: c.Wait.Asked})
	case session.LapseTool:
		g.append(session.KindToolLapsed, session.ToolLapsed{CallID: c.Call.CallID})
	case session.RefuseTool:
		g.append(session.KindToolReturned, session.ToolReturned{CallID: c.Call.CallID, Error: c.Reason})
	case session.EndTurn:
		g.flushShown()
		g.append(c.Kind, session.TurnEnded{Error: c.Error})
	case session.WaitUntil:
		g.now = max(g.now, c.At)
		g.append(session.KindTimerFired, session.TimerFired(c))
	}
}

// holdsModels: in one seed of so many policies hold calls of the model.
const holdsModels = 3

// remembers: one seed of so many recalls memories before its turns.
const remembers = 4

var allowed = policy.Decision{Allow: true, By: "test"}

// holds asks about a call of the model now and then, as policies may.
func (g *Gen) holds(purpose string, upto stead.Seq) bool {
	what := session.EffectHeld{EffectKey: session.EffectKey{Effect: policy.ModelCall, Of: g.State.Created.Agent.Spec.Model, Purpose: purpose}, Shown: json.RawMessage(fmt.Sprintf(`{"input":{"upto":%d}}`, upto))}
	if w := g.State.Waiting(what.EffectKey); w != nil && w.Covers(what.Shown) || g.asks == nil || g.asks.IntN(100) >= 20 {
		return false
	}
	what.Decision = g.holding()
	g.append(session.KindEffectHeld, what)
	return true
}

// holding is a decision that asks for approval, now and then for a time only.
func (g *Gen) holding() policy.Decision {
	d := policy.Decision{By: "test", Reason: "policy p asks for approval", Version: "v1", Needs: &policy.Needs{Roles: []stead.Role{"approver"}}}
	if g.chance(50) {
		d.Needs.ExpiresMS = 2000
		if g.chance(50) {
			d.Needs.Default = policy.DefaultAllow
		}
	}
	return d
}

// crash: another runner takes over. What was shown and not journaled is lost, unless Keep.
func (g *Gen) crash() {
	if g.Keep && g.model != nil && g.model.shown > g.model.flushed {
		return
	}
	if g.State.InFlight() {
		for _, sub := range g.State.Subagents {
			g.on(sub.ID, func() {
				for _, s := range g.lost() {
					g.append(session.KindModelCut, session.ModelCut{Spent: s})
				}
			})
		}
		g.append(session.KindRunnerRecovered, session.RunnerRecovered{Node: "node", Epoch: 2, Spent: g.lost()})
	}
}

// text makes a text, which is now and then a blob.
func (g *Gen) text(s string) stead.Text {
	if !g.chance(5) {
		return stead.NewText(s)
	}
	sum := sha256.Sum256([]byte(s))
	d := hex.EncodeToString(sum[:])
	g.Blobs[d] = s
	return stead.Text{Digest: d, Bytes: len(s)}
}

var words = []string{"harbour ", "über ", "日本 ", "lamp ", "x", "\n", "🙂 ", "quotation \"mark\" ", "seven "}

func (g *Gen) prose() string {
	s := words[g.rng.IntN(len(words))]
	for range g.rng.IntN(12) {
		s += words[g.rng.IntN(len(words))]
	}
	return s
}
