package server

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// learned are the models whose upstreams tell more than calls of them reserve: links to large pictures, searches that a
// provider makes by itself. It is a node's own, and forgotten with it: the first calls after a start, and those that begin
// before one of them has ended, reserve by the estimate alone. What a project's calls need is no news of another's, and
// one unusual call is forgotten after some usual ones. The zero value is ready.
type learned struct {
	mu      sync.Mutex
	factors map[learnedKey]float64 // told by reserved, above 1
}

type learnedKey struct {
	project stead.ProjectID
	model   string
}

const (
	// maxLearned bounds what is remembered: names of the form provider/model are the callers' own.
	maxLearned = 4096
	// maxFactor is the most that a call reserves of what it seems to need.
	maxFactor = 8
	// learnedDecay is what stays of a factor when a call has needed less.
	learnedDecay = 0.5
)

// factor is by how much to reserve more, 1 to maxFactor.
func (l *learned) factor(k learnedKey) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.factors[k], 1)
}

// told learns from a call: at once where it needed more, and within a few calls where they need less.
func (l *learned) told(k learnedKey, tokens, estimate int64) {
	ratio := min(float64(tokens)/float64(max(estimate, 1)), maxFactor)
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.factors[k]
	if next := max(ratio, old*learnedDecay); next > 1 {
		if l.factors == nil || old == 0 && len(l.factors) >= maxLearned {
			l.factors = map[learnedKey]float64{}
		}
		l.factors[k] = next
	} else if old > 0 {
		delete(l.factors, k)
	}
}

// media is what the pictures and files of a request weigh, in the bytes of text that they are taken for in sessions, and
// how many bytes of it are pictures: a link to one is short, and one within the request is long. Most requests have
// neither pictures within nor names that are written in an unusual way: in them names are enough, and one within a text
// does not count, since its quotes are escaped there.
func media(body []byte) (weight, inline int) {
	names := [...]string{`"image_url"`, `"input_image"`, `"file"`, `"input_file"`, `"data:image`}
	var seen [len(names)]int
	for b := body; ; { // from quotation mark to quotation mark: a long text has few, and one look is for all names
		i := bytes.IndexByte(b, '"')
		if i < 0 {
			break
		}
		b = b[i:]
		for n, name := range names {
			if bytes.HasPrefix(b, []byte(name)) {
				seen[n]++
			}
		}
		b = b[1:]
	}
	if seen[4] > 0 || unusual(body) {
		var request struct{ Messages, Input any }
		if json.Unmarshal(body, &request) == nil {
			var m parts
			m.see(request.Messages)
			m.see(request.Input)
			return m.images*model.ImageBytes + m.files*model.FileBytes, m.inline
		}
	}
	// A part's type and its member may have one name: each is one of two.
	return max(half(seen[0]), seen[1])*model.ImageBytes + max(half(seen[2]), seen[3])*model.FileBytes, 0
}

func half(n int) int { return (n + 1) / 2 }

// unusual reports whether letters are escaped in a request, as no encoder does: so names can hide.
func unusual(b []byte) bool {
	const escape = `\u00`
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+len(escape) >= len(b) {
			return false
		}
		b = b[i:]
		if bytes.HasPrefix(b, []byte(escape)) && '4' <= b[len(escape)] && b[len(escape)] <= '7' {
			return true
		}
		b = b[2:]
	}
}

// parts counts the pictures and files among the parts of messages.
type parts struct {
	images, files int
	inline        int // bytes of pictures that are there as such
}

func (m *parts) see(v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			m.see(one)
		}
	case map[string]any:
		switch v["type"] {
		case "image_url", "input_image":
			m.images++
			url, _ := v["image_url"].(string)
			if o, ok := v["image_url"].(map[string]any); ok {
				url, _ = o["url"].(string)
			}
			if strings.HasPrefix(url, "data:image/") {
				m.inline += len(url)
			}
		case "file", "input_file":
			m.files++
		}
		for _, one := range v {
			m.see(one)
		}
	}
}
