package memory

import (
	"context"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// What a session's agent wrote over a memory comes from that session as much as what it added: when the session is forgotten, the
// memory says again what it said before, and none of its versions has what the session brought.

// MaxEdits is how many sessions may have changed one entry. More must add an entry that supersedes it.
const MaxEdits = 192

// Edit is a session whose agent changed what an entry says.
type Edit struct {
	Session string `json:"session_id"`
	Past    bool   `json:"past,omitempty"` // in earlier versions alone: a person has written since what it says
	Seen    int64  `json:"seen,omitempty"` // as Source.Seen
	At      int64  `json:"at,omitempty"`   // when, Unix milliseconds
}

// edited notes whose words an entry has, of which old is the version before.
func (c *Content) edited(old Content, p stead.Principal, seen, at int64) error {
	c.Edits = slices.Clone(old.Edits)
	if by := old.unkept(); by != "" {
		c.Edits = append(c.Edits, Edit{Session: by})
	}
	if c.Text == old.Text && c.Caption == old.Caption {
		return nil
	}
	if p.Kind != stead.PrincipalAgent {
		for i := range c.Edits {
			c.Edits[i].Past = true
		}
		return nil
	}
	c.Edits = append(slices.DeleteFunc(c.Edits, func(e Edit) bool { return e.Session == p.ID }), Edit{Session: p.ID, Seen: seen, At: at})
	if len(c.Edits) > MaxEdits {
		return stead.Errorf(stead.KindTooLarge, "%d sessions have changed this memory: add one that supersedes it", MaxEdits)
	}
	return nil
}

// writtenIn is the session whose agent an author is; "": it is none.
func writtenIn(author string) string {
	id, is := strings.CutPrefix(author, string(stead.PrincipalAgent)+":")
	if !is || !strings.HasPrefix(id, stead.SessionPrefix) {
		return ""
	}
	return id
}

// unkept is the session that wrote over it by a node that kept no edits; "": none.
func (c *Content) unkept() string {
	if by := writtenIn(c.WrittenBy); by != "" && len(c.Sources) == 0 && !c.from(by) { // what has several sources was learned
		return by
	}
	return ""
}

// from reports whether anything of an entry, or of a version before, comes from a session.
func (c *Content) from(session string) bool {
	return slices.ContainsFunc(c.cited(), func(s Source) bool { return s.Session == session }) ||
		slices.ContainsFunc(c.Edits, func(e Edit) bool { return e.Session == session })
}

// says reports whether what it says now was written over it by somebody who is meant, or follows from that.
func (c *Content) says(meant func(Edit) bool) bool {
	by := c.unkept()
	return by != "" && meant(Edit{Session: by}) ||
		slices.ContainsFunc(c.Edits, func(e Edit) bool { return meant(e) && !e.Past })
}

// before is what an entry said before it was written over by whoever is meant, with the entry's present labels, times and sources; false:
// nothing that is kept.
func before(e Entry, history []Entry, meant func(Edit) bool) (Content, bool) {
	c := e.Content
	c.Edits = slices.DeleteFunc(slices.Clone(e.Edits), meant)
	if !e.says(meant) {
		return c, true // a person wrote since what it says
	}
	at := slices.IndexFunc(history, func(v Entry) bool { return v.Version < e.Version && !v.says(meant) && v.Text != "" })
	if at < 0 {
		return c, false
	}
	v := history[at]
	c.Text, c.Caption, c.WrittenBy = v.Text, v.Caption, v.WrittenBy
	for i, x := range c.Edits { // what came after that version is not what it says
		c.Edits[i].Past = !slices.ContainsFunc(v.Edits, func(o Edit) bool { return o.Session == x.Session && !o.Past })
	}
	for _, x := range v.Edits { // an earlier one of the same session
		if !slices.ContainsFunc(c.Edits, func(o Edit) bool { return o.Session == x.Session }) {
			c.Edits = append(c.Edits, x)
		}
	}
	if !slices.Contains(v.Labels, LabelUntrusted) { // the others may be a person's
		c.Labels = slices.DeleteFunc(slices.Clone(c.Labels), func(l string) bool { return l == LabelUntrusted })
	}
	return c, true
}

// versions reads those of an entry that are kept, newest first.
func (s *Service) versions(ctx context.Context, r Record) ([]Entry, error) {
	records, err := s.cfg.Store.MemoryVersions(ctx, r.Place, r.ID)
	if err != nil {
		return nil, err
	}
	return entriesOf(records)
}
