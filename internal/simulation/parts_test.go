package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/tool"
)

// script is a model that calls tools and talks, as the world's dice say.
type script struct{ w *world }

func (s script) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		w := s.w
		if !sleep(ctx, w.upTo(2*time.Second)) {
			yield(model.Delta{}, ctx.Err())
			return
		}
		if w.chance(8) {
			yield(model.Delta{}, &model.Error{Code: model.CodeOverloaded, Message: "busy", Retry: true, RetryAfter: w.upTo(3 * time.Second)})
			return
		}
		last := req.Items[len(req.Items)-1]
		if strings.HasPrefix(text(last.Content), "Summarize") {
			s.say(ctx, yield, 0, "a summary")
			return
		}
		if made := callsSince(req.Items); made < 6 && w.chance(75-10*made) {
			s.call(ctx, req, yield)
			return
		}
		s.say(ctx, yield, 0, fmt.Sprintf("answer %d to %s", w.n(1_000_000), text(last.Content)))
	}
}

// callsSince counts the calls after the last message of the user.
func callsSince(items []stead.Item) int {
	n := 0
	for _, it := range items {
		switch {
		case it.Type == stead.ItemMessage && it.Role == stead.RoleUser:
			n = 0
		case it.Type == stead.ItemFunctionCall:
			n++
		}
	}
	return n
}

// say streams a text word by word, and stops in the middle now and then.
func (s script) say(ctx context.Context, yield func(model.Delta, error) bool, index int, answer string) bool {
	for word := range strings.SplitAfterSeq(answer, " ") {
		if !sleep(ctx, s.w.upTo(300*time.Millisecond)) {
			return yield(model.Delta{}, ctx.Err())
		}
		if s.w.chance(2) {
			yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Message: "broken stream", Retry: true})
			return false
		}
		if !yield(model.Delta{Kind: model.TextDelta, Index: index, Text: word}, nil) {
			return false
		}
	}
	item := stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, answer)}
	return yield(model.Delta{Kind: model.ItemDone, Index: index, Item: &item}, nil) && s.done(yield, model.FinishStop)
}

func (s script) done(yield func(model.Delta, error) bool, f model.Finish) bool {
	return yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: 100, OutputTokens: 10}, Finish: f, Model: "script"}, nil)
}

func (s script) call(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
	names := []string{"read", "count", "launch", "ask", "fn", "later", "missing"}
	if slices.ContainsFunc(req.Tools, func(t model.ToolSpec) bool { return t.Name == "sh" }) {
		names = append(names, "peek", "write", "sh", "sh", "sh")
	}
	own := subagentsIn(req.Items)
	if slices.ContainsFunc(req.Tools, func(t model.ToolSpec) bool { return t.Name == "create_subagent" }) {
		names = append(names, "create_subagent", "create_subagent", "create_subagent", "send_subagent_input", "send_subagent_input", "wait_for_subagents", "wait_for_subagents", "interrupt_subagent", "close_subagent", "resume_subagent")
	}
	for i := range 1 + s.w.n(3) {
		name := names[s.w.n(len(names))]
		args := fmt.Sprintf(`{"op":"%s-%d"}`, name, s.w.tools.serial())
		if strings.Contains(name, "subagent") {
			args = s.about(name, own)
		}
		item := stead.Item{Type: stead.ItemFunctionCall, CallID: fmt.Sprintf("c%d", s.w.n(3)), Name: name, Arguments: json.RawMessage(args)}
		if !yield(model.Delta{Kind: model.ItemDone, Index: i, Item: &item}, nil) {
			return
		}
	}
	s.done(yield, model.FinishToolCalls)
}

// about are the arguments of a call about subagents.
func (s script) about(name string, own []string) string {
	one := "nobody"
	if len(own) > 0 {
		one = own[s.w.n(len(own))]
	}
	switch name {
	case "create_subagent":
		return fmt.Sprintf(`{"message":"task %d"}`, s.w.n(1000))
	case "send_subagent_input":
		return fmt.Sprintf(`{"agent_id":%q,"message":"more %d"}`, one, s.w.n(1000))
	case "wait_for_subagents":
		return fmt.Sprintf(`{"agent_ids":[%q],"timeout_seconds":%d}`, one, 1+s.w.n(60))
	}
	return fmt.Sprintf(`{"agent_id":%q}`, one)
}

// subagentsIn are the ids of the subagents that were made in a conversation.
func subagentsIn(items []stead.Item) (ids []string) {
	for _, it := range items {
		var made struct {
			ID   string `json:"agent_id"`
			Name string `json:"name"`
		}
		if it.Type == stead.ItemFunctionCallOutput && json.Unmarshal([]byte(text(it.Output)), &made) == nil && made.Name != "" && !slices.Contains(ids, made.ID) {
			ids = append(ids, made.ID)
		}
	}
	return ids
}

func text(content []stead.Content) string {
	var b strings.Builder
	for _, c := range content {
		b.WriteString(c.Text.Inline)
	}
	return b.String()
}

// ledger is the world outside: what the tools really did.
type ledger struct {
	w       *world
	mu      sync.Mutex
	n       int
	applied map[string][]string // op → keys under which it took effect
	results map[string]string   // op → what it returned
}

func (l *ledger) serial() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return l.n
}

// apply makes an effect happen. An idempotent tool that knows the key does nothing again.
func (l *ledger) apply(op, key string, effect tool.Effect) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if effect != tool.Idempotent || !slices.Contains(l.applied[op], key) {
		l.applied[op] = append(l.applied[op], key)
	}
	l.results[op] = "did " + op
	if strings.HasSuffix(op, "7") { // a text that is a blob
		l.results[op] += strings.Repeat(".", stead.MaxInlineBytes)
	}
	return l.results[op]
}

// happened says whether an op took effect, and what it returned.
func (l *ledger) happened(op string) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.results[op]
	return r, ok
}

// Tools implements tool.Source. The server is away now and then.
func (l *ledger) Tools(context.Context, tool.Server) ([]tool.Tool, error) {
	if l.w.chance(3) {
		return nil, fmt.Errorf("the server is away")
	}
	spec := func(name string, e tool.Effect) tool.Tool {
		return ledgerTool{l, tool.Spec{Name: name, Effect: e, Parameters: json.RawMessage(`{"type":"object"}`)}}
	}
	return []tool.Tool{spec("read", tool.Pure), spec("count", tool.Idempotent), spec("launch", ""), spec("ask", "")}, nil
}

type ledgerTool struct {
	l    *ledger
	spec tool.Spec
}

func (t ledgerTool) Spec() tool.Spec { return t.spec }

// toolDelay bounds each half of a call; an outcome older than its double is final.
const toolDelay = 4 * time.Second

func (t ledgerTool) Call(ctx context.Context, c tool.Call) (tool.Result, error) {
	w := t.l.w
	if w.chance(5) {
		return tool.Result{}, &tool.NotSentError{Err: fmt.Errorf("connection refused")}
	}
	if !sleep(ctx, w.upTo(toolDelay)) {
		return tool.Result{}, ctx.Err()
	}
	if w.chance(4) {
		return tool.Result{}, fmt.Errorf("connection reset before the effect")
	}
	result := t.l.apply(opOf(c.Arguments), c.Key, t.spec.Effect)
	if !sleep(ctx, w.upTo(toolDelay)) {
		return tool.Result{}, ctx.Err()
	}
	if w.chance(4) {
		return tool.Result{}, fmt.Errorf("connection reset after the effect")
	}
	return tool.Result{Content: stead.TextContent(stead.ContentInputText, result)}, nil
}

func opOf(args json.RawMessage) string {
	var a struct{ Op string }
	if err := json.Unmarshal(args, &a); err != nil {
		panic(err)
	}
	return a.Op
}

// blobs keeps blobs in memory; they survive every crash, as synced files do. Storing one fails now
// and then, with the blob stored or not.
type blobs struct {
	w     *world
	mu    sync.Mutex
	bytes map[string][]byte
}

func newBlobs(w *world) *blobs { return &blobs{w: w, bytes: map[string][]byte{}} }

func (b *blobs) Put(_ context.Context, key stead.SessionKey, data []byte) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.w.chance(10) {
		return "", stead.Errorf(stead.KindUnavailable, "the disk is full")
	}
	d := blob.Digest(data)
	b.bytes[key.String()+"/"+d] = slices.Clone(data)
	if b.w.chance(10) {
		return "", stead.Errorf(stead.KindUnavailable, "the directory can't be synced")
	}
	return d, nil
}

func (b *blobs) Get(_ context.Context, key stead.SessionKey, digest string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.bytes[key.String()+"/"+digest]
	if !ok {
		return nil, stead.NotFound("blob", digest)
	}
	return data, nil
}

func (b *blobs) Open(ctx context.Context, key stead.SessionKey, digest string) (io.ReadCloser, error) {
	data, err := b.Get(ctx, key, digest)
	return io.NopCloser(bytes.NewReader(data)), err
}

func (b *blobs) Copy(ctx context.Context, from, to stead.SessionKey, digests []string) error {
	for _, digest := range digests {
		data, err := b.Get(ctx, from, digest)
		if err != nil {
			return err
		}
		if _, err := b.Put(ctx, to, data); err != nil {
			return err
		}
	}
	return nil
}

// Sweep keeps everything: a simulated day is no reason to forget.
func (b *blobs) Sweep(context.Context, stead.SessionKey, func(string) bool, time.Time) (blob.Swept, error) {
	return blob.Swept{}, nil
}

// Sessions lists none, so that there is nothing to prune.
func (b *blobs) Sessions(context.Context, func(stead.SessionKey) error) error { return nil }
func (b *blobs) Prune(context.Context, stead.SessionKey, time.Time) (blob.Swept, error) {
	return blob.Swept{}, nil
}

func (b *blobs) DeleteAll(context.Context, stead.SessionKey) error { return nil }
