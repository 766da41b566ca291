package openai

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

// Forward implements model.Forwarder: chat completions by a provider of api chat, responses by one of
// api responses, embeddings by both.
func (p *Provider) Forward(ctx context.Context, f model.Forward) (*model.Answer, error) {
	spoken := f.Dialect == model.DialectEmbeddings ||
		f.Dialect == model.DialectChat && p.cfg.API == APIChat || f.Dialect == model.DialectResponses && p.cfg.API == APIResponses
	if !spoken {
		return nil, &model.Error{Code: model.CodeDialect, Message: "the model provider does not speak " + f.Dialect}
	}
	body, ok := withMember(f.Body, "model", f.Model)
	if ok && f.Tier != "" {
		body, ok = withMember(body, "service_tier", f.Tier)
	}
	if !ok {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "the request is no JSON object"}
	}
	resp, e := p.client.Post(ctx, p.base.JoinPath(f.Dialect).String(), p.header(), body)
	if e != nil {
		return nil, e
	}
	return &model.Answer{ContentType: p.client.Redact(resp.Header.Get("Content-Type")), Body: p.client.Guard(resp.Body)}, nil
}

// withMember replaces a member of an object by a text, or adds it, and leaves every other byte as it
// is: fields that nobody here knows, their order, and numbers beyond a float's precision.
func withMember(object []byte, member, text string) ([]byte, bool) {
	object = bytes.TrimSpace(object)
	value, err := json.Marshal(text)
	if err != nil {
		return nil, false // cannot be: strings always marshal
	}
	out := make([]byte, 0, len(object)+len(value)+len(member)+len(`"":,`))
	copied, found, empty := 0, false, true
	ok := param.Members(object, func(key string, from, to int) {
		empty = false
		if key == member {
			out = append(append(out, object[copied:from]...), value...)
			copied, found = to, true
		}
	})
	switch {
	case !ok:
		return nil, false
	case found:
		return append(out, object[copied:]...), true
	}
	out = append(append(append(append(append(out, `{"`...), member...), `":`...), value...), ',')
	if empty {
		out = out[:len(out)-1]
	}
	return append(out, object[bytes.IndexByte(object, '{')+1:]...), true
}
