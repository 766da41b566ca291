package openai

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

// What a provider has encrypted (reasoning, compactions) it alone can read, and others refuse the whole call for it.
// So where a model has routes at several providers, a forwarded answer's encrypted_content gets its maker's name in
// front, as responses that are translated have it too (responses.Seal); on the way back the name is taken off again,
// and what another has made stays here. Of an answer's other bytes none changes.
//
//	"encrypted_content":"gAAAA…"  ⇄  "encrypted_content":"stead.PROVIDER:.gAAAA…"
//
// Behind the colon is the item's id, where whoever wrote it knew that, and a point.

const (
	markPrefix    = "stead."
	markedMember  = `"encrypted_content"`
	maxMarkBlanks = 16 // between the member's name and its value; beyond them it is left as it is
)

// ownInput is the input of a request as this provider may see it, nil where it is that already. again says that
// another provider was asked before: then reasoning that nobody marked is of an unknown maker, and left out.
func (p *Provider) ownInput(f model.Forward) ([]byte, *model.Error) {
	if f.Dialect != model.DialectResponses || !param.Mentions(f.Body, `"encrypted`, `_content"`) {
		return nil, nil
	}
	var list []json.RawMessage
	param.Members(f.Body, func(key string, from, to int) {
		if key == "input" && json.Unmarshal(f.Body[from:to], &list) != nil {
			list = nil // a text
		}
	})
	changed, out := false, make([]json.RawMessage, 0, len(list))
	for i, raw := range list {
		own, e := p.ownItem(raw, f.Again, param.Index("input", i))
		if e != nil {
			return nil, e
		}
		if changed = changed || !bytes.Equal(own, raw); own != nil {
			out = append(out, own)
		}
	}
	if !changed {
		return nil, nil
	}
	input, err := json.Marshal(out)
	if err != nil {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "the input can't be written", Err: err}
	}
	return input, nil
}

// ownItem is an item as this provider may see it; nil: not at all.
func (p *Provider) ownItem(raw json.RawMessage, again bool, at string) (json.RawMessage, *model.Error) {
	if !bytes.Contains(raw, []byte(markedMember)) {
		return raw, nil
	}
	var item struct {
		Type      string `json:"type"`
		Encrypted string `json:"encrypted_content"`
	}
	if json.Unmarshal(raw, &item) != nil || item.Encrypted == "" {
		return raw, nil // the provider says what is wrong with it
	}
	rest, marked := strings.CutPrefix(item.Encrypted, markPrefix)
	maker, content, found := strings.Cut(rest, ":")
	id, content, pointed := strings.Cut(content, ".")
	switch {
	case !marked || !found:
		if again && item.Type == "reasoning" {
			return nil, nil
		}
		return raw, nil
	case maker == p.cfg.Name && pointed && content != "" && id != thoughtDetails:
		pieces, ok := spliced(raw, []edit{{member: "encrypted_content", value: quoted(content)}})
		if !ok {
			return raw, nil
		}
		return bytes.Join(pieces, nil), nil
	case item.Type == "reasoning":
		return nil, nil
	}
	at += ".encrypted_content"
	return nil, &model.Error{Code: model.CodeInvalid, Param: at, Message: at + " was made by the provider " + maker + ", which this call does not go to"}
}

// mark puts the maker's name in front of what is encrypted in an answer.
func (p *Provider) mark(body io.ReadCloser) io.ReadCloser {
	name := quoted(markPrefix + p.cfg.Name + ":.")
	return &marker{ReadCloser: body, mark: name[1 : len(name)-1], buf: make([]byte, markBuffer)}
}

// markBuffer is how much of an answer is read at once.
const markBuffer = 8 << 10

// marker is a body that passes by. It has one owner.
type marker struct {
	io.ReadCloser
	mark  []byte // as JSON has it within quotes
	buf   []byte
	held  []byte // may be the beginning of a member that is marked
	ready []byte
	err   error
}

// Read implements io.Reader.
func (m *marker) Read(p []byte) (int, error) {
	for len(m.ready) == 0 && m.err == nil {
		var n int
		n, m.err = m.ReadCloser.Read(m.buf)
		m.take(m.buf[:n])
	}
	n := copy(p, m.ready)
	m.ready = m.ready[n:]
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, m.err
}

func (m *marker) take(b []byte) {
	if len(m.held) > 0 {
		b = append(m.held, b...)
		m.held = nil
	}
	m.ready = nil
	for {
		i := bytes.Index(b, []byte(markedMember))
		if i < 0 {
			break
		}
		value, whole := valueOf(b[i+len(markedMember):])
		if !whole && m.err == nil {
			m.ready, m.held = append(m.ready, b[:i]...), bytes.Clone(b[i:])
			return
		}
		end := i + len(markedMember) + value
		m.ready = append(m.ready, b[:end]...)
		if value > 0 {
			m.ready = append(m.ready, m.mark...)
		}
		b = b[end:]
	}
	keep := 0
	for n := min(len(markedMember)-1, len(b)); n > 0 && m.err == nil; n-- {
		if bytes.HasSuffix(b, []byte(markedMember[:n])) {
			keep = n
			break
		}
	}
	m.held = bytes.Clone(b[len(b)-keep:])
	if b = b[:len(b)-keep]; m.ready == nil {
		m.ready = b // nearly always: nothing is copied
		return
	}
	m.ready = append(m.ready, b...)
}

// valueOf is where behind a member's name the characters of its text begin; 0: it has none. whole says that b is long
// enough to tell.
func valueOf(b []byte) (at int, whole bool) {
	colon := false
	for i, c := range b[:min(len(b), maxMarkBlanks)] {
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		case c == ':' && !colon:
			colon = true
		case c == '"' && colon:
			return i + 1, true
		default:
			return 0, true
		}
	}
	return 0, len(b) >= maxMarkBlanks
}
