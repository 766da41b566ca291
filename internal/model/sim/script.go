package sim

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// script is what a user message asks for.
type script struct {
	steps   [][]call // calls of the replies to come, in order; none is empty
	say     []string
	refuse  string
	think   []string
	words   int
	pace    time.Duration
	wait    time.Duration
	fail    string
	summary bool // of a compaction
}

type call struct {
	name string
	args json.RawMessage
}

// parse reads the lines of a message. Lines that are not understood are ignored.
func parse(text string) script {
	var s script
	if _, ok := keyword(text, "summarize"); ok {
		return script{summary: true}
	}
	var first []call
	count := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		rest, then := keyword(line, "then")
		if !then {
			rest = line
		}
		if c, ok := parseCall(rest); ok && count < MaxCalls {
			count++
			if then {
				s.steps = append(s.steps, []call{c})
			} else {
				first = append(first, c)
			}
			continue
		}
		s.line(line)
	}
	if len(first) > 0 {
		s.steps = append([][]call{first}, s.steps...)
	}
	return s
}

func (s *script) line(line string) {
	if rest, ok := keyword(line, "say"); ok {
		s.say = append(s.say, rest)
	} else if rest, ok := keyword(line, "refuse"); ok {
		s.refuse = rest
	} else if rest, ok := keyword(line, "think"); ok && rest != "" {
		s.think = append(s.think, rest)
	} else if rest, ok := keyword(line, "wait"); ok {
		if d, ok := duration(rest); ok {
			s.wait = d
		}
	} else if rest, ok := keyword(line, "fail with"); ok {
		s.fail = strings.TrimRight(rest, ".")
	} else if rest, ok := keyword(line, "stream slowly"); ok {
		s.pace = pace(rest, slowPace)
	} else if rest, ok := keyword(line, "write"); ok {
		s.write(rest)
	}
}

// write reads "N words [every D]".
func (s *script) write(rest string) {
	count, rest, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(count)
	tail, ok := keyword(rest, "words")
	if err != nil || n < 1 || !ok {
		return
	}
	s.words = min(n, MaxWords)
	s.pace = pace(tail, s.pace)
}

// pace reads "[every D]".
func pace(rest string, otherwise time.Duration) time.Duration {
	tail, ok := keyword(rest, "every")
	if !ok {
		return otherwise
	}
	d, ok := duration(tail)
	if !ok {
		return otherwise
	}
	return d
}

func duration(s string) (time.Duration, bool) {
	d, err := time.ParseDuration(strings.TrimRight(s, "."))
	return min(d, MaxWait), err == nil && d >= 0
}

// parseCall reads "Call NAME with {JSON}".
func parseCall(line string) (call, bool) {
	rest, ok := keyword(line, "call")
	if !ok {
		return call{}, false
	}
	name, rest, _ := strings.Cut(rest, " ")
	args, ok := keyword(rest, "with")
	if !ok || name == "" || !strings.HasPrefix(args, "{") {
		return call{}, false
	}
	raw := json.RawMessage(args)
	if !json.Valid(raw) {
		// As every adapter hands on what a model garbled: a JSON string.
		raw, _ = json.Marshal(args)
	}
	return call{name: name, args: raw}, true
}

// keyword cuts a leading keyword, in either case and followed by a space or nothing, off s.
func keyword(s, word string) (rest string, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
		return "", false
	}
	rest = s[len(word):]
	if rest != "" && !strings.ContainsAny(rest[:1], " \t\n.,:") {
		return "", false
	}
	return strings.TrimSpace(strings.TrimLeft(rest, ",:")), true
}
