package server

import (
	"bytes"
	"sync"

	"github.com/stead-dev/stead/internal/model"
)

// learned are the models whose upstreams tell more than calls of them reserve: links to large pictures, or an upstream
// that heeds no limit. It is a node's own, and forgotten with it: the first calls after a start, and those that begin
// before one of them has ended, reserve by the estimate alone. The zero value is ready.
type learned struct {
	mu      sync.Mutex
	factors map[string]float64 // model → told by reserved, above 1
}

const (
	// maxLearned bounds the models that are remembered: names of the form provider/model are the callers' own.
	maxLearned = 4096
	// learnedDecay is what stays of a factor when a call has needed less.
	learnedDecay = 0.9
)

// factor is by how much to reserve more, at least 1.
func (l *learned) factor(name string) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.factors[name], 1)
}

// told learns from a call: at once where it needed more, and slowly where it needed less.
func (l *learned) told(name string, tokens, estimate int64) {
	ratio := float64(tokens) / float64(max(estimate, 1))
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.factors[name]
	if next := max(ratio, old*learnedDecay); next > 1 {
		if l.factors == nil || old == 0 && len(l.factors) >= maxLearned {
			l.factors = map[string]float64{}
		}
		l.factors[name] = next
	} else if old > 0 {
		delete(l.factors, name)
	}
}

// media is what the pictures and files of a request weigh, in the bytes of text that they are taken for in sessions, and
// how many bytes of it are pictures: a link to one is short, and one within the request is long. A name within a text
// does not count: its quotes are escaped there.
func media(body []byte) (weight, inline int) {
	images := max(namedMembers(body, `"image_url"`), bytes.Count(body, []byte(`"input_image"`)))
	files := max(namedMembers(body, `"file"`), bytes.Count(body, []byte(`"input_file"`)))
	return images*model.ImageBytes + files*model.FileBytes, inlineImages(body)
}

// namedMembers counts the members of a name.
func namedMembers(b []byte, quoted string) (n int) {
	for {
		i := bytes.Index(b, []byte(quoted))
		if i < 0 {
			return n
		}
		b = b[i+len(quoted):]
		if rest := bytes.TrimLeft(b[:min(maxBlank, len(b))], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
			n++
		}
	}
}

// inlineImages is how many bytes of a request are pictures.
func inlineImages(b []byte) (n int) {
	begin := []byte(`"data:image/`)
	for {
		i := bytes.Index(b, begin)
		if i < 0 {
			return n
		}
		b = b[i+len(begin):]
		end := bytes.IndexByte(b, '"') // there is nothing to escape in it
		if end < 0 {
			return n
		}
		n += end
		b = b[end:]
	}
}
