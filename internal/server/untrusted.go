package server

import (
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/session"
)

// heard are the sources of what strangers may have written in a stateless call, as a session is labelled that was shown the same: what
// tools returned, and images and files that are sent along. late are the lists of tools that items bring. The body is passed on as it stands, and so
// looked at as it stands.
func heard(door string, body []byte) (labels stead.Labels, late [][]byte) {
	var h hearing
	switch door {
	case model.DialectChat:
		h.entries(body, "messages", func(_ []byte, key string, value []byte) { h.message(key, value) })
	case model.DialectResponses:
		h.entries(body, "input", h.member)
	}
	if h.sources != nil {
		labels = stead.Labels{session.LabelUntrusted: h.sources}
	}
	return labels, h.late
}

// hearing is what was found so far.
type hearing struct {
	sources []string // each once
	late    [][]byte

	item  []byte // that was looked at last
	lists bool   // it is a listing
}

func (h *hearing) add(source string) {
	if !slices.Contains(h.sources, source) {
		h.sources = append(h.sources, source)
	}
}

// entries looks at each entry of a list, which a body may have twice: whoever it is passed on to takes one of them.
func (h *hearing) entries(body []byte, name string, member func(entry []byte, key string, value []byte)) {
	param.Members(body, func(key string, from, to int) {
		if key != name {
			return
		}
		list := body[from:to]
		param.Elements(list, func(from, to int) {
			one := list[from:to]
			param.Members(one, func(key string, from, to int) { member(one, key, one[from:to]) })
		})
	})
}

// message looks at a member of a message of a chat.
func (h *hearing) message(key string, value []byte) {
	switch key {
	case "role":
		if role := textOf(value); role == "tool" || role == "function" {
			h.add(session.SourceFunction)
		}
	case "content":
		h.parts(value)
	}
}

// listing is isListing, found out once an item: it may have a member as often as it likes.
func (h *hearing) listing(item []byte) bool {
	if len(h.item) == 0 || &h.item[0] != &item[0] {
		h.item, h.lists = item, isListing(item)
	}
	return h.lists
}

// member looks at a member of an item of a response: no message has members of these names but content, and whatever calls a tool has what
// came of it in one.
func (h *hearing) member(item []byte, key string, value []byte) {
	switch key {
	case "tools": // a client's search for tools brings them along
		if !h.listing(item) {
			h.late = append(h.late, value)
		}
	case "output", "outputs", "results", "error":
		if string(value) != "null" {
			h.add(session.SourceFunction)
			h.parts(value)
		}
	case "content":
		h.parts(value)
	}
}

// parts looks at the parts of a content.
func (h *hearing) parts(content json.RawMessage) {
	param.Elements(content, func(from, to int) {
		part := content[from:to]
		param.Members(part, func(key string, from, to int) {
			if key != "type" {
				return
			}
			switch textOf(part[from:to]) {
			case "image_url", stead.ContentInputImage:
				h.add(session.SourceImage)
			case "file", stead.ContentInputFile, "input_audio":
				h.add(session.SourceFile)
			}
		})
	})
}
