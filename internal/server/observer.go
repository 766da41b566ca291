package server

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Members of which a line of a stream is read, when they are not null: all other lines pass as they are. Chat's chunks have
// null ones by the hundred.
const (
	usageMember   = `"usage"`
	finishMember  = `"finish_reason"`
	refusalMember = `"refusal"`
)

// errorWord is read wherever it stands: as a member, or as the type of an event.
const errorWord = `"error"`

// doneData is the data that ends a chat's stream; ends are the types of the events that end a response's.
const doneData = "[DONE]"

func ends() [3]string {
	return [...]string{"response.completed", "response.incomplete", "response.failed"}
}

// said is where in b a member stands that is not null; -1: nowhere.
func said(b []byte, member string) int {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(member))
		if i < 0 {
			return -1
		}
		i += at
		at = i + len(member)
		if notNull(b[at:]) {
			return i
		}
	}
}

// maxBlank is how far behind a member's name null is looked for. What stands further is read for nothing.
const maxBlank = 16

// notNull reports whether b, which is what stands behind a member's name, gives it a value that is not null.
func notNull(b []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(b[:min(maxBlank, len(b))], " \t"), []byte(":"))
	return ok && !bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte("null"))
}

// observer looks for usage in an answer that passes by, and changes nothing of it.
type observer struct {
	stream bool
	door   string // of whose dialect the stream is
	ended  bool   // the stream said that it is over
	rest   []byte // of a line that is not whole yet; of an answer in one piece, all of it
	skip   bool   // the line is longer than MaxObserved
	usage  *stead.Usage
	finish model.Finish // when it is not just the end
	tier   string       // that the upstream says it served
	failed error        // what an event of a stream says
	scanner
}

// write takes the next piece. It reports whether there is surely nothing in it that matters: nearly all of a stream is so.
func (o *observer) write(b []byte) (plain bool) {
	if !o.stream {
		o.keep(b)
		return false
	}
	matters := o.scan(b, o.door)
	plain = matters == len(b)
	if len(o.rest) > 0 || o.skip {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		o.keep(line)
		if !whole {
			return plain
		}
		if !o.skip {
			o.line(o.rest)
		}
		o.rest, o.skip = o.rest[:0], false
		matters, b = max(matters-len(b)+len(rest), 0), rest
	}
	b = b[bytes.LastIndexByte(b[:matters], '\n')+1:] // from the line that matters, or the last, which is not whole
	for {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			break
		}
		o.line(line)
		b = rest
	}
	o.keep(b)
	return plain
}

func (o *observer) keep(b []byte) {
	if o.skip = o.skip || len(o.rest)+len(b) > MaxObserved; o.skip {
		o.rest = nil
		return
	}
	o.rest = append(o.rest, b...)
}

// line reads an event's data, if there is usage or an error in it, or it ends the stream.
func (o *observer) line(line []byte) {
	data, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok {
		if kind, ok := bytes.CutPrefix(line, []byte("event:")); ok {
			o.over(string(bytes.TrimSpace(kind)))
		}
		return
	}
	if o.maybeOver(data) >= 0 {
		o.overBy(data)
	}
	if (said(data, usageMember) >= 0 || said(data, finishMember) >= 0 || said(data, refusalMember) >= 0) && json.Valid(data) {
		o.take(data)
	}
	if bytes.Contains(data, []byte(errorWord)) {
		o.fail(data)
	}
}

// maybeOver is where in b a word stands that ends a stream; -1: nowhere. A model may say that word as well.
func (o *observer) maybeOver(b []byte) int {
	if o.door != model.DialectResponses {
		return bytes.Index(b, []byte(doneData))
	}
	first := -1
	for _, kind := range ends() {
		if i := bytes.Index(b, []byte(kind)); i >= 0 {
			first, b = i, b[:i]
		}
	}
	return first
}

// overBy ends a stream by an event's data: chat's last, or that of a type that ends a response.
func (o *observer) overBy(data []byte) {
	if o.door != model.DialectResponses {
		o.ended = o.ended || string(bytes.TrimSpace(data)) == doneData
		return
	}
	var v struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(data, &v) == nil { // the client sees what it is
		o.over(v.Type)
	}
}

// over ends a response's stream by an event's type.
func (o *observer) over(kind string) {
	all := ends()
	o.ended = o.ended || o.door == model.DialectResponses && slices.Contains(all[:], kind)
}

// fail reads an event that ends a stream by an error: {"error": …} of chat completions and what speaks
// like it; "error" and "response.failed" of the Responses API.
func (o *observer) fail(data []byte) {
	var v struct {
		Type  string          `json:"type"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &v) != nil {
		return // the client sees what it is
	}
	none := len(v.Error) == 0 || string(v.Error) == "null"
	if none && v.Type != "error" && v.Type != "response.failed" {
		return
	}
	o.failed = &model.Error{Code: model.CodeServer, Message: "the model's stream ended with an error", Retry: true}
}

func (o *observer) end() *stead.Usage {
	if !o.skip && len(o.rest) > 0 {
		if o.stream {
			o.line(o.rest)
		} else {
			if !json.Valid(o.rest) {
				o.failed = &model.Error{Code: model.CodeServer, Message: "the model's answer is no JSON", Retry: true}
			} else {
				o.take(o.rest)
			}
		}
	}
	return o.usage
}
