package server

import (
	"bytes"
	"encoding/json"

	"github.com/stead-dev/stead/internal/param"
)

// usageStripper takes the chunk out of a chat's stream that tells its usage: we asked for it, and the client did
// not. Of everything else no byte changes; a line is held until it is whole.
type usageStripper struct {
	rest []byte // of a line that is not whole yet
	long bool   // that line is longer than MaxObserved, and passes as it is
	took bool   // the line before was taken out: so is the empty one behind it
}

// pass returns what goes on: the line that was held, and then what is left of b, in place. plain says that no line that
// ends in b tells anything.
func (t *usageStripper) pass(b []byte, plain bool) (held, then []byte) {
	if !t.took && len(t.rest) == 0 && !t.long && plain && bytes.HasSuffix(b, []byte("\n")) {
		return nil, b
	}
	then = b[:0]
	if len(t.rest) > 0 || t.long {
		line, rest, whole := cutLine(b)
		if t.long {
			then = line
			t.long = !whole
		} else {
			held, t.rest = append(t.rest, line...), nil
			if !whole {
				return t.hold(held), nil
			}
			if !t.goes(held) {
				held = nil
			}
		}
		b = rest
	}
	for {
		line, rest, whole := cutLine(b)
		if !whole {
			return held, append(then, t.hold(bytes.Clone(line))...)
		}
		if t.goes(line) {
			then = append(then, line...) // which ends no further than line does
		}
		b = rest
	}
}

// cutLine is bytes.Cut behind the first line.
func cutLine(b []byte) (line, rest []byte, whole bool) {
	i := bytes.IndexByte(b, '\n') + 1
	if i == 0 {
		return b, nil, false
	}
	return b[:i], b[i:], true
}

// hold keeps the beginning of a line. What is too long to be held it returns.
func (t *usageStripper) hold(b []byte) []byte {
	if t.long = len(b) > MaxObserved; t.long {
		t.took = false
		return b
	}
	t.rest = b
	return nil
}

// goes reports whether a whole line goes on.
func (t *usageStripper) goes(line []byte) bool {
	if t.took && len(bytes.TrimSpace(line)) == 0 {
		t.took = false
		return false
	}
	t.took = tellsUsageAlone(line)
	return !t.took
}

// end returns what was held of a line that never became whole.
func (t *usageStripper) end() []byte { return t.rest }

// tellsUsageAlone reports whether a line is the chunk with usage and no choice.
func tellsUsageAlone(line []byte) bool {
	data, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok || said(data, usageMember) < 0 {
		return false
	}
	told, alone := false, false
	param.Members(data, func(key string, from, to int) {
		switch raw := data[from:to]; key {
		case "usage":
			told = string(raw) != "null"
		case "choices":
			alone = raw[0] == '[' && len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0
		}
	})
	return told && alone && json.Valid(data)
}
