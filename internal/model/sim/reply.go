package sim

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/citation"
	"github.com/stead-dev/stead/internal/model"
)

// reply decides the whole answer to a request.
func (s *simulator) reply(req model.Request) reply {
	at := lastUser(req.Items)
	if at < 0 {
		return finish(reply{answer: s.name + ": there is no message to answer.", answers: true}, req)
	}
	text, images := messageText(req.Items[at])
	if req.Format != nil && req.Format.Name == formatMemories {
		return finish(reply{answer: memories(text), answers: true}, req)
	}
	sc := parse(text)
	since := req.Items[at+1:]
	made := callsMade(since)
	r := reply{wait: sc.wait, pace: sc.pace}
	if made == 0 {
		r.thought = strings.Join(sc.think, "\n")
	}
	if next := sc.next(made); len(next) > 0 {
		r.calls = callItems(req, next)
		r.finish = model.FinishToolCalls
		return r
	}
	switch {
	case sc.summary:
		r.answer = "Summary: " + digest(req.Items[:at])
	case len(sc.say) > 0:
		r.answer = withAgents(cite(strings.Join(sc.say, "\n"), since), req.Items)
	case sc.refuse != "":
		r.answer, r.refuses, r.finish = sc.refuse, true, model.FinishRefusal
	case sc.words > 0:
		r.answer = prose(sc.words)
	case sc.fail != "":
	case req.Format != nil:
		r.answer = document(req.Format.Schema, quote(text, maxStringRunes))
	case made > 0:
		r.answer = results(since)
	default:
		r.answer = s.echo(text, images)
	}
	r.answers = sc.fail == "" || r.answer != ""
	if sc.fail != "" {
		r.fail = failure(sc.fail)
	}
	return finish(r, req)
}

// finish cuts the answer at the output limit and settles why the model stops.
func finish(r reply, req model.Request) reply {
	if r.finish == "" {
		r.finish = model.FinishStop
	}
	most := req.MaxOutputTokens
	if most <= 0 {
		return r
	}
	if left := most*bytesPerTok - len(r.thought); len(r.answer) > left {
		r.answer = cut(r.answer, max(left, 0))
		r.finish = model.FinishLength
	}
	return r
}

// next returns the calls to make when made of them have been made.
func (sc *script) next(made int) []call {
	for _, step := range sc.steps {
		if made < len(step) {
			return step[made:]
		}
		made -= len(step)
	}
	return nil
}

func lastUser(items []stead.Item) int {
	for i := len(items) - 1; i >= 0; i-- {
		if items[i].Type == stead.ItemMessage && items[i].Role == stead.RoleUser && !isNotice(items[i]) {
			return i
		}
	}
	return -1
}

// isNotice: the runtime tells something; nobody asks for anything.
func isNotice(it stead.Item) bool {
	text, _ := messageText(it)
	return strings.HasPrefix(text, stead.NoticePrefix)
}

func messageText(it stead.Item) (text string, images int) {
	var parts []string
	for _, c := range it.Content {
		if c.Type == stead.ContentInputImage {
			images++
			continue
		}
		parts = append(parts, c.Text.Inline)
	}
	return strings.Join(parts, "\n"), images
}

func callsMade(items []stead.Item) int {
	n := 0
	for i := range items {
		if items[i].Type.IsCall() {
			n++
		}
	}
	return n
}

// callItems gives every call an id that no earlier call of the conversation has: the fingerprint
// of a conversation that only grows, or was summarized with its own fingerprint, does not repeat.
func callItems(req model.Request, calls []call) []stead.Item {
	print := conversation(req.CacheKey, req.Items)
	items := make([]stead.Item, len(calls))
	for i, c := range calls {
		items[i] = stead.Item{
			Type: stead.ItemFunctionCall, Status: stead.ItemCompleted,
			CallID: "call_" + print + "_" + strconv.Itoa(i),
			Name:   c.name, Arguments: json.RawMessage(withAgents(string(c.args), req.Items)),
		}
	}
	return items
}

// cite puts the marks of passages that were found since the message where it asks for them: {cite 1}, {cite 2}, ….
func cite(text string, since []stead.Item) string {
	if !strings.Contains(text, "{cite ") {
		return text
	}
	for n, mark := range citation.Marks(results(since)) {
		text = strings.ReplaceAll(text, fmt.Sprintf("{cite %d}", n+1), mark)
	}
	return text
}

// results lists what the calls since the message returned, a line each.
func results(since []stead.Item) string {
	outputs := map[string]*stead.Item{} // call id → output
	for i := range since {
		if since[i].Type == stead.ItemFunctionCallOutput {
			outputs[since[i].CallID] = &since[i]
		}
	}
	var lines []string
	for i := range since {
		c := &since[i]
		if !c.Type.IsCall() {
			continue
		}
		out := c
		if c.Type == stead.ItemFunctionCall {
			out = outputs[c.CallID]
		}
		lines = append(lines, c.Name+": "+result(out))
	}
	return strings.Join(lines, "\n")
}

func result(out *stead.Item) string {
	if out == nil {
		return "no output"
	}
	if out.Error != "" {
		return "error: " + cut(out.Error, MaxResultBytes)
	}
	var parts []string
	for _, c := range out.Output {
		if c.Type == stead.ContentInputImage {
			parts = append(parts, "[image]")
			continue
		}
		parts = append(parts, cut(c.Text.Inline, MaxResultBytes))
	}
	if len(parts) == 0 {
		return "no output"
	}
	return strings.Join(parts, " ")
}

func (s *simulator) echo(text string, images int) string {
	answer := fmt.Sprintf("%s: you said %q.", s.name, quote(text, maxQuoteRune))
	if images > 0 {
		answer += fmt.Sprintf(" Images: %d.", images)
	}
	return answer
}

// digest describes a conversation in a line.
func digest(items []stead.Item) string {
	const maxHeads, maxHeadRunes = 8, 40
	var heads []string
	messages := 0
	for _, it := range items {
		if it.Type != stead.ItemMessage {
			continue
		}
		messages++
		if it.Role == stead.RoleUser {
			text, _ := messageText(it)
			heads = append(heads, strconv.Quote(quote(text, maxHeadRunes)))
		}
	}
	more := ""
	if len(heads) > maxHeads {
		more = fmt.Sprintf(" … and %d more", len(heads)-maxHeads)
		heads = heads[:maxHeads]
	}
	return fmt.Sprintf("%d messages (%s); the user said: %s%s.",
		messages, conversation("", items), strings.Join(heads, ", "), more)
}

// prose makes n words, numbered, so that a missing or doubled one shows: "word1 word2 …".
func prose(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("word")
		b.WriteString(strconv.Itoa(i + 1))
	}
	return b.String()
}

func failure(code string) *model.Error {
	switch code {
	case model.CodeRateLimit, model.CodeOverloaded, model.CodeConnection, model.CodeServer, model.CodeTimeout:
		return &model.Error{Code: code, Message: "sim failed as it was told to", Retry: true}
	case model.CodeContextLength, model.CodeMaxOutput, model.CodeUsageLimit, model.CodeAuthentication,
		model.CodeInvalid, model.CodeNotFound, model.CodePolicy:
		return &model.Error{Code: code, Message: "sim failed as it was told to"}
	}
	return &model.Error{Code: model.CodeInvalid, Message: fmt.Sprintf("sim knows no error code %.40q", code)}
}

// conversation fingerprints a session's key and all its items.
func conversation(key string, items []stead.Item) string {
	parts := []string{key}
	for i := range items {
		it := &items[i]
		parts = append(parts, string(it.Type), it.Role, it.CallID, it.Name, string(it.Arguments), it.Error)
		for _, c := range it.Content {
			parts = append(parts, c.Type, c.Text.Inline, c.Text.Digest)
		}
		for _, c := range it.Output {
			parts = append(parts, c.Type, c.Text.Inline, c.Text.Digest)
		}
	}
	return fingerprint(parts...)
}

// fingerprint is 16 hex digits, no secret and no seal: FNV-1a, a zero byte after each part.
func fingerprint(parts ...string) string {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // never fails
		_, _ = h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}
