package sim

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// formatMemories is the name of the output format with which the runtime asks what is worth remembering of a
// conversation (see package memory/extract). The simulator reads that request as it is written: "Kinds asked
// for: …", known memories and messages as lines "[id] …: text".
const formatMemories = "memories"

// memory is one that it answers.
type memory struct {
	Kind       string   `json:"kind"`
	Content    string   `json:"content"`
	Subject    string   `json:"subject"`
	Sources    []string `json:"sources"`
	Supersedes string   `json:"supersedes"`
	Confidence float64  `json:"confidence"`
	Importance float64  `json:"importance"`
}

// stated are sentences from which it learns. They are few and plain: what a model understands is not its part.
type stated struct {
	kind    string
	pattern *regexp.Regexp
	content string // with $1, $2
	subject string
}

var statements = sync.OnceValue(func() []stated {
	of := func(kind, pattern, content, subject string) stated {
		return stated{kind, regexp.MustCompile(`(?i)^(?:(?:and|but|so|well|now|please|also|no|sorry|actually|correction)\b[,:]? )*` + pattern + `(?: now)?$`), content, subject}
	}
	return []stated{
		of("fact", `remember(?: that)?:? (.+)`, "$1.", ""),
		of("preference", `my favou?rite (.+?) (?:is|are)(?: now)? (.+?)`, "The user's favourite $1 is $2.", "user's favourite $1"),
		of("fact", `my (.+?) (?:is|are)(?: now)? (.+?)`, "The user's $1 is $2.", "user's $1"),
		of("fact", `i (?:live|moved)(?: now)? (?:in|to) (.+?)(?: (?:yesterday|last \w+))?`, "The user lives in $1.", "user's home"),
		of("fact", `i work (?:at|for) (.+?)`, "The user works for $1.", "user's employer"),
		of("fact", `(?:our|the) (.+?) (?:is|are)(?: now)? (.+?)`, "The $1 is $2.", "$1"),
		of("preference", `i (?:prefer|like|love|want) (.+?)`, "The user prefers $1.", "user's opinion of $1"),
		of("preference", `i (?:dislike|hate|don['’]t (?:like|want)|do not (?:like|want)|no longer (?:like|want|prefer)) (.+?)(?: any ?more)?`, "The user dislikes $1.", "user's opinion of $1"),
		of("preference", `(always|never) (.+)`, "The user wants: $1 $2.", "whether to $2"),
		of("procedure", `to (.+?), (?:you |we )?((?:first|run|call|open|use|press|go)\b.+)`, "To $1: $2.", "how to $1"),
	}
})

var (
	sentenceEnd = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[.!;]+(?:\s+|$)`) })
	quotedLine  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\[([^\]]+)\] (\w+)(?: \([^)]*\))?: (.*)$`) })
)

// memories answers what is worth remembering.
func memories(text string) string {
	kinds, _, _ := strings.Cut(strings.TrimPrefix(text, "Kinds asked for: "), "\n")
	known, said, _ := strings.Cut(text, "\nConversation:\n")
	wanted := strings.Split(kinds, ", ")
	out := []memory{}
	var asked, answer []string // id and text of the user's first message of a turn, and of the last answer to it
	episode := func() {
		if slices.Contains(wanted, "episode") && asked != nil && answer != nil {
			const half = 120
			out = append(out, memory{Kind: "episode", Content: "The user asked: " + quote(asked[1], half) + " The answer was: " + quote(answer[1], half),
				Sources: []string{asked[0], answer[0]}, Confidence: 1, Importance: 0.5})
		}
		asked, answer = nil, nil
	}
	for line := range strings.Lines(said) {
		m := quotedLine().FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		switch {
		case m == nil:
		case m[2] == "user":
			if answer != nil {
				episode()
			}
			if asked == nil {
				asked = []string{m[1], m[3]}
			}
			out = append(out, learned(m[1], m[3], wanted, known)...)
		default:
			answer = []string{m[1], m[3]}
		}
	}
	episode()
	data, _ := json.Marshal(map[string]any{"memories": out}) // texts and numbers
	return string(data)
}

// learned is what one message teaches.
func learned(id, text string, wanted []string, known string) []memory {
	var out []memory
	for _, sentence := range sentenceEnd().Split(text, -1) {
		sentence = strings.TrimSpace(sentence)
		for i, s := range statements() {
			at := s.pattern.FindStringSubmatchIndex(sentence)
			if at == nil {
				continue
			}
			if !slices.Contains(wanted, s.kind) {
				break
			}
			content := string(s.pattern.ExpandString(nil, s.content, sentence, at))
			subject := strings.ToLower(string(s.pattern.ExpandString(nil, s.subject, sentence, at)))
			if i == 0 { // to be remembered: it may have another value all the same
				subject = subjectOf(sentence[at[2]:at[3]])
			}
			m := memory{Kind: s.kind, Content: sentenceOf(content), Subject: subject, Sources: []string{id}, Confidence: 0.9, Importance: 0.6}
			m.Supersedes = contradicted(m, known)
			out = append(out, m)
			break
		}
	}
	return out
}

// sentenceOf begins a text with a capital, in whatever script it is.
func sentenceOf(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[n:]
}

// subjectOf is what a sentence is about, if it is one of the others.
func subjectOf(sentence string) string {
	for _, s := range statements()[1:] {
		if at := s.pattern.FindStringSubmatchIndex(sentence); at != nil {
			return strings.ToLower(string(s.pattern.ExpandString(nil, s.subject, sentence, at)))
		}
	}
	return ""
}

// contradicted is the known memory that says the same of another value: up to " is " they are alike.
func contradicted(m memory, known string) string {
	head, value, ok := strings.Cut(m.Content, " is ")
	if !ok || m.Subject == "" {
		return ""
	}
	for line := range strings.Lines(known) {
		k := quotedLine().FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if k == nil {
			continue
		}
		if h, v, ok := strings.Cut(k[3], " is "); ok && strings.EqualFold(h, head) && !strings.EqualFold(v, value) {
			return k[1]
		}
	}
	return ""
}
