package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead/internal/model"
)

// Forward implements model.Forwarder: chat completions by a provider of api chat, responses by one of
// api responses, embeddings by both.
func (p *Provider) Forward(ctx context.Context, f model.Forward) (*model.Answer, error) {
	spoken := f.Dialect == model.DialectEmbeddings ||
		f.Dialect == model.DialectChat && p.cfg.API == APIChat || f.Dialect == model.DialectResponses && p.cfg.API == APIResponses
	if !spoken {
		return nil, &model.Error{Code: model.CodeDialect, Message: "the model provider does not speak " + f.Dialect}
	}
	body, ok := withModel(f.Body, f.Model)
	if !ok {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "the request is no JSON object"}
	}
	resp, e := p.client.Post(ctx, p.base.JoinPath(f.Dialect).String(), p.header(), body)
	if e != nil {
		return nil, e
	}
	return &model.Answer{ContentType: resp.Header.Get("Content-Type"), Body: resp.Body}, nil
}

// withModel replaces the member "model" of an object, or adds it, and leaves every other byte as it
// is: fields that nobody here knows, their order, and numbers beyond a float's precision.
func withModel(object []byte, name string) ([]byte, bool) {
	object = bytes.TrimSpace(object)
	if len(object) == 0 || object[0] != '{' || !json.Valid(object) {
		return nil, false
	}
	value, err := json.Marshal(name)
	if err != nil {
		return nil, false // cannot be: strings always marshal
	}
	out := make([]byte, 0, len(object)+len(value)+len(`"model":,`))
	copied, found := 0, false
	for at := skipSpace(object, 1); object[at] == '"'; at = skipSpace(object, at) {
		end := skipValue(object, at)
		key := object[at:end]
		from := skipSpace(object, skipSpace(object, end)+1) // behind the colon
		at = skipValue(object, from)
		if isKey(key, "model") {
			out = append(append(out, object[copied:from]...), value...)
			copied, found = at, true
		}
		if at = skipSpace(object, at); object[at] == ',' {
			at++
		}
	}
	out = append(out, object[copied:]...)
	if found {
		return out, true
	}
	head := append(append([]byte(`{"model":`), value...), ',')
	if object[skipSpace(object, 1)] == '}' {
		head = head[:len(head)-1]
	}
	return append(head, object[1:]...), true
}

// isKey compares a key as it is written, which may be with escapes.
func isKey(quoted []byte, want string) bool {
	if !bytes.ContainsRune(quoted, '\\') {
		return string(quoted[1:len(quoted)-1]) == want
	}
	var key string
	return json.Unmarshal(quoted, &key) == nil && key == want
}

func skipSpace(b []byte, at int) int {
	for b[at] == ' ' || b[at] == '\t' || b[at] == '\n' || b[at] == '\r' {
		at++
	}
	return at
}

// skipValue is where the value that begins at at ends. The JSON is known to be valid.
func skipValue(b []byte, at int) int {
	depth := 0
	for ; ; at++ {
		switch b[at] {
		case '"':
			at = skipString(b, at) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ',', ':', ' ', '\t', '\n', '\r':
			continue
		default: // a number or a word
			for !strings.ContainsRune(",:]} \t\n\r", rune(b[at+1])) {
				at++
			}
		}
		if depth == 0 {
			return at + 1
		}
	}
}

func skipString(b []byte, at int) int {
	for at++; b[at] != '"'; at++ {
		if b[at] == '\\' {
			at++
		}
	}
	return at + 1
}
