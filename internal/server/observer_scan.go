package server

import (
	"bytes"

	"github.com/stead-dev/stead/internal/model"
)

// scanner goes through a stream in the pieces that it comes in, once. It finds the lines that may matter, and counts the
// bytes of texts and arguments, for a guess where usage is not told.
//
//	data: {"id":"c",…,"choices":[{"delta":{"content":"word"},"finish_reason":null}]}
//	└───────────────── head ────────────────────────┘└text┘└───────── tail ────────┘
//
// The events of a stream differ in little but their texts: what a line has in common with one that did not matter is
// compared, at the speed of memory, and what is left is looked at from quotation mark to quotation mark.
type scanner struct {
	texts  int64  // bytes of the texts and arguments so far
	within bool   // the last piece ended within a text
	head   common // of the last line that did not matter
	tail   common
}

// common is a part that lines have in common, if it is not too long.
type common struct {
	n  int
	as [maxKnown]byte
}

// maxKnown is how much of a line is remembered. The heads of chunks have some 250 bytes.
const maxKnown = 384

func (k *common) bytes() []byte { return k.as[:k.n] }

// learn remembers b; what is too long is forgotten.
func (k *common) learn(b []byte) {
	if k.n = 0; len(b) <= len(k.as) {
		k.n = copy(k.as[:], b)
	}
}

// scan is where in the next piece the first line begins of those that may matter; its length if none does. What the piece
// does not have whole of its last line is looked at as well.
func (s *scanner) scan(b []byte, door string) int {
	first := len(b)
	for at := 0; at < len(b); {
		line, whole := b[at:], false
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, whole = line[:i], true
		}
		if s.line(line, door) && at < first {
			first = at
		}
		s.within = s.within && !whole // no text goes on behind its line
		at += len(line) + 1
	}
	return first
}

// line reports whether a line, or a part of one, may matter.
func (s *scanner) line(line []byte, door string) (matters bool) {
	within, rest := s.within, line
	texts, begin, end := 0, 0, 0 // the first text is between them
	switch head := s.head.bytes(); {
	case within:
		rest = s.text(line)
	case len(head) > 0 && bytes.HasPrefix(line, head):
		rest = s.text(line[len(head):])
		if tail := s.tail.bytes(); len(tail) > 0 && bytes.Equal(rest, tail) {
			return false
		}
		texts, begin, end = 1, len(head), len(line)-len(rest)
	default:
		matters = bare(line, door)
	}
	for {
		i := bytes.IndexByte(rest, '"')
		if i < 0 || i+1 == len(rest) {
			break
		}
		at := len(line) - len(rest) + i
		rest = rest[i+1:]
		switch rest[0] {
		case ':':
			value := bytes.TrimLeft(rest[1:], " ")
			if !spoken(line[:at], door) || len(value) == 0 || value[0] != '"' {
				continue
			}
			rest = s.text(value[1:])
			if texts++; texts == 1 {
				begin, end = len(line)-len(value)+1, len(line)-len(rest)
			}
		case 'u', 'f', 'r', 'e':
			matters = matters || striking(line[at:], door)
		}
	}
	if texts == 1 && !matters && !within && !s.within {
		s.head.learn(line[:begin])
		s.tail.learn(line[end:])
	}
	return matters
}

// text counts b up to the end of the string that it begins within, and returns what is behind.
func (s *scanner) text(b []byte) []byte {
	for n := 0; ; n++ {
		i := bytes.IndexByte(b[n:], '"')
		if s.within = i < 0; s.within {
			s.texts += int64(len(b))
			return nil
		}
		n += i
		escapes := 0
		for escapes < n && b[n-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			s.texts += int64(n)
			return b[n+1:]
		}
	}
}

// spoken reports whether b ends with the name, up to its last quotation mark, of a member that holds the texts or
// arguments of a door's streams.
func spoken(b []byte, door string) bool {
	if door == model.DialectResponses {
		return bytes.HasSuffix(b, []byte(`"delta`))
	}
	return bytes.HasSuffix(b, []byte("content")) || bytes.HasSuffix(b, []byte("arguments")) // reasoning_content as well
}

// striking reports whether b begins with a word for which a line is read.
func striking(b []byte, door string) bool {
	for _, member := range [...]string{usageMember, finishMember, refusalMember} {
		if rest, ok := bytes.CutPrefix(b, []byte(member)); ok {
			return notNull(rest)
		}
	}
	return bytes.HasPrefix(b, []byte(errorWord)) || door == model.DialectResponses && endsBy(b[1:])
}

// bare reports whether a line may matter for what has no quotation marks: the end of a chat, and the types of a
// response's events.
func bare(line []byte, door string) bool {
	if door == model.DialectResponses {
		kind, ok := bytes.CutPrefix(line, []byte("event:"))
		return ok && endsBy(bytes.TrimSpace(kind))
	}
	data, ok := bytes.CutPrefix(line, []byte("data:"))
	return ok && bytes.HasPrefix(bytes.TrimSpace(data), []byte(doneData))
}

// endsBy reports whether b begins with the type of an event that ends a response.
func endsBy(b []byte) bool {
	for _, kind := range ends() {
		if bytes.HasPrefix(b, []byte(kind)) {
			return true
		}
	}
	return false
}
