package remember

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/extract"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
)

// What is remembered after a turn: messages as they were said, and what a model took out of them.

const (
	// maxKnown is how many memories a model is shown that may be said again or contradicted.
	maxKnown = 20
	// middle is the confidence and importance of what says nothing of its own.
	middle = 0.5
	// MetaTool is the key of an entry's metadata that says which tool said it: "server/tool".
	MetaTool = "tool"
	// MetaPart and MetaLeftOut say which part of a long message it is, and how much behind it is not searchable.
	MetaPart, MetaLeftOut = "part", "left_out"
	// placeBits is how many items of one event have places of their own in a conversation.
	placeBits = 12
)

// Question is what a model is asked about messages.
func (r *Remember) Question(ctx context.Context, ask session.LearnAsk) (session.LearnQuestion, error) {
	q := askOf(ask)
	known, err := r.known(ctx, ask)
	if err != nil {
		return session.LearnQuestion{}, err
	}
	q.Known = known
	told, text := q.Question()
	return session.LearnQuestion{Instructions: told, Text: text, Format: model.Format{Name: extract.FormatName, Schema: q.Schema(), Strict: true}}, nil
}

// Answer reads what the model said.
func (r *Remember) Answer(ask session.LearnAsk, said string) ([]session.Learned, []session.Refused, error) {
	q := askOf(ask)
	q.AnyKnown = true // they were shown, and what is none is none of the store's: Learn finds out
	found, refused, err := q.Read(said)
	var out []session.Learned
	for _, f := range found {
		out = append(out, session.Learned(f))
	}
	var not []session.Refused
	for _, f := range refused {
		not = append(not, session.Refused(f))
	}
	return out, not, err
}

func askOf(ask session.LearnAsk) extract.Ask {
	q := extract.Ask{Kinds: ask.Extraction.Strategies, Instructions: ask.Extraction.Instructions}
	for _, m := range ask.Messages {
		q.Messages = append(q.Messages, extract.Message{Item: m.Item, Role: m.Role, Text: m.Text, At: m.At})
	}
	return q
}

// known are memories of the same scope that bear on what was said.
func (r *Remember) known(ctx context.Context, ask session.LearnAsk) ([]extract.Known, error) {
	var texts []string
	for _, m := range ask.Messages {
		if m.Role == stead.RoleUser {
			texts = append(texts, m.Text)
		}
	}
	query := strings.TrimSpace(strings.Join(texts, "\n"))
	if query == "" {
		return nil, nil
	}
	query = strings.ToValidUTF8(query[:min(len(query), memory.MaxQueryBytes)], "")
	in := r.in(ask, scopeOf(ask))
	found, err := in.Search(ctx, acting(ask.Principal, ask.Key), ask.Extraction.Store, memory.Search{Query: query, Limit: maxKnown, Filter: memory.Filter{
		Scopes: []memory.Scope{scopeOf(ask)}, Kinds: []memory.Kind{memory.KindFact, memory.KindPreference, memory.KindProcedure},
	}})
	switch stead.KindOf(err) {
	case "":
	case stead.KindForbidden, stead.KindNotFound:
		return nil, nil
	default:
		return nil, err
	}
	var out []extract.Known
	for _, h := range found.Hits {
		out = append(out, extract.Known{ID: h.ID, Kind: string(h.Kind), Text: h.Text})
	}
	return out, nil
}

// in is the memory that a session learns into, of some scopes or all.
func (r *Remember) in(ask session.LearnAsk, scopes ...memory.Scope) *memory.Service {
	by := memory.For{Principal: ask.Principal, Behind: ask.Behind, Shared: !ask.Alone, Agent: ask.Agent, Session: ask.Key, Scopes: scopes}
	by.Labels = ask.Session
	if len(ask.Labels) > 0 {
		by.Labels = by.Labels.And(stead.Labels{session.LabelMemory: ask.Labels})
	}
	return r.memory.In(by)
}

// scopeOf is whom the memories of a session are about.
func scopeOf(ask session.LearnAsk) memory.Scope {
	if team, of := strings.CutPrefix(ask.Extraction.Scope, agent.MemoryScopeTeam); of {
		return memory.Scope{Type: memory.ScopeTeam, ID: team}
	}
	switch ask.Extraction.Scope {
	case memory.ScopeUser:
		return memory.Scope{Type: memory.ScopeUser, ID: ask.Principal.ID}
	case memory.ScopeAgent:
		return memory.Scope{Type: memory.ScopeAgent, ID: string(ask.Agent)}
	}
	return memory.Scope{Type: memory.ScopeProject}
}

// Keep writes messages, or what was found.
func (r *Remember) Keep(ctx context.Context, ask session.LearnAsk, items bool) (session.MemoryKept, error) {
	by := acting(ask.Principal, ask.Key)
	var out session.MemoryKept
	if items {
		added, err := r.in(ask).Ingest(ctx, by, ask.Extraction.Store, messages(ask))
		out.Added = added
		return out, err
	}
	taught, err := r.in(ask).Learn(ctx, by, ask.Extraction.Store, ask.Key.Session, ask.At, lessons(ask))
	out.Added, out.Merged, out.Superseded = taught.Added, taught.Merged, taught.Superseded
	for _, not := range taught.Refused {
		out.Refused = append(out.Refused, session.Refused{Kind: string(not.Kind), Why: not.Why})
	}
	return out, err
}

// Forget forgets all that comes from a session, or from one item of it.
func (r *Remember) Forget(ctx context.Context, p stead.Principal, key stead.SessionKey, item string) (session.Erased, error) {
	p.Project = key.Project
	done, err := r.memory.ForgetSession(ctx, p, string(key.Session), item)
	return session.Erased{Removed: done.Removed, Changed: done.Changed}, err
}

// Copied notes that a session is made as a copy of another one.
func (r *Remember) Copied(ctx context.Context, from, to stead.SessionKey) error {
	return r.memory.Copied(ctx, to.Project, from.Session, to.Session)
}

// Redact forgets all that comes from an item that was redacted.
func (r *Remember) Redact(ctx context.Context, p stead.Principal, key stead.SessionKey, item string) (session.Erased, error) {
	p.Project = key.Project
	done, err := r.memory.ForgetRedacted(ctx, p, string(key.Session), item)
	return session.Erased{Removed: done.Removed, Changed: done.Changed}, err
}

// messages are the entries of messages. Secrets in them are masked.
func messages(ask session.LearnAsk) []memory.Content {
	var out []memory.Content
	for _, m := range ask.Messages {
		for _, c := range Message(ask.Key.Session, m) {
			c.Scope = scopeOf(ask)
			out = append(out, c)
		}
	}
	return out
}

// maxToolBytes is how much of what a tool said becomes searchable: its beginning.
const maxToolBytes = 16 << 10

// maxParts is how many entries one message becomes, and maxSearchable how much of it is searchable so.
const (
	maxParts      = 32
	maxSearchable = maxParts * memory.MaxContentBytes
)

// Message is a message, or what a tool said, as it was said, with secrets masked: an entry, or several where it is longer than one may be. What is
// left out behind them the last one says. What a user said is as trusted as who writes it; a model's words, and a tool's, may repeat a stranger's.
func Message(id stead.SessionID, m session.LearnMessage) []memory.Content {
	most := maxSearchable
	if m.Role == session.RoleTool {
		most = maxToolBytes
	}
	text := strings.ToValidUTF8(m.Text, "")
	left := max(0, len(text)-most)
	text, _ = extract.Mask(text[:len(text)-left])
	parts := partsOf(strings.ToValidUTF8(text, ""), memory.MaxContentBytes)
	out := make([]memory.Content, len(parts))
	for i, part := range parts {
		c := memory.Content{Kind: memory.KindItem, Text: part, Confidence: 1, Importance: middle, Source: sourceOf(id, m), Metadata: map[string]string{}}
		c.Source.Part = i
		if len(parts) > 1 {
			c.Metadata[MetaPart] = fmt.Sprintf("%d/%d", i+1, len(parts))
		}
		if i == len(parts)-1 && left > 0 {
			c.Metadata[MetaLeftOut] = fmt.Sprintf("%d bytes", left)
		}
		if m.Tool != "" {
			c.Metadata[MetaTool] = m.Tool
		}
		if m.Role != stead.RoleUser {
			c.Labels = []string{memory.LabelUntrusted}
		}
		out[i] = c
	}
	return out
}

// partsOf cuts a text into parts of at most a number of bytes, between words where it can.
func partsOf(text string, most int) []string {
	const longestWord = 256
	var out []string
	for len(text) > most {
		at := strings.LastIndexAny(text[most-longestWord:most], " \n\t") + 1
		if at += most - longestWord; at == most-longestWord {
			for at = most; !utf8.RuneStart(text[at]); at-- {
			}
		}
		out, text = append(out, text[:at]), text[at:]
	}
	return append(out, text)
}

// sourceOf says where a message stands. Its place rises along the session as its items do.
func sourceOf(id stead.SessionID, m session.LearnMessage) memory.Source {
	src := memory.Source{Session: string(id), Item: m.Item, Author: m.Role, At: m.At}
	if _, seq, index, ok := stead.ParseDerivedID(id, m.Item); ok {
		src.Index = int64(seq)<<placeBits | int64(min(max(index, 0), 1<<placeBits-1))
	}
	return src
}

// lessons are what was found, with what it cites.
func lessons(ask session.LearnAsk) []memory.Lesson {
	byID := map[string]session.LearnMessage{}
	for _, m := range ask.Messages {
		byID[m.Item] = m
	}
	var out []memory.Lesson
	for _, f := range ask.Found {
		if f.Text == "" { // what it came from was redacted
			continue
		}
		l := memory.Lesson{Subject: f.Subject, Content: memory.Content{
			Kind: memory.Kind(f.Kind), Text: f.Text, Scope: scopeOf(ask), Confidence: f.Confidence, Importance: f.Importance,
			Supersedes: f.Supersedes, Labels: append([]string{}, ask.Labels...),
		}}
		var said []string
		for _, id := range f.Items {
			if m, ok := byID[id]; ok { // else it was deleted meanwhile
				l.Sources = append(l.Sources, sourceOf(ask.Key.Session, m))
				if m.Role == stead.RoleUser {
					said = append(said, m.Text)
				}
			}
		}
		if len(said) < len(l.Sources) || l.Kind == memory.KindEpisode || !memory.Quotes(f.Text, said) { // the model's words, who has seen all of the session
			for i := range l.Sources {
				l.Sources[i].Seen = int64(ask.At)
			}
		}
		if len(l.Sources) > 0 {
			out = append(out, l)
		}
	}
	return out
}
