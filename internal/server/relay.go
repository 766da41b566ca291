package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

const (
	// relayBuffer is how much of an answer is read at once; it is all that an open stream holds of it.
	relayBuffer = 8 << 10
	// MaxObserved is the longest line of a stream, or whole answer, in which usage is looked for. Of
	// longer ones the usage is not known.
	MaxObserved = 1 << 20
	// deadlineStep is how far a write deadline may lag: setting it costs, and a stream writes often.
	deadlineStep = time.Second
)

// forward passes the call on as it is. It reports false for an upstream that must be translated to.
func (c *call) forward(w http.ResponseWriter, r *http.Request) (bool, error) {
	return c.pass(w, r, false)
}

// instead passes a call on that can't be translated, past the upstreams that it would be translated for.
// why is what the client is told when there is no other, or how those failed that were.
func (c *call) instead(w http.ResponseWriter, r *http.Request, why error) error {
	if done, err := c.pass(w, r, true); done {
		return gatewayError(err)
	}
	if c.failed != nil {
		return gatewayError(c.failed)
	}
	return why
}

func (c *call) pass(w http.ResponseWriter, r *http.Request, only bool) (bool, error) {
	f, ok := c.model.(model.Forwarder)
	if !ok {
		return false, nil
	}
	ctx, touch, stop := c.watched(r.Context())
	defer stop()
	answer, err := f.Forward(ctx, model.Forward{Dialect: c.door, Model: c.info.Upstream, Body: c.body, Caller: c.meter.Caller, Only: only, TellUsage: c.tells})
	if err != nil {
		if me, ok := errors.AsType[*model.Error](err); ok && me.Code == model.CodeDialect {
			if me.Route != nil {
				c.meter.Caller.Tried = me.Route.Tried
			}
			c.failed = cmp.Or(me.Err, c.failed)
			return false, nil
		}
		err = c.blame(ctx, err)
		c.end(err)
		return true, err
	}
	defer answer.Body.Close()
	c.meter.Route = answer.Route
	said, err := c.relay(w, answer, touch)
	err = c.blame(ctx, err)
	if answer.Ended != nil {
		answer.Ended(cmp.Or(err, said))
	}
	c.end(cmp.Or(err, said))
	return true, c.brokenOff(w, answer, err)
}

// relay writes the answer as it comes. A stream is flushed piece by piece. said is what the stream itself
// says has failed, of which the client knows.
func (c *call) relay(w http.ResponseWriter, a *model.Answer, touch func()) (said, err error) {
	streamed := strings.HasPrefix(a.ContentType, mediaStream)
	h := w.Header()
	h.Set("Content-Type", a.ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if streamed {
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no")
	}
	rc := http.NewResponseController(w)
	seen := observer{stream: streamed}
	var usage usageStripper
	var deadline time.Time
	held := c.s.relayed.Get().(*[relayBuffer]byte)
	defer c.s.relayed.Put(held)
	buf := held[:]
	for {
		n, err := a.Body.Read(buf)
		if n > 0 {
			touch()
			c.began()
			if now := time.Now(); now.Sub(deadline) > deadlineStep {
				deadline = now
				// Writers without a connection (in tests) have no deadlines.
				_ = rc.SetWriteDeadline(now.Add(StreamWriteTimeout))
			}
			seen.write(buf[:n])
			piece := buf[:n]
			if c.tells && streamed {
				piece = usage.pass(piece)
			}
			if _, err := w.Write(piece); err != nil {
				return nil, errClientGone
			}
			if streamed {
				if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
					return nil, errClientGone
				}
			}
		}
		if err != nil {
			_ = rc.SetWriteDeadline(time.Time{}) // fails only where there is no connection
			c.meter.Usage = seen.end()
			c.meter.Finish = seen.finish
			if rest := usage.end(); len(rest) > 0 {
				_, _ = w.Write(rest) // the answer ends either way
			}
			if err == io.EOF {
				return seen.failed, nil
			}
			return nil, &model.Error{Code: model.CodeConnection, Message: "the model's answer broke off", Retry: true, Err: err}
		}
	}
}

// brokenOff says in the dialect's own way that a stream is not whole; any other answer is cut off, so
// that the client sees it.
func (c *call) brokenOff(w http.ResponseWriter, a *model.Answer, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errClientGone) {
		c.s.metrics.dropped.Add(1)
		return nil
	}
	out, ok := w.(*response)
	if !ok || out.code == 0 {
		return err
	}
	if !strings.HasPrefix(a.ContentType, mediaStream) {
		panic(http.ErrAbortHandler)
	}
	body, _, _ := wireErrorOf(gatewayError(err))
	raw, fault := json.Marshal(envelope{body})
	if c.door == model.DialectResponses {
		raw, fault = json.Marshal(map[string]any{"type": "error", "sequence_number": 0, "code": body.Code, "message": body.Message, "param": body.Param})
	}
	if fault != nil {
		return fault
	}
	head := "\n\ndata: " // the upstream may have stopped in the middle of a line
	if c.door == model.DialectResponses {
		head = "\n\nevent: error\ndata: "
	}
	_, _ = w.Write([]byte(head + string(raw) + "\n\n")) // the stream ends either way
	return nil
}

// What lines of a stream have in them that are read: all others pass as they are.
const (
	usageMember   = `"usage"`
	finishMember  = `"finish_reason":"`
	refusalMember = `"refusal":"`
	errorMember   = `"error"`
)

// boring is how much of b, which begins with a line, are whole lines that have none of the members in them. It is
// found at once and not line by line: nearly all of a stream is so.
func boring(b []byte, members ...string) int {
	whole := bytes.LastIndexByte(b, '\n') + 1
	for _, m := range members {
		if i := bytes.Index(b[:whole], []byte(m)); i >= 0 {
			whole = bytes.LastIndexByte(b[:i], '\n') + 1
		}
	}
	return whole
}

// observer looks for usage in an answer that passes by, and changes nothing of it.
type observer struct {
	stream bool
	rest   []byte // of a line that is not whole yet; of an answer in one piece, all of it
	skip   bool   // the line is longer than MaxObserved
	usage  *stead.Usage
	finish model.Finish // when it is not just the end
	failed error        // what an event of a stream says
}

func (o *observer) write(b []byte) {
	if o.stream && len(o.rest) == 0 && !o.skip {
		b = b[boring(b, usageMember, finishMember, refusalMember, errorMember):]
	}
	for o.stream {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			break
		}
		if len(o.rest) > 0 {
			o.keep(line)
			line = o.rest
		}
		if !o.skip {
			o.line(line)
		}
		o.rest, o.skip, b = o.rest[:0], false, rest
	}
	o.keep(b)
}

func (o *observer) keep(b []byte) {
	if o.skip = o.skip || len(o.rest)+len(b) > MaxObserved; o.skip {
		o.rest = nil
		return
	}
	o.rest = append(o.rest, b...)
}

// line reads an event's data, if there is usage or an error in it.
func (o *observer) line(line []byte) {
	data, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok {
		return
	}
	if bytes.Contains(data, []byte(usageMember)) || bytes.Contains(data, []byte(finishMember)) || bytes.Contains(data, []byte(refusalMember)) {
		o.read(data)
	}
	if bytes.Contains(data, []byte(errorMember)) {
		o.fail(data)
	}
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
			o.read(o.rest)
		}
	}
	return o.usage
}

// seenUsage has the words of both APIs; a response's usage stands within it.
type seenUsage struct {
	Prompt        int64 `json:"prompt_tokens"`
	Completion    int64 `json:"completion_tokens"`
	PromptDetails struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	Input        int64 `json:"input_tokens"`
	InputDetails struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	Output        int64 `json:"output_tokens"`
	OutputDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
}

// seenEnd is how an answer ends, in the words of both APIs.
type seenEnd struct {
	Choices []struct {
		Finish  string      `json:"finish_reason"`
		Message seenMessage `json:"message"`
		Delta   seenMessage `json:"delta"`
	} `json:"choices"`
	Incomplete *struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
	Output []struct {
		Content []struct {
			Type string `json:"type"`
		} `json:"content"`
	} `json:"output"`
}

type seenMessage struct {
	Refusal string `json:"refusal"`
}

// finish is FinishLength, FinishFilter or FinishRefusal; "" when it is none of them.
func (e *seenEnd) finish() model.Finish {
	for _, o := range e.Output {
		for _, c := range o.Content {
			if c.Type == "refusal" {
				return model.FinishRefusal
			}
		}
	}
	reasons := map[string]model.Finish{"length": model.FinishLength, "max_output_tokens": model.FinishLength, "content_filter": model.FinishFilter}
	if e.Incomplete != nil {
		return reasons[e.Incomplete.Reason]
	}
	for _, c := range e.Choices {
		if c.Message.Refusal != "" || c.Delta.Refusal != "" {
			return model.FinishRefusal
		}
		if f := reasons[c.Finish]; f != "" {
			return f
		}
	}
	return ""
}

func (o *observer) read(data []byte) {
	var v struct {
		Usage    *seenUsage `json:"usage"`
		Response *struct {
			Usage *seenUsage `json:"usage"`
			seenEnd
		} `json:"response"`
		seenEnd
	}
	if json.Unmarshal(data, &v) != nil {
		return // the client sees what it is
	}
	end := &v.seenEnd
	if v.Response != nil {
		end = &v.Response.seenEnd
	}
	if finish := end.finish(); finish != "" && o.finish != model.FinishRefusal {
		o.finish = finish
	}
	u := v.Usage
	if u == nil && v.Response != nil {
		u = v.Response.Usage
	}
	if u == nil {
		return
	}
	o.usage = &stead.Usage{
		InputTokens:     u.Prompt + u.Input,
		CachedTokens:    u.PromptDetails.Cached + u.InputDetails.Cached,
		OutputTokens:    u.Completion + u.Output,
		ReasoningTokens: u.CompletionDetails.Reasoning + u.OutputDetails.Reasoning,
	}
}

// gone reports whether the client no longer waits.
func gone(ctx context.Context, err error) bool {
	return errors.Is(err, errClientGone) || ctx.Err() != nil
}
