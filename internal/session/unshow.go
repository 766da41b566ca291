package session

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/tool"
)

// What a session was shown of a memory, or of a document, that is forgotten by now is taken out of its journal as a redacted item is:
// the events that show it are written anew in their places, each text by one of its length, and a session.item_redacted behind them
// says of each item which memories it was. What else was recalled or found beside it stays. So goes what a summary of the conversation
// may have of it, and what was extracted from turns since. What the model said itself stays.

// Unshower takes it out. It is shown the session's events in their order.
type Unshower struct {
	names map[string]bool            // STORE/ID
	ids   map[string]map[string]bool // by id: the stores
	since stead.Seq
	get   func(stead.Text) (string, error)
	put   func(text string) (stead.Text, error)

	calls map[string]spot // of tools that show such things, by the call's id
	first stead.Seq       // the first event that shows any of it
	gone  []string        // what guardrails said about it
}

// spot is an item's place in the journal.
type spot struct {
	prefix string
	seq    stead.Seq
	index  int
	server string
}

// Unshown is an event that shows, or showed, some of it.
type Unshown struct {
	Prefix   string // with Seq and Index the item's; "": the event makes none
	Seq      stead.Seq
	Index    int
	Memories []string // STORE/ID
	Event    stead.Event
	Was      []byte // its data before
}

// NewUnshower makes one of what is named STORE/ID and was shown behind the event since. get loads a text that stands beside the journal,
// and put stores one.
func NewUnshower(since stead.Seq, names []string, get func(stead.Text) (string, error), put func(string) (stead.Text, error)) *Unshower {
	u := &Unshower{names: map[string]bool{}, ids: map[string]map[string]bool{}, since: since, get: get, put: put, calls: map[string]spot{}}
	for _, n := range names {
		store, id, _ := strings.Cut(n, "/")
		if u.ids[id] == nil {
			u.ids[id] = map[string]bool{}
		}
		u.names[n], u.ids[id][store] = true, true
	}
	return u
}

// Said is what guardrails said about it in the events that were shown: it stands beside audit records too.
func (u *Unshower) Said() []string { return u.gone }

// Next is an event without it: nil where there is nothing of it.
func (u *Unshower) Next(e stead.Event) (*Unshown, error) {
	switch e.Kind {
	case KindModelReplied:
		p, err := Decode[ModelReplied](e)
		for i, it := range p.Items {
			u.call(it.CallID, it.Tool, spot{callPrefix, p.Call, i, ""})
		}
		return nil, err
	case KindInputMessage:
		p, err := Decode[Message](e)
		if p.Response != nil {
			for _, a := range p.Response.Approved {
				u.call(a.CallID, &a.Tool, spot{callPrefix, e.Seq, a.Item, ""})
			}
		}
		return nil, err
	case KindToolRequested:
		p, err := Decode[ToolRequested](e)
		u.call(p.CallID, &p.Tool, spot{callPrefix, e.Seq, 0, ""})
		return nil, err
	case KindMemoryRecalled:
		return u.changed(e, spot{prefix: recallPrefix, seq: e.Seq}, func() (stead.Event, []string, error) { return u.recalled(e) })
	case KindToolReturned:
		p, err := Decode[ToolReturned](e)
		at, ours := u.calls[p.CallID]
		if err != nil || !ours {
			return nil, err
		}
		return u.changed(e, at, func() (stead.Event, []string, error) { return u.returned(e, at.server) })
	case KindContextCompacted:
		return u.changed(e, spot{}, func() (stead.Event, []string, error) { return u.compacted(e) })
	case KindMemoryExtracted:
		return u.changed(e, spot{}, func() (stead.Event, []string, error) { return u.extracted(e) })
	}
	return nil, nil
}

// call notes a call of a tool that shows such things.
func (u *Unshower) call(id string, how *ToolCall, at spot) {
	if id == "" {
		return
	}
	delete(u.calls, id) // an id may come again
	if how != nil && (how.Server == agent.ToolMemory || how.Server == tool.FileSearchName) {
		at.server = how.Server
		u.calls[id] = at
	}
}

func (u *Unshower) changed(e stead.Event, at spot, do func() (stead.Event, []string, error)) (*Unshown, error) {
	next, shows, err := do()
	if err != nil || len(shows) == 0 && bytes.Equal(next.Data, e.Data) {
		return nil, err
	}
	if len(shows) > 0 && u.first == 0 {
		u.first = e.Seq
	}
	if at.prefix == "" {
		shows = slices.Collect(maps.Keys(u.names)) // of which it may have something
	}
	slices.Sort(shows)
	return &Unshown{Prefix: at.prefix, Seq: at.seq, Index: at.index, Memories: slices.Compact(shows), Event: next, Was: e.Data}, nil
}

func (u *Unshower) recalled(e stead.Event) (stead.Event, []string, error) {
	var shows []string
	next, err := change(e, func(p *MemoryRecalled) (changed bool) {
		for i := range p.Entries {
			r := &p.Entries[i]
			name := r.Store + "/" + r.ID
			if !u.names[name] {
				continue
			}
			shows = append(shows, name)
			if text := redacted(len(r.Text)); r.Text != text || r.Author != "" || r.Explain != nil {
				r.Text, r.Author, r.Explain, changed = text, "", nil, true // what explains names words
			}
		}
		return u.findings(p.Guardrails, len(shows) > 0) || changed
	})
	return next, shows, err
}

// findings: what a guardrail said may repeat what it read.
func (u *Unshower) findings(all []guardrail.Finding, ours bool) (changed bool) {
	for i := range all {
		if f := &all[i]; ours && f.Reason != "" {
			u.gone, f.Reason, changed = append(u.gone, f.Reason), "", true
		}
	}
	return changed
}

func (u *Unshower) returned(e stead.Event, server string) (stead.Event, []string, error) {
	var shows []string
	var failed error
	next, err := change(e, func(p *ToolReturned) (changed bool) {
		for i := range p.Output {
			text, found, err := u.output(p.Output[i].Text, server)
			if err != nil {
				failed = err
				return false
			}
			if shows = append(shows, found...); text != nil {
				p.Output[i].Text, changed = *text, true
			}
		}
		return u.findings(p.Guardrails, len(shows) > 0) || changed
	})
	if failed != nil {
		err = failed
	}
	return next, shows, err
}

// output is what a tool said, without it; nil: it says nothing of it, or no more.
func (u *Unshower) output(t stead.Text, server string) (*stead.Text, []string, error) {
	said, err := u.get(t)
	if err != nil {
		return nil, nil, err
	}
	out, found := u.lines(said)
	if server == tool.FileSearchName {
		out, found = u.passages(said)
	}
	if out == said {
		return nil, found, nil
	}
	if !t.IsBlob() {
		text := stead.NewText(out)
		return &text, found, nil
	}
	text, err := u.put(out)
	return &text, found, err
}

const (
	linePart    = " · "
	lineContext = "context" + linePart
)

// lines takes entries out of what memory_search says: a line each, which begins with the entry's id.
func (u *Unshower) lines(said string) (string, []string) {
	lines, found := strings.Split(said, "\n"), []string(nil)
	for i, line := range lines {
		head := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if strings.HasPrefix(line[len(head):], lineContext) {
			head += lineContext
		}
		id, rest, ok := strings.Cut(line[len(head):], linePart)
		if !ok || u.ids[id] == nil {
			continue
		}
		for store := range u.ids[id] {
			found = append(found, store+"/"+id)
		}
		lines[i] = head + id + linePart + redacted(len(rest))
	}
	return strings.Join(lines, "\n"), found
}

// foundPassage is what file_search says of a passage; see package tool/filesearch.
type foundPassage struct {
	Cite       string         `json:"cite,omitempty"`
	FileID     string         `json:"file_id"`
	Filename   string         `json:"filename"`
	Score      float64        `json:"score"`
	Attributes map[string]any `json:"attributes"`
	Text       string         `json:"text"`
}

// passages takes those of files out of what file_search says. Each is replaced by one of its length, which has the file's id and the mark.
func (u *Unshower) passages(said string) (string, []string) {
	var all struct {
		Results []json.RawMessage `json:"results"`
	}
	if json.Unmarshal([]byte(said), &all) != nil {
		return u.unreadable(said)
	}
	var found []string
	var out strings.Builder
	for _, raw := range all.Results {
		var p foundPassage
		if json.Unmarshal(raw, &p) != nil || u.ids[p.FileID] == nil {
			continue
		}
		for store := range u.ids[p.FileID] {
			found = append(found, store+"/"+p.FileID)
		}
		before, after, ok := strings.Cut(said, string(raw))
		if !ok {
			return u.unreadable(said)
		}
		bare, err := json.Marshal(foundPassage{Cite: p.Cite, FileID: p.FileID, Attributes: map[string]any{}})
		if err != nil {
			return u.unreadable(said)
		}
		room := max(len(raw)-len(bare), 0)
		out.WriteString(before)
		out.Write(bare[:len(bare)-len(`"}`)])
		out.WriteString(redacted(room) + `"}`)
		said = after
	}
	return out.String() + said, found
}

// unreadable is for what a guardrail left of a result, so that nobody knows what is whose: all of it goes where it names any of it.
func (u *Unshower) unreadable(said string) (string, []string) {
	var found []string
	for id, stores := range u.ids {
		for store := range stores {
			if strings.Contains(said, id) {
				found = append(found, store+"/"+id)
			}
		}
	}
	if len(found) == 0 {
		return said, nil
	}
	return redacted(len(said)), found
}

// compacted: a summary of what showed it is void, and what it stood for is given to the model again.
func (u *Unshower) compacted(e stead.Event) (stead.Event, []string, error) {
	next, err := change(e, func(p *ContextCompacted) bool {
		if u.first == 0 || p.Upto < u.first || p.Redacted {
			return false
		}
		p.Summary, p.Redacted = stead.Text{}, true
		return true
	})
	return next, nil, err
}

// extracted: what a model found in turns behind it was kept, or forgotten, long since.
func (u *Unshower) extracted(e stead.Event) (stead.Event, []string, error) {
	next, err := change(e, func(p *MemoryExtracted) (changed bool) {
		for i := range p.Found {
			if f := &p.Found[i]; e.Seq > u.since && (f.Text != "" || f.Subject != "") {
				f.Text, f.Subject, changed = "", "", true
			}
		}
		return changed
	})
	return next, nil, err
}

// Unshown reports whether the event says of an item that these were taken out of it.
func (p ItemRedacted) Unshown(x Unshown) bool {
	return p.Prefix == x.Prefix && p.Seq == x.Seq && p.Index == x.Index && !slices.ContainsFunc(x.Memories, func(m string) bool { return !slices.Contains(p.Memories, m) })
}
