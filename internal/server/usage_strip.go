package server

import (
	"bytes"
	"encoding/json"
)

// usageStripper takes the chunk out of a chat's stream that tells its usage: we asked for it, and the client did
// not. Of everything else no byte changes; a line is held until it is whole.
type usageStripper struct {
	rest []byte // of a line that is not whole yet
	long bool   // that line is longer than MaxObserved, and passes as it is
	took bool   // the line before was taken out: so is the empty one behind it
	out  []byte
}

// pass returns what goes on. It is valid until the next call, and as long as b.
func (t *usageStripper) pass(b []byte) []byte {
	t.out = t.out[:0]
	if !t.took && len(t.rest) == 0 && !t.long {
		n := boring(b, usageMember)
		if n == len(b) {
			return b
		}
		t.out, b = append(t.out, b[:n]...), b[n:]
	}
	for {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			t.hold(b)
			return t.out
		}
		t.rest = append(t.rest, line...)
		t.rest = append(t.rest, '\n')
		t.line(t.rest)
		t.rest, t.long, b = t.rest[:0], false, rest
	}
}

// hold keeps the beginning of a line.
func (t *usageStripper) hold(b []byte) {
	t.rest = append(t.rest, b...)
	if t.long = t.long || len(t.rest) > MaxObserved; t.long {
		t.out = append(t.out, t.rest...)
		t.rest = t.rest[:0]
	}
}

func (t *usageStripper) line(line []byte) {
	switch {
	case !t.long && t.took && len(bytes.TrimSpace(line)) == 0:
		t.took = false
	case !t.long && tellsUsageAlone(line):
		t.took = true
	default:
		t.took = false
		t.out = append(t.out, line...)
	}
}

// end returns what was held of a line that never became whole.
func (t *usageStripper) end() []byte { return t.rest }

// tellsUsageAlone reports whether a line is the chunk with usage and no choice.
func tellsUsageAlone(line []byte) bool {
	data, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok || said(data, usageMember) < 0 {
		return false
	}
	var chunk struct {
		Choices *[]json.RawMessage `json:"choices"`
		Usage   *json.RawMessage   `json:"usage"`
	}
	return json.Unmarshal(data, &chunk) == nil && chunk.Usage != nil && chunk.Choices != nil && len(*chunk.Choices) == 0
}
