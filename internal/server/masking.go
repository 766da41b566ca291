package server

import (
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

// What comes with Stead looks at what tools returned alone, and does no more than replace what it finds. A call that no other rule
// is about is therefore looked at as it stands: texts that change are written anew in their places, and the rest is passed on byte
// for byte, whatever of it this server knows.

// masked is a request as the rules that come with Stead leave it. Where the operator has rules about the call, all of them are
// asked together later, when it is read: the operator's stand in front.
func (c *call) masked(ctx context.Context, req request) (request, error) {
	own := c.checks.Own()
	if !c.checks.Builtin() || own.Any(guardrail.Points()...) {
		return req, nil
	}
	m := masker{ctx: ctx, checks: c.checks, body: req.raw}
	c.checks = own
	switch c.door {
	case model.DialectChat:
		m.entries("messages", m.message)
	case model.DialectResponses:
		m.entries("input", m.item)
	}
	if m.err != nil || len(m.edits) == 0 {
		return req, m.err
	}
	req.raw = m.spliced()
	c.body = req.raw
	return req, nil
}

// masker looks through one body.
type masker struct {
	ctx    context.Context
	checks *guardrail.Checks
	body   []byte
	edits  []edit // from front to back
	err    error  // of the first that is refused
}

// span is a place in a body.
type span struct{ from, to int }

// edit is what comes in a place.
type edit struct {
	span
	text []byte
}

// entries looks at each entry of a list, which a body may have twice: whoever it is passed on to takes one of them.
func (m *masker) entries(name string, entry func(from, to int) []span) {
	param.Members(m.body, func(key string, from, to int) {
		if key != name {
			return
		}
		i := 0
		param.Elements(m.body[from:to], func(begin, end int) {
			m.check(name, i, entry(from+begin, from+end))
			i++
		})
	})
}

// message finds what a tool returned in a message of a chat.
func (m *masker) message(from, to int) []span {
	returned, contents := false, []span(nil)
	param.Members(m.body[from:to], func(key string, begin, end int) {
		switch key {
		case "role":
			role := textOf(m.body[from+begin : from+end])
			returned = returned || role == "tool" || role == "function"
		case "content":
			contents = append(contents, span{from + begin, from + end})
		}
	})
	if !returned {
		return nil
	}
	return m.texts(contents)
}

// item finds what a tool returned in an item of a response: no message has members of these names, and whatever calls a tool
// has what came of it in one.
func (m *masker) item(from, to int) []span {
	var contents []span
	param.Members(m.body[from:to], func(key string, begin, end int) {
		switch key {
		case "output", "outputs", "results", "error":
			contents = append(contents, span{from + begin, from + end})
		}
	})
	return m.texts(contents)
}

// texts are those within some values, but for pictures, files and ids.
func (m *masker) texts(within []span) (out []span) {
	pass := func(name string) bool {
		return slices.Contains([]string{"id", "call_id", "file_id", "image_url", "file_url", "file_data", "encrypted_content"}, name)
	}
	for _, s := range within {
		param.Texts(m.body[s.from:s.to], pass, func(from, to int) { out = append(out, span{s.from + from, s.from + to}) })
	}
	return out
}

// check looks at what one tool returned.
func (m *masker) check(list string, i int, texts []span) {
	if len(texts) == 0 || m.err != nil {
		return
	}
	content := make([]stead.Content, len(texts))
	for n, s := range texts {
		text, ok := param.Unquote(m.body[s.from:s.to])
		if !ok {
			text = string(m.body[s.from+1 : s.to-1]) // no JSON: whoever it is passed on to may read it all the same
		}
		content[n] = stead.Content{Type: stead.ContentInputText, Text: stead.NewText(text)}
	}
	left, v := m.checks.Content(m.ctx, guardrail.ToolResult, "", content)
	if m.err = v.In(list, i).Err(param.Index(list, i)); m.err != nil {
		return
	}
	for n, s := range texts {
		if left[n].Text.Inline == content[n].Text.Inline {
			continue
		}
		text, err := left[n].Text.MarshalJSON() // no more escapes than it needs
		if err != nil {
			m.err = stead.Wrap(stead.KindInternal, err, "write what a tool returned")
			return
		}
		m.edits = append(m.edits, edit{s, text})
	}
}

// spliced is the body with other texts in some places.
func (m *masker) spliced() []byte {
	out, at := make([]byte, 0, len(m.body)), 0
	for _, e := range m.edits {
		out = append(append(out, m.body[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, m.body[at:]...)
}
