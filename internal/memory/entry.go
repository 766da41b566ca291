package memory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
)

const (
	// MaxContentBytes is the longest content of an entry.
	MaxContentBytes = 64 << 10
	// MaxLabels and MaxLabelBytes bound the labels of an entry: its own, and those of what its session was shown.
	MaxLabels     = 256
	MaxLabelBytes = 128
	// maxFieldBytes is the longest of the short fields: ids, authors.
	maxFieldBytes = 512
)

// LabelUntrusted marks what an agent wrote: it may repeat what a stranger's page or tool told it to.
// Agents can neither leave it out nor take it off.
const LabelUntrusted = "untrusted"

// Kind is what sort of thing is remembered.
type Kind string

// The kinds of entry.
const (
	KindFact       Kind = "fact"
	KindPreference Kind = "preference"
	KindEpisode    Kind = "episode"   // what happened, as a summary
	KindProcedure  Kind = "procedure" // how something is done
	KindPassage    Kind = "passage"   // of a document
	KindItem       Kind = "item"      // of a conversation, as it was said
)

// Kinds lists them.
func Kinds() []Kind {
	return []Kind{KindFact, KindPreference, KindEpisode, KindProcedure, KindPassage, KindItem}
}

// Scope says whom an entry is about, or for. The zero Scope is the project.
type Scope struct {
	Type string `json:"type"` // "user", "agent", "team", "project"
	ID   string `json:"id,omitempty"`
}

// The types of scope.
const (
	ScopeUser    = "user"
	ScopeAgent   = "agent"
	ScopeTeam    = "team"
	ScopeProject = "project"
)

// ScopeTypes lists the types of scope.
func ScopeTypes() []string { return []string{ScopeUser, ScopeAgent, ScopeTeam, ScopeProject} }

// Source is where an entry comes from.
type Source struct {
	Session string `json:"session_id,omitempty"`
	Item    string `json:"item_id,omitempty"`
	Index   int64  `json:"index,omitempty"` // place in the session's conversation
	Author  string `json:"author,omitempty"`
	At      int64  `json:"at,omitempty"` // when it was said or happened, Unix milliseconds
	// Seen is the last event of the session that whoever made it may have seen; 0: it is what somebody said, or nobody knows.
	Seen int64 `json:"seen,omitempty"`
	Part int   `json:"part,omitempty"` // of an item that is longer than an entry, from 0
}

// Content is what an entry says: what a request brings, and what a record's Data holds.
type Content struct {
	Kind         Kind              `json:"kind"`
	Text         string            `json:"content"`
	Caption      string            `json:"caption,omitempty"` // what an attached picture or file shows
	Scope        Scope             `json:"scope"`
	Source       Source            `json:"source"`
	Sources      []Source          `json:"sources,omitempty"` // all of them, Source first, where there are several or it was extracted
	Confidence   float64           `json:"confidence"`
	Importance   float64           `json:"importance"`
	ValidFrom    int64             `json:"valid_from,omitempty"`  // Unix milliseconds; 0: since ever
	ValidUntil   int64             `json:"valid_until,omitempty"` // 0: still
	Supersedes   string            `json:"supersedes,omitempty"`
	SupersededBy string            `json:"superseded_by,omitempty"`
	Before       *Span             `json:"before,omitempty"` // validity that it had before it was superseded; nil: it is not, or since before this was kept
	Labels       []string          `json:"labels,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	Redacted     bool              `json:"redacted,omitempty"`
	WrittenBy    string            `json:"written_by,omitempty"` // "user:local"
	Edits        []Edit            `json:"edits,omitempty"`      // sessions that changed what it says, in their order

	created int64 // Unix milliseconds, of its record
}

// Span is a time of validity, in Unix milliseconds. 0 has no end on that side.
type Span struct {
	From  int64 `json:"from,omitempty"`
	Until int64 `json:"until,omitempty"`
}

// end ends the validity of an entry where that of another begins.
func (c *Content) end(by string, at int64) {
	if c.SupersededBy == "" {
		c.Before = &Span{c.ValidFrom, c.ValidUntil}
	}
	if c.SupersededBy, c.ValidUntil = by, at; c.Before != nil && c.Before.Until != 0 { // what had ended is not true again
		c.ValidUntil = min(c.Before.Until, at)
	}
	c.ValidFrom = min(c.ValidFrom, c.ValidUntil)
}

// again makes true what was superseded, for as long as it says itself.
func (c *Content) again() {
	if c.SupersededBy, c.ValidUntil = "", 0; c.Before != nil {
		c.ValidFrom, c.ValidUntil = c.Before.From, c.Before.Until
	}
	c.Before = nil
}

// Entry is one version of an entry of a store.
type Entry struct {
	Store     string
	ID        string
	Version   int64
	CreatedAt int64 // Unix milliseconds
	UpdatedAt int64
	ExpiresAt int64 // 0: never
	Content
}

// prepare fills in what was left out and checks the rest.
func (c *Content) prepare() error {
	if c.Kind == "" {
		c.Kind = KindFact
	}
	if c.Scope.Type == "" {
		c.Scope.Type = ScopeProject
	}
	if strings.TrimSpace(c.Text) == "" && !c.Redacted || len(c.Text)+len(c.Caption) > MaxContentBytes || !utf8.ValidString(c.Text) || !utf8.ValidString(c.Caption) {
		return stead.Invalid("content", "content must be 1 to %d bytes of UTF-8, and not blank", MaxContentBytes)
	}
	if !slices.Contains(Kinds(), c.Kind) {
		return stead.Invalid("kind", "kind must be one of %q, not %.40q", Kinds(), c.Kind)
	}
	if !slices.Contains(ScopeTypes(), c.Scope.Type) {
		return stead.Invalid("scope.type", "scope.type must be one of %q, not %.40q", ScopeTypes(), c.Scope.Type)
	}
	if c.Scope.ID == "" && c.Scope.Type != ScopeProject {
		return stead.Invalid("scope.id", "a scope of type %s needs an id", c.Scope.Type)
	}
	for name, v := range map[string]float64{"confidence": c.Confidence, "importance": c.Importance} {
		if !(v >= 0 && v <= 1) {
			return stead.Invalid(name, "%s must be from 0 to 1", name)
		}
	}
	if c.ValidUntil != 0 && c.ValidUntil < c.ValidFrom {
		return stead.Invalid("valid_until", "valid_until must not be before valid_from")
	}
	return c.checkNames()
}

func (c *Content) checkNames() error {
	for name, v := range map[string]string{"scope.id": c.Scope.ID, "source.session_id": c.Source.Session, "source.item_id": c.Source.Item, "source.author": c.Source.Author, "supersedes": c.Supersedes} {
		if len(v) > maxFieldBytes || !plain(v) {
			return stead.Invalid(name, "%s must be at most %d bytes of UTF-8 without NUL", name, maxFieldBytes)
		}
	}
	if len(c.Labels) > MaxLabels {
		return stead.Invalid("labels", "%d labels: at most %d", len(c.Labels), MaxLabels)
	}
	for i, l := range c.Labels {
		if l == "" || len(l) > MaxLabelBytes || !plain(l) {
			return stead.Invalid(fmt.Sprintf("labels[%d]", i), "a label must be 1 to %d bytes of UTF-8 without NUL", MaxLabelBytes)
		}
	}
	slices.Sort(c.Labels)
	c.Labels = slices.Compact(c.Labels)
	return nil
}

// plain reports whether a name is UTF-8 without NUL, which others take for the end of one.
func plain(name string) bool { return utf8.ValidString(name) && !strings.Contains(name, "\x00") }

// signed marks who wrote it.
func (c *Content) signed(p stead.Principal) {
	c.WrittenBy = string(p.Kind) + ":" + p.ID
	if p.Kind == stead.PrincipalAgent && !slices.Contains(c.Labels, LabelUntrusted) {
		c.Labels = append(slices.Clone(c.Labels), LabelUntrusted)
	}
}

// sessionLabels is the key under which a session has the labels of the memories that it was shown.
const sessionLabels = "memory"

// carried labels what an agent writes as what its session was shown: it may say the same in other words.
func (s *Service) carried(c *Content) {
	c.Labels = slices.Concat(c.Labels, s.shown)
	if by := s.within; by != nil {
		c.Labels = append(c.Labels, s.LabelsOf(by.Labels)...)
	}
}

// LabelsOf are the labels of what is remembered in a session that is labelled so: of what it was shown, and the configured ones of its own. One that
// is too long for a label is cut.
func (s *Service) LabelsOf(session stead.Labels) []string {
	out := slices.Clone(session[sessionLabels])
	for _, key := range s.cfg.SessionLabels {
		for _, value := range session[key] {
			l := strings.ReplaceAll(key+":"+value, "\x00", "")
			out = append(out, strings.ToValidUTF8(l[:min(len(l), MaxLabelBytes)], ""))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (c Content) encode() ([]byte, error) {
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	to.SetEscapeHTML(false) // a page of "<" would be six times as long
	if err := to.Encode(c); err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "encode memory")
	}
	data := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(data) > MaxRecordBytes {
		return nil, stead.Errorf(stead.KindTooLarge, "the memory has %d bytes with its metadata, the limit is %d", len(data), MaxRecordBytes)
	}
	return data, nil
}

// encodeItem is encode of what was said, which can't be said otherwise: what is too long is cut.
func (c Content) encodeItem() ([]byte, error) {
	for {
		data, err := c.encode()
		if stead.KindOf(err) != stead.KindTooLarge || len(c.Text) < 2 {
			return data, err
		}
		c.Text = strings.ToValidUTF8(c.Text[:len(c.Text)/2], "")
	}
}

func entryOf(r Record) (Entry, error) {
	e := Entry{Store: r.Store, ID: r.ID, Version: r.Version, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, ExpiresAt: r.ExpiresAt}
	if err := json.Unmarshal(r.Data, &e.Content); err != nil {
		return e, stead.Wrap(stead.KindInternal, err, "read memory %s", r.ID)
	}
	e.created = r.CreatedAt
	return e, nil
}

func entriesOf(records []Record) ([]Entry, error) {
	out := make([]Entry, len(records))
	for i, r := range records {
		var err error
		if out[i], err = entryOf(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Tokens estimates how many tokens an entry takes in a prompt: four bytes each, and its author.
func (e Entry) Tokens() int { return Tokens(strings.TrimSpace(e.Text), e.Caption, e.Source.Author) }

// Tokens estimates how many tokens texts take together.
func Tokens(texts ...string) int {
	n := 0
	for _, t := range texts {
		n += len(t)
	}
	return n/bytesPerToken + 1
}
