package session

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
)

// What is remembered of a session by itself. When a turn has ended, its messages become searchable, and a model
// takes out of them what is worth remembering; both happen beside whatever the session does next, and hold up
// no turn.
//
//	turn.completed ─▶ memory.keeping {items} ─▶ memory.kept           each message, without any model
//	               ─▶ model.called {remember} ─▶ memory.extracted     candidates, each with the items that it cites
//	               ─▶ memory.keeping {memories} ─▶ memory.kept        written, merged, superseding, refused
//
// Exactly once: what is written has ids that derive from the item, or from the place of memory.extracted, and
// is written in one transaction; a holder that does it again after a crash changes nothing. The turns that are owed
// stand in the state until memory.kept takes them off.

// Kinds of the events of remembering.
const (
	KindMemoryExtracted = "memory.extracted"
	KindMemoryKeeping   = "memory.keeping"
	KindMemoryKept      = "memory.kept"
)

const (
	// MaxLearned is the most candidates of one extraction, MaxLearnedBytes the longest text of one.
	MaxLearned      = 32
	MaxLearnedBytes = 1000
	// maxOwed is how many turns may wait to be remembered; the oldest are given up before there are more.
	maxOwed = 64
	// maxExtracted is how many turns one extraction is about.
	maxExtracted = 4
)

// KeepMemories writes what is to be remembered, after journaling the intent: items of turns, or what was extracted.
type KeepMemories struct {
	Items bool
	Turns []stead.Seq
}

// ExtractMemories asks a model what is worth remembering of turns. Skip says why it is not asked, "" if it is.
type ExtractMemories struct {
	Turns   []stead.Seq
	Attempt int
	Skip    string
}

func (KeepMemories) command()    {}
func (ExtractMemories) command() {}

// LearnView is what is owed.
type LearnView struct {
	Items    []stead.Seq `json:"items,omitempty"` // turns whose messages are not searchable yet, and items that came without one
	Turns    []stead.Seq `json:"turns,omitempty"` // turns out of which nothing was extracted yet
	Keep     stead.Seq   `json:"keep,omitempty"`  // memory.keeping under way; 0: none is
	Extract  *ModelCall  `json:"extract,omitempty"`
	Attempts int         `json:"attempts,omitempty"` // failed calls in a row
	RetryAt  int64       `json:"retry_at,omitempty"` // Unix milliseconds
	Why      string      `json:"why,omitempty"`      // the calls failed for good
	// Extracted is what a model found and is not written yet, and At the place of its event; nil: nothing is.
	Extracted *MemoryExtracted `json:"extracted,omitempty"`
	At        stead.Seq        `json:"at,omitempty"`
}

// MemoryExtracted is the outcome of a model call that remembers, or says why none was made.
type MemoryExtracted struct {
	Call    stead.Seq   `json:"call,omitempty"` // model.called; 0: none was made
	Turns   []stead.Seq `json:"turns"`
	Found   []Learned   `json:"found,omitempty"`
	Refused []Refused   `json:"refused,omitempty"`
	Error   string      `json:"error,omitempty"` // why nothing was extracted
	Finish  string      `json:"finish,omitempty"`
	// The rest is as in ModelReplied.
	Usage    stead.Usage  `json:"usage"`
	Guessed  bool         `json:"guessed,omitempty"`
	Cost     int64        `json:"cost,omitempty"`
	Prices   string       `json:"prices,omitempty"`
	Model    string       `json:"model,omitempty"`
	Provider string       `json:"provider,omitempty"`
	Region   string       `json:"region,omitempty"`
	Route    *model.Route `json:"route,omitempty"`
}

// Learned is a candidate.
type Learned struct {
	Kind       string   `json:"kind"`
	Text       string   `json:"content"`
	Subject    string   `json:"subject,omitempty"`    // what it is about: another value of the same subject contradicts it
	Items      []string `json:"items"`                // that it comes from, at least one
	Supersedes string   `json:"supersedes,omitempty"` // memory that is not true any more
	Confidence float64  `json:"confidence"`
	Importance float64  `json:"importance"`
}

// Refused is a candidate that is not remembered. What it said is not kept: it may be a secret.
type Refused struct {
	Kind string `json:"kind,omitempty"`
	Why  string `json:"why"`
}

// MemoryKeepingStarted is the intent of a write; its Seq names it.
type MemoryKeepingStarted struct {
	Store    string          `json:"store"`
	Items    bool            `json:"items,omitempty"` // of messages; else of what was extracted
	Turns    []stead.Seq     `json:"turns"`
	Decision policy.Decision `json:"decision"`
}

// MemoryKept is its outcome.
type MemoryKept struct {
	Call       stead.Seq   `json:"call,omitempty"` // memory.keeping
	Items      bool        `json:"items,omitempty"`
	Turns      []stead.Seq `json:"turns,omitempty"`
	Added      int         `json:"added,omitempty"`
	Merged     int         `json:"merged,omitempty"`
	Superseded int         `json:"superseded,omitempty"`
	Refused    []Refused   `json:"refused,omitempty"`
	Error      string      `json:"error,omitempty"` // why nothing was written; it is not tried again
	// Dropped: all that is owed is given up. A copy begins so: its source remembers what was said in it.
	Dropped bool `json:"dropped,omitempty"`
}

// LearnAsk is what memory is asked to do.
type LearnAsk struct {
	Key        stead.SessionKey
	Principal  stead.Principal   // whom the session belongs to
	Behind     []stead.Principal // as policy.Request.Behind
	Alone      bool              // as View.Alone: something may be remembered of Principal
	Agent      stead.AgentID
	Extraction agent.Extraction
	Session    stead.Labels // labels of the session
	Labels     []string     // of memories that the session was shown: what is made of them has them too
	Messages   []LearnMessage
	Found      []Learned
	At         stead.Seq // of the memory.extracted that found them
}

// LearnMessage is a message of a turn.
type LearnMessage struct {
	Item string // its id
	Role string // of whoever said it, or RoleTool
	Tool string // "server/tool", or the name of the application's; of a tool alone
	Text string
	At   int64 // Unix milliseconds: when its turn began
}

// LearnQuestion is what a model is asked.
type LearnQuestion struct {
	Instructions string
	Text         string
	Format       model.Format
}

// Holdings is what a session has: what a certificate of its deletion says.
type Holdings struct {
	Session     stead.SessionID `json:"session"`
	Events      int64           `json:"events"`
	Bytes       int64           `json:"bytes"`        // of the events' data
	Journal     string          `json:"journal"`      // SHA-256 of the events, in hex: of each its Seq, time, kind and data
	Blobs       int             `json:"blobs"`        // that the journal names
	BlobDigests string          `json:"blob_digests"` // SHA-256 of their digests, sorted, each with a newline
	Checkpoints int             `json:"checkpoints"`  // of an environment
}

// Erased says what went with what was deleted.
type Erased struct {
	Removed int `json:"removed"` // memories that came from nowhere else
	Changed int `json:"changed"` // memories that have other sources, and cite it no more
	Texts   int `json:"-"`       // that people wrote into audit records about it
}

// Busy reports whether something is under way.
func (l *LearnView) Busy() bool { return l.Keep != 0 || l.Extract != nil }

// Owes reports whether something is to be remembered still.
func (l *LearnView) Owes() bool {
	return len(l.Items)+len(l.Turns) > 0 || l.Busy() || l.Extracted != nil
}

// Extraction is what the session's agent wants to be remembered; nil: nothing.
func (v *View) Extraction() *agent.Extraction {
	if m := v.Created.Agent.Spec.Memory(); m != nil {
		return m.Extraction
	}
	return nil
}

// learns notes that the turn which is about to end is to be remembered.
func (v *View) learns() {
	e := v.Extraction()
	if e == nil || v.Turn == nil {
		return
	}
	if e.Conversation {
		v.Learn.Items = owe(v.Learn.Items, v.Turn.Seq)
	}
	if len(e.Strategies) > 0 {
		v.Learn.Turns = owe(v.Learn.Turns, v.Turn.Seq)
	}
}

func owe(list []stead.Seq, seq stead.Seq) []stead.Seq {
	list = append(slices.Clone(list), seq)
	return list[max(0, len(list)-maxOwed):]
}

// learnsItems notes that items which came without a turn are to be searchable. Those that came before anything was remembered are
// taken in with the turn behind them: see MessagesBefore.
func (v *View) learnsItems(seq stead.Seq) {
	if e := v.Extraction(); e != nil && e.Conversation {
		v.Learn.Items = owe(v.Learn.Items, seq)
	}
}

// failed takes the end of a model call in, if it is the one that remembers.
func (l *LearnView) failed(p ModelFailed) bool {
	if l.Extract == nil || l.Extract.Seq != p.Call {
		return false
	}
	l.Extract, l.Attempts, l.RetryAt = nil, l.Attempts+1, p.RetryAt
	if p.RetryAt == 0 {
		l.Why = p.Error.Message
	}
	return true
}

// spentBeside counts what a call used that is no turn's: its session pays for it all the same.
func (v *View) spentBeside(route *model.Route, s *Spent) {
	used, cost := route.Both(stead.Usage{}, 0)
	if s != nil {
		more, price := s.Route.Both(s.Usage, s.Cost)
		used, cost = used.Add(more), cost+price
	}
	v.Usage, v.Cost = v.Usage.Add(used), v.Cost+cost
}

func (v *View) extracted(e stead.Event, p MemoryExtracted) {
	l := &v.Learn
	if call := l.Extract; p.Call != 0 && (call == nil || call.Seq != p.Call) {
		return
	}
	used, cost := p.Route.Both(p.Usage, p.Cost)
	v.Usage, v.Cost = v.Usage.Add(used), v.Cost+cost
	l.Extract, l.Attempts, l.RetryAt, l.Why = nil, 0, 0, ""
	v.dropPurpose(PurposeRemember)
	l.Extracted, l.At = &p, e.Seq
	if len(p.Found) == 0 {
		l.Extracted = nil
		l.Turns = without(l.Turns, p.Turns)
	}
}

func (v *View) keeping(e stead.Event, _ MemoryKeepingStarted) { v.Learn.Keep = e.Seq }

func (v *View) kept(_ stead.Event, p MemoryKept) {
	l := &v.Learn
	switch {
	case p.Dropped:
		*l = LearnView{}
		v.dropEffects(func(w *EffectWait) bool { return w.beside() })
	case l.Keep == 0 || l.Keep != p.Call:
	case p.Items:
		l.Keep, l.Items = 0, without(l.Items, p.Turns)
		v.dropPurpose(PurposeItems)
	default:
		l.Keep, l.Extracted, l.Turns = 0, nil, without(l.Turns, p.Turns)
		v.dropPurpose(PurposeFound)
	}
}

func without(list, gone []stead.Seq) []stead.Seq {
	return slices.DeleteFunc(slices.Clone(list), func(s stead.Seq) bool { return slices.Contains(gone, s) })
}

// nextLearn says what is to be done about it: one thing at a time, messages first.
func (s *State) nextLearn() []Command {
	l, e := &s.Learn, s.Extraction()
	if s.Failed != nil || s.Paused || l.Busy() {
		return nil
	}
	if e == nil { // taken away meanwhile: what is owed waits, should it come back
		return nil
	}
	switch {
	case len(l.Items) > 0:
		return []Command{KeepMemories{Items: true, Turns: l.Items}}
	case l.Extracted != nil:
		return []Command{KeepMemories{Turns: l.Extracted.Turns}}
	case len(l.Turns) == 0:
		return nil
	case l.RetryAt > s.Now:
		return []Command{WaitUntil{l.RetryAt}}
	}
	ask := ExtractMemories{Turns: l.Turns[:min(len(l.Turns), maxExtracted)], Attempt: l.Attempts + 1, Skip: l.Why}
	if s.overspent() {
		ask.Skip = "The session reached its spend_control limit."
	} else if s.SpendTaken() {
		return nil
	}
	return []Command{ask}
}

// MessagesOf are the messages of a turn, of the user and of the agent, as lists show them, and with tools what tools said
// between them; what is not shown any more is not among them. The view is the session's.
func MessagesOf(v *View, read EventReader, turn stead.Seq, texts Texts, tools bool) ([]LearnMessage, error) {
	var out []LearnMessage
	said := Said{Tools: tools}
	q := ItemQuery{PageQuery: PageQuery{Limit: stead.MaxPageSize}, Turn: TurnID(v.Key.Session, turn), Gone: v.Gone()}
	begun, err := read(turn-1, 1, false)
	if err != nil || len(begun) == 0 {
		return nil, err
	}
	if begun[0].Kind == KindInputItems {
		return said.added(v, begun[0], texts)
	}
	for {
		page, err := ListItems(v.Key, read, q, texts)
		if err != nil {
			return nil, err
		}
		for _, it := range page.Data {
			q.After = it.ItemID()
			if m, ok := said.Of(it); ok {
				m.At = begun[0].At
				out = append(out, m)
			}
		}
		if !page.HasMore {
			return out, nil
		}
	}
}

// added are the messages among items that came without a turn.
func (s *Said) added(v *View, e stead.Event, texts Texts) ([]LearnMessage, error) {
	items, err := AddedItems(v.Key, e, texts)
	if err != nil {
		return nil, err
	}
	var out []LearnMessage
	for gone := v.Gone(); len(items) > 0; items = items[1:] {
		if m, ok := s.Of(items[0]); ok && !gone[m.Item] {
			m.At = e.At
			out = append(out, m)
		}
	}
	return out, nil
}

// MessagesBefore are those among the items that came without a turn between a turn and the one before it.
func MessagesBefore(v *View, read EventReader, turn stead.Seq, texts Texts, tools bool) ([]LearnMessage, error) {
	var found []stead.Event
	for before, more := turn, true; more && before > 1; {
		events, err := read(before, int(min(before-1, stead.MaxReadEvents)), true)
		if err != nil || len(events) == 0 {
			return nil, err
		}
		for _, e := range events {
			if before = e.Seq; endsTurn(e) {
				more = false
				break
			}
			if e.Kind == KindInputItems {
				found = append(found, e)
			}
		}
	}
	said := Said{Tools: tools}
	var out []LearnMessage
	for _, e := range slices.Backward(found) {
		some, err := said.added(v, e, texts)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

// Text is what a message says.
func (i *MessageItem) Text() string { return textOfParts(i.Content) }
