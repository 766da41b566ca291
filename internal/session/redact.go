package session

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
)

// Redaction takes what an item said out of the journal, for good: the events that hold it are written anew, in their places, and a
// session.item_redacted behind them says which they were, with digests of what they hold now: an export that lacks a text which it
// once had can be told from one that somebody changed. Of what they held there is no digest. A short text can be found by trying.
//
// Cursors and sequence numbers count bytes of text. What takes the place of a text therefore has its length, and a stream that is
// replayed has every event where it was.

// KindItemRedacted is the kind of ItemRedacted. States that were folded before it may hold what it took out: see Stale.
const KindItemRedacted = "session.item_redacted"

// ItemRedacted says that an item was redacted.
type ItemRedacted struct {
	// Prefix, Seq and Index make the item's id, without the session, as in ItemDeleted.
	Prefix string          `json:"prefix"`
	Seq    stead.Seq       `json:"seq"`
	Index  int             `json:"index"`
	Events []RedactedEvent `json:"events"`
	By     stead.Principal `json:"by"`
	// Memories (STORE/ID) are what was taken out of the item, and nothing else was; empty: all that it said. See Unshower.
	Memories []string `json:"memories,omitempty"`
	// Files is how many files of these memories were taken out of checkpoints of the workspace, in each once. The event then makes no
	// item either, and has FilesIndex.
	Files int `json:"files,omitempty"`
	// Upto is the last event that brought a checkpoint when that was done: in none up to it is anything left of these memories; 0: nobody said so.
	Upto stead.Seq `json:"upto,omitempty"`
	// Blobs is how many texts beside the journal are named no longer, where the next look at the session removes them.
	Blobs int `json:"blobs,omitempty"`
}

// FilesIndex is the Index of an ItemRedacted about checkpoints: without a Prefix, 0 is what was made of what was said.
const FilesIndex = 1

// RedactedEvent is an event that was written anew.
type RedactedEvent struct {
	Seq    stead.Seq `json:"seq"`
	Bytes  int       `json:"bytes"`  // of its data, as it was
	SHA256 string    `json:"sha256"` // of its data as it is, in hex
}

// Redaction is what is redacted of one item of one session.
type Redaction struct {
	Session stead.SessionID `json:"session"`
	Item    string          `json:"item"`
	Events  []RedactedEvent `json:"events"`
	Blobs   int             `json:"blobs"` // texts that stood beside the journal
	// Files is how many files of memories were taken out of checkpoints, in each once.
	Files int `json:"files,omitempty"`
	// Unnamed are the digests of these until they are removed.
	Unnamed []string `json:"unnamed,omitempty"`
}

// Is reports whether the event says that an item was redacted.
func (p ItemRedacted) Is(session stead.SessionID, item string) bool {
	return len(p.Memories) == 0 && stead.DerivedID(p.Prefix, session, p.Seq, p.Index) == item
}

// Stale reports whether a state may hold what an event says was taken out: one that was folded, at least in part, from events
// that were read before it was there. The journal is to be folded again, from its beginning, and no snapshot will do.
func Stale(e stead.Event, read stead.Seq) bool { return e.Kind == KindItemRedacted && e.Seq > read }

const (
	redactedWord = "[redacted]"
	// minRedactedJSON is the length of the shortest arguments that say so.
	minRedactedJSON = len(`{"redacted":""}`)
)

// Redactor redacts one item. It is shown the session's events in their order.
type Redactor struct {
	named  ItemRedacted // by the item's id
	seq    stead.Seq    // with index, where it stands: a call that was allowed by a later response, where it was asked about
	index  int
	callID string // of a call or its output; "": none, or not known yet
	// put stores what takes the place of a text that is too long for the journal.
	put  func(text string) (stead.Text, error)
	said bool // the first piece of its streamed text was seen: what follows is the rest
	over bool // its call's id is another call's by now
	err  error
	// asks is why guardrails wanted its call to be approved, which may quote the arguments: decisions about the call repeat it.
	asks []string
	held []stead.Seq // questions about effects of its call
	gone []string    // what people wrote about it, and why guardrails did something to it, as it was
	// thread is the subagent's in whose turn the item stands, or of whose turn it tells; 0: of none. That turn ends behind from: why it
	// failed may quote the item, and its parent is told.
	thread, from stead.Seq
	ended        bool // it has
}

// NewRedactor redacts an item of a session; false for one that has no place in the journal.
func NewRedactor(session stead.SessionID, item Item, put func(string) (stead.Text, error)) (*Redactor, bool) {
	prefix, seq, index, ok := stead.ParseDerivedID(session, item.ItemID())
	if !ok || index < 0 {
		return nil, false
	}
	r := &Redactor{named: ItemRedacted{Prefix: prefix, Seq: seq, Index: index}, seq: seq, index: index, put: put}
	switch it := item.(type) {
	case *MCPCallItem: // whose question, if it came along with the request, is of another session
		if _, seq, index, ok := stead.ParseDerivedID(session, it.RequestID); ok && index >= 0 {
			r.seq, r.index = seq, index
		}
	case *FunctionCallItem:
		r.callID = it.CallID
	case *FunctionOutputItem:
		r.callID = it.CallID
	case *AgentMessageItem:
		if it.Source != "" { // what it repeats is redacted, and it with that
			return nil, false
		}
		r.thread, r.from = it.subagent, it.of
	}
	return r, true
}

// Said is what people wrote about the item, and guardrails found in it, in the events that were shown: it stands beside audit records too.
func (r *Redactor) Said() []string { return append(slices.Clone(r.gone), r.asks...) }

// Event is the event of the redaction.
func (r *Redactor) Event(events []RedactedEvent, by stead.Principal) ItemRedacted {
	out := r.named
	out.Events, out.By = events, by
	return out
}

// Next is an event without what the item said. Its data is the same where it holds nothing of that, or no more.
func (r *Redactor) Next(e stead.Event) (stead.Event, error) {
	out, err := r.next(e)
	if err == nil {
		err = r.err
	}
	return out, err
}

func (r *Redactor) next(e stead.Event) (stead.Event, error) {
	p, err := opened(e)
	if err != nil || !r.look(e, p) {
		return e, err
	}
	return p.event(e)
}

// look takes what the item said out of an event, which is opened; nil: it is of a kind that says nothing. false: there is nothing of it in it.
func (r *Redactor) look(e stead.Event, p payload) bool {
	if e.Seq == r.seq && r.from == 0 {
		r.thread, r.from = e.Thread, e.Seq
	}
	if p == nil {
		if e.Kind == KindTurnCompleted || e.Kind == KindTurnCancelled {
			r.ends(e)
		}
		return false
	}
	switch p := p.says().(type) {
	case *Message:
		return r.message(e.Seq, p)
	case *ItemsInput:
		return e.Seq == r.seq && r.given(p.Items) && r.findings(p.Guardrails)
	case *ModelStreamed:
		return r.streamed(p)
	case *ModelReplied:
		return r.replied(p)
	case *ContextCompacted:
		if p.Upto < r.seq || p.Redacted {
			return false
		}
		p.Summary, p.Redacted = stead.Text{}, true
		return true
	case *MemoryRecalled:
		return e.Seq == r.seq && r.recalled(p)
	case *MemoryExtracted:
		return r.extracted(p)
	case *ToolsListed:
		return e.Seq == r.seq && r.listed(p)
	case *SubagentCreated:
		if !r.gives(p.CallID) {
			return false
		}
		p.Task = r.content(p.Task)
		return true
	case *SubagentInput:
		if !r.gives(p.CallID) {
			return false
		}
		p.Content = r.content(p.Content)
		return true
	case *SubagentAnswered:
		return r.answered(e.Seq, p)
	case *ModelFailed:
		return r.inTurn(e) && r.failure(&p.Error)
	case *TurnEnded:
		return r.ends(e) && r.failure(p.Error)
	case *EnvironmentConnected:
		return r.commanded(e.Seq) && p.Reset.redact()
	case *EnvironmentCheckpointed:
		return r.commanded(e.Seq) && redactAll(p.Background)
	default:
		return r.called(e, p)
	}
}

// inTurn reports whether an event is of the turn of a subagent in which the item stands, and comes behind it.
func (r *Redactor) inTurn(e stead.Event) bool {
	return r.thread != 0 && e.Thread == r.thread && r.from != 0 && e.Seq > r.from && !r.ended
}

// ends reports whether an event ends that turn.
func (r *Redactor) ends(e stead.Event) bool {
	ends := r.inTurn(e)
	r.ended = r.ended || ends
	return ends
}

// failure takes out why something failed.
func (r *Redactor) failure(e *TurnError) bool {
	if e == nil || e.Message == "" {
		return false
	}
	e.Message = redacted(len(e.Message))
	return true
}

// gives reports whether a call is redacted by which an agent gave its subagent a task.
func (r *Redactor) gives(callID string) bool {
	return r.named.Prefix == subagentCallPrefix && callID != "" && callID == r.callID && !r.over
}

// answered: an answer repeats what a subagent said, and how its turn failed, which may quote what stands in it.
func (r *Redactor) answered(seq stead.Seq, p *SubagentAnswered) (changed bool) {
	if p.Subagent == r.thread && r.thread != 0 && seq > r.from && p.Turn <= r.from {
		changed = r.failure(p.Error)
	}
	said := p.Call == r.seq && p.Index == r.index && r.named.Prefix == messagePrefix
	if told := seq == r.seq && r.named.Prefix == agentMessagePrefix; (said || told) && len(p.Content) > 0 {
		p.Content, changed = r.content(p.Content), true
	}
	return changed
}

func (r *Redactor) message(seq stead.Seq, p *Message) (changed bool) {
	switch {
	case seq != r.seq:
	case r.index < len(p.Input):
		p.Input[r.index].Content = r.content(p.Input[r.index].Content)
		changed = r.findings(p.Guardrails)
	default:
		changed = r.given(p.Items) && r.findings(p.Guardrails)
	}
	if p.Response == nil || r.callID == "" || r.named.Prefix == outputPrefix {
		return changed
	}
	for i := range p.Response.Approved { // a later response repeats a call that it allows
		if c := &p.Response.Approved[i]; c.CallID == r.callID {
			c.Arguments, c.Tool, changed = redactedJSON(c.Arguments), r.toolCall(c.Tool), true
		}
	}
	return changed
}

func (r *Redactor) given(items []stead.Item) bool {
	if r.index >= len(items) {
		return false
	}
	r.item(&items[r.index])
	if r.named.Prefix != callPrefix {
		return true
	}
	r.callID = items[r.index].CallID // its place is its answer's; the question came along
	for i := range items {
		if items[i].Question != nil && items[i].CallID == r.callID {
			r.item(&items[i])
		}
	}
	return true
}

// findings: a judge's reason may repeat what it read.
func (r *Redactor) findings(all []guardrail.Finding) bool {
	for i := range all {
		if all[i].Reason != "" {
			r.gone, all[i].Reason = append(r.gone, all[i].Reason), ""
		}
	}
	return true
}

func (r *Redactor) streamed(p *ModelStreamed) (changed bool) {
	for i := range p.Segments {
		if s := &p.Segments[i]; p.Call == r.seq && s.Index == r.index && s.Text != "" {
			s.Text, changed = r.run(s.Text), true
		}
	}
	return changed
}

// run is what takes the place of a piece of streamed text: the first says so.
func (r *Redactor) run(text string) string {
	if r.said {
		return strings.Repeat(" ", len(text))
	}
	r.said = true
	return redacted(len(text))
}

func (r *Redactor) replied(p *ModelReplied) bool {
	if p.Call != r.seq || r.index >= len(p.Items) || r.named.Prefix == outputPrefix {
		again := func(it ReplyItem) bool { return it.CallID != "" && it.CallID == r.callID }
		r.over = r.over || p.Call > r.seq && slices.ContainsFunc(p.Items, again)
		return false
	}
	it := &p.Items[r.index]
	r.item(&it.Item)
	if it.Tool != nil {
		tool := r.toolCall(*it.Tool)
		it.Tool = &tool
	}
	return r.findings(p.Guardrails)
}

// item redacts an item. Of a text that was streamed it holds the rest, or a blob with the whole.
func (r *Redactor) item(it *stead.Item) {
	rest := func(t stead.Text) stead.Text {
		if r.said && !t.IsBlob() {
			return stead.NewText(r.run(t.Inline))
		}
		return r.text(t)
	}
	content := r.content(it.Content)
	if len(content) > 0 && r.said {
		content[0].Text = rest(it.Content[0].Text)
	}
	it.Content, it.Output = content, r.content(it.Output)
	for i := range it.Summary {
		it.Summary[i] = rest(it.Summary[i])
	}
	it.Encrypted, it.Provider = nil, ""
	if it.CallID != "" && it.Type != stead.ItemApprovalResponse { // an answer has the id of a call that is another item
		r.callID = it.CallID
	}
	if it.Arguments != nil {
		it.Arguments = redactedJSON(it.Arguments)
	}
	if it.Error != "" {
		it.Error = redactedWord
	}
	if it.Answer != nil {
		answer := *it.Answer
		if answer.Reason != "" {
			r.gone = append(r.gone, answer.Reason)
		}
		answer.Reason, it.Answer = "", &answer
	}
}

// content keeps the parts, each with a text of its length; of pictures and files nothing is kept but that there was a part.
func (r *Redactor) content(parts []stead.Content) []stead.Content {
	out := make([]stead.Content, len(parts))
	for i, p := range parts {
		switch p.Type {
		case stead.ContentInputImage, stead.ContentInputFile:
			out[i] = stead.Content{Type: stead.ContentInputText, Text: stead.NewText(redactedWord)}
		default:
			out[i] = stead.Content{Type: p.Type, Text: r.text(p.Text)}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func (r *Redactor) text(t stead.Text) stead.Text {
	if !t.IsBlob() {
		return stead.NewText(redacted(len(t.Inline)))
	}
	out, err := r.put(redacted(t.Bytes))
	if err != nil && r.err == nil {
		r.err = err
	}
	return out
}

func (r *Redactor) recalled(p *MemoryRecalled) bool {
	for i := range p.Entries {
		e := &p.Entries[i]
		e.Text, e.Author, e.Explain = redacted(len(e.Text)), "", nil // what explains names words
	}
	return r.findings(p.Guardrails) // of entries that they blocked, too
}

// listed: what a tool server said of its tools. Mark stays: a later response lists it again only when it says something else.
func (r *Redactor) listed(p *ToolsListed) bool {
	if r.named.Prefix != toolListPrefix || r.index >= len(p.Servers) {
		return false
	}
	s := &p.Servers[r.index]
	if s.Error != "" {
		s.Error = redacted(len(s.Error))
	} else {
		s.List = stead.NewText("[]")
	}
	return true
}

// extracted: what a model found in the item is not remembered.
func (r *Redactor) extracted(p *MemoryExtracted) (changed bool) {
	for i := range p.Found {
		if f := &p.Found[i]; slices.ContainsFunc(f.Items, r.is) && f.Text != "" {
			f.Text, f.Subject, changed = "", "", true
		}
	}
	return changed
}

// is reports whether an id is the item's, in this session or in the one that this is a copy of.
func (r *Redactor) is(id string) bool {
	of, ok := stead.SessionOf(id)
	if !ok {
		return false
	}
	prefix, seq, index, ok := stead.ParseDerivedID(of, id)
	return ok && prefix == r.named.Prefix && seq == r.named.Seq && index == r.named.Index
}

// redacted takes the place of a text of so many bytes. It is never white space alone, which providers refuse.
func redacted(bytes int) string {
	if bytes < len(redactedWord) {
		return strings.Repeat("-", bytes)
	}
	return redactedWord + strings.Repeat(" ", bytes-len(redactedWord))
}

// redactedJSON takes the place of arguments.
func redactedJSON(arguments json.RawMessage) json.RawMessage {
	if len(arguments) < minRedactedJSON {
		return json.RawMessage(`{}`)
	}
	return json.RawMessage(`{"redacted":"` + strings.Repeat(" ", len(arguments)-minRedactedJSON) + `"}`)
}

// RedactedJSON reports whether arguments are what takes the place of others. Short ones can't be told from none.
func RedactedJSON(arguments json.RawMessage) bool {
	rest, ok := bytes.CutPrefix(arguments, []byte(`{"redacted":"`))
	return string(arguments) == `{}` || ok && string(bytes.TrimLeft(rest, " ")) == `"}`
}

// ShortRedacted is a text without the room that redaction left in it: a model is not to pay for it.
func ShortRedacted(text string) string {
	if rest, ok := strings.CutPrefix(text, redactedWord); ok && strings.Trim(rest, " ") == "" {
		return redactedWord
	}
	return text
}
