package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

// Forward implements model.Forwarder: chat completions by a provider of api chat, responses by one of
// api responses, embeddings by both.
func (p *Provider) Forward(ctx context.Context, f model.Forward) (*model.Answer, error) {
	if !p.Speaks(f.Dialect) {
		return nil, &model.Error{Code: model.CodeDialect, Message: "the model provider does not speak " + f.Dialect}
	}
	edits := []edit{{member: "model", value: quoted(f.Model)}}
	if f.Tier != "" {
		edits = append(edits, edit{member: "service_tier", value: quoted(f.Tier)})
	}
	input, e := p.ownInput(f)
	if e != nil {
		return nil, e
	}
	if input != nil {
		edits = append(edits, edit{member: "input", value: input})
	}
	asks := f.TellUsage && f.Dialect == model.DialectChat
	if asks {
		edits = append(edits, edit{member: "stream_options", within: []edit{{member: "include_usage", value: []byte("true")}}})
	}
	resp, e := p.pass(ctx, f, edits)
	if e != nil && asks && e.Code == model.CodeInvalid && strings.Contains(e.Param+e.Message, "stream_options") {
		resp, e = p.pass(ctx, f, edits[:len(edits)-1]) // it does not know the field, and has done nothing
	}
	if e != nil {
		return nil, e
	}
	body := p.client.Guard(resp.Body)
	if f.Makers && f.Dialect == model.DialectResponses {
		body = p.mark(body)
	}
	return &model.Answer{ContentType: p.client.Redact(resp.Header.Get("Content-Type")), Body: body}, nil
}

// Speaks implements model.Speaker.
func (p *Provider) Speaks(dialect string) bool {
	return dialect == model.DialectEmbeddings ||
		dialect == model.DialectChat && p.cfg.API == APIChat || dialect == model.DialectResponses && p.cfg.API == APIResponses
}

// pass sends the body with its edits.
func (p *Provider) pass(ctx context.Context, f model.Forward, edits []edit) (*http.Response, *model.Error) {
	pieces, ok := spliced(f.Body, edits)
	if !ok {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "the request is no JSON object"}
	}
	return p.client.PostLent(ctx, f.Loan, p.urls[f.Dialect], p.header(), pieces...)
}

// edit gives a member of an object another value.
type edit struct {
	member string
	value  []byte // JSON
	within []edit // instead of value: of the object that the member is, or is to be
}

// of is the member's new value where it has been old, nil if it is not there.
func (e edit) of(old []byte) []byte {
	if e.within == nil {
		return e.value
	}
	pieces, ok := spliced(old, e.within)
	if !ok { // it is none, and no object
		pieces, _ = spliced([]byte("{}"), e.within)
	}
	return bytes.Join(pieces, nil)
}

func quoted(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		return []byte(`""`) // cannot be: strings always marshal
	}
	return b
}

// spliced replaces members of an object, or adds them, and leaves every other byte as it is: fields that
// nobody here knows, their order, and numbers beyond a float's precision. What stays is not copied: it is
// pieces of object, between which the new values are.
func spliced(object []byte, edits []edit) ([][]byte, bool) {
	object = bytes.TrimSpace(object)
	found := make([]bool, len(edits))
	inside, empty := [][]byte{}, true // behind the first bracket
	copied := bytes.IndexByte(object, '{') + 1
	begin := copied
	ok := param.Members(object, func(key string, from, to int) {
		empty = false
		for i, e := range edits {
			if e.member == key {
				inside = append(inside, object[copied:from], e.of(object[from:to]))
				copied, found[i] = to, true
			}
		}
	})
	if !ok {
		return nil, false
	}
	head := append([]byte{}, object[:begin]...)
	for i, e := range edits {
		if !found[i] {
			head = append(append(append(append(append(head, '"'), e.member...), `":`...), e.of(nil)...), ',')
		}
	}
	if empty {
		head = bytes.TrimSuffix(head, []byte(","))
	}
	return append(append([][]byte{head}, inside...), object[copied:]), true
}
