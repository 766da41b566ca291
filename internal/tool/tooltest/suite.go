package tooltest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// Patience is how long a case waits for something that must come.
const Patience = 20 * time.Second

// Open returns a source and the declaration that reaches the server through it.
type Open func(t *testing.T, s *Server) (tool.Source, tool.Server)

// Run runs the suite.
func Run(t *testing.T, options Options, open Open) {
	cases := []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"lists tools with their effects", testList},
		{"lists what is allowed", testAllowed},
		{"calls with key, session and metadata", testCall},
		{"says that a tool failed", testFail},
		{"cuts what is too large", testBig},
		{"passes images on", testImage},
		{"takes structured content", testStructured},
		{"reports progress", testProgress},
		{"runs calls side by side", testParallel},
		{"cancels", testCancel},
		{"notices that the list changed", testListChanged},
		{"sends a lost call once", testCrash},
		{"knows what was not sent", testNotSent},
		{"reconnects", testReconnect},
		{"is unavailable without a server", testUnavailable},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := Start(options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			source, server := open(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), 3*Patience)
			defer cancel()
			c.run(t, &bench{t: t, ctx: ctx, server: s, source: source, declared: server})
		})
	}
}

type bench struct {
	t        *testing.T
	ctx      context.Context
	server   *Server
	source   tool.Source
	declared tool.Server
}

func (b *bench) tools() []tool.Tool {
	b.t.Helper()
	tools, err := b.source.Tools(b.ctx, b.declared)
	if err != nil {
		b.t.Fatalf("tools: %v", err)
	}
	return tools
}

func (b *bench) tool(name string) tool.Tool {
	b.t.Helper()
	for _, one := range b.tools() {
		if one.Spec().Name == name {
			return one
		}
	}
	b.t.Fatalf("no tool %q", name)
	return nil
}

func (b *bench) names() []string {
	b.t.Helper()
	var names []string
	for _, one := range b.tools() {
		names = append(names, one.Spec().Name)
	}
	return names
}

func call(key, arguments string) tool.Call {
	return tool.Call{
		Key: key, Arguments: json.RawMessage(arguments), Principal: stead.LocalPrincipal(),
		Session: stead.SessionKey{Project: stead.DefaultProject, Session: "sess_1"},
	}
}

func (b *bench) call(name, key, arguments string) tool.Result {
	b.t.Helper()
	r, err := b.tool(name).Call(b.ctx, call(key, arguments))
	if err != nil {
		b.t.Fatalf("call %s: %v", name, err)
	}
	return r
}

func (b *bench) wait(c <-chan struct{}, what string) {
	b.t.Helper()
	select {
	case <-c:
	case <-time.After(Patience):
		b.t.Fatalf("waited in vain for %s", what)
	}
}

func firstText(r tool.Result) string {
	if len(r.Content) == 0 {
		return ""
	}
	return r.Content[0].Text.Inline
}

func testList(t *testing.T, b *bench) {
	want := map[string]tool.Effect{
		Count: tool.Unknown, CountIdempotent: tool.Idempotent, Read: tool.Pure, Slow: tool.Unknown, Fail: tool.Unknown, Big: tool.Unknown,
		Image: tool.Unknown, Progress: tool.Unknown, Structured: tool.Unknown, Crash: tool.Unknown, OddName: tool.Unknown,
	}
	for _, one := range b.tools() {
		s := one.Spec()
		if want[s.Name] != s.Effect {
			t.Errorf("%s: effect %q, want %q", s.Name, s.Effect, want[s.Name])
		}
		delete(want, s.Name)
		if s.Description != "Test tool "+s.Name || !strings.Contains(string(s.Parameters), `"object"`) {
			t.Errorf("%s: description %q, parameters %s", s.Name, s.Description, s.Parameters)
		}
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

func testAllowed(t *testing.T, b *bench) {
	b.declared.Allowed = []string{Read, "no such tool", Count}
	if got := b.names(); len(got) != 2 || !slices.Contains(got, Read) || !slices.Contains(got, Count) {
		t.Errorf("got %q", got)
	}
	b.declared.Allowed = []string{}
	if got := b.names(); len(got) != 0 {
		t.Errorf("nothing is allowed, got %q", got)
	}
}

func testCall(t *testing.T, b *bench) {
	b.declared.Metadata = map[string]any{"team": "blue", "stead.dev/session": "forged"}
	if got := firstText(b.call(Count, "key-1", `{"n":1}`)); got != "counted" {
		t.Errorf("got %q", got)
	}
	b.call(Count, "key-2", ``)
	b.call(OddName, "key-3", `{}`)
	calls := b.server.Journal.Calls()
	if len(calls) != 2 {
		t.Fatalf("%d calls came", len(calls))
	}
	one := calls[0]
	if one.Key != "key-1" || one.Session != "sess_1" || string(one.Arguments) != `{"n":1}` || one.Meta["team"] != "blue" {
		t.Errorf("got %+v", one)
	}
	if calls[1].Key != "key-2" || string(calls[1].Arguments) != `{}` {
		t.Errorf("got %+v", calls[1])
	}
}

func testFail(t *testing.T, b *bench) {
	if r := b.call(Fail, "k", `{}`); !r.IsError || firstText(r) != "the disk is on fire" {
		t.Errorf("got %+v", r)
	}
}

func testBig(t *testing.T, b *bench) {
	if got := firstText(b.call(Big, "k", `{"bytes": 1000000}`)); len(got) != 1000000 {
		t.Errorf("%d bytes came", len(got))
	}
	r := b.call(Big, "k2", `{"bytes": 18000000}`)
	size := 0
	for _, c := range r.Content {
		size += len(c.Text.Inline)
	}
	last := r.Content[len(r.Content)-1].Text.Inline
	if size > tool.MaxResultBytes || size < tool.MaxResultBytes/2 || !strings.Contains(last, "bytes of it were cut") {
		t.Errorf("%d bytes came, the last part is %.100q", size, last)
	}
}

func testImage(t *testing.T, b *bench) {
	r := b.call(Image, "k", `{}`)
	if len(r.Content) != 2 || r.Content[1].Type != stead.ContentInputImage || !strings.HasPrefix(r.Content[1].Text.Inline, "data:image/png;base64,iVBOR") {
		t.Errorf("got %+v", r.Content)
	}
}

func testStructured(t *testing.T, b *bench) {
	if got := firstText(b.call(Structured, "k", `{}`)); got != `{"answer":42}` {
		t.Errorf("got %q", got)
	}
}

func testProgress(t *testing.T, b *bench) {
	if b.server.options.JSON {
		t.Skip("a server that answers with plain JSON has no stream for progress")
	}
	var got []string // written by one goroutine at a time, read after the call
	c := call("k", `{}`)
	c.Progress = func(message string) {
		got = append(got, message)
		if len(got) == 3 {
			b.server.Release()
		}
	}
	r, err := b.tool(Progress).Call(b.ctx, c)
	if err != nil || firstText(r) != "all steps done" || !slices.Equal(got, []string{"step 1", "step 2", "step 3"}) {
		t.Errorf("got %q, %+v, %v", got, r, err)
	}
}

func testParallel(t *testing.T, b *bench) {
	slow := b.tool(Slow)
	var wg sync.WaitGroup
	const n = 8
	for i := range n {
		wg.Go(func() {
			r, err := slow.Call(b.ctx, call(string(rune('a'+i)), `{}`))
			if err != nil || firstText(r) != "done at last" {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
	for range n {
		b.wait(b.server.Started(), "all calls to run at once")
	}
	for range n {
		b.server.Release()
	}
	wg.Wait()
}

func testCancel(t *testing.T, b *bench) {
	slow := b.tool(Slow)
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := slow.Call(ctx, call("k", `{}`))
		if _, notSent := errors.AsType[*tool.NotSentError](err); err == nil || notSent || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v; the call was sent and cancelled", err)
		}
	}()
	b.wait(b.server.Started(), "the call to start")
	cancel()
	b.wait(done, "the call to return")
	b.wait(b.server.Cancelled(), "the server to be told")
	if got := firstText(b.call(Count, "after", `{}`)); got != "counted" {
		t.Errorf("after a cancel, got %q", got)
	}
}

func testListChanged(t *testing.T, b *bench) {
	b.tools()
	b.server.AddTool("brand_new")
	deadline := time.Now().Add(Patience)
	for !slices.Contains(b.names(), "brand_new") {
		if time.Now().After(deadline) {
			t.Fatal("the new tool was never listed")
		}
		time.Sleep(5 * time.Millisecond) // polls with a deadline
	}
}

func testCrash(t *testing.T, b *bench) {
	_, err := b.tool(Crash).Call(b.ctx, call("lost", `{}`))
	if _, notSent := errors.AsType[*tool.NotSentError](err); err == nil || notSent {
		t.Fatalf("got %v; the call reached the tool and its answer was lost", err)
	}
	r, err := b.tool(Count).Call(b.ctx, call("next", `{}`))
	if _, notSent := errors.AsType[*tool.NotSentError](err); notSent { // it met the dead server: whoever calls makes it again
		r, err = b.tool(Count).Call(b.ctx, call("next", `{}`))
	}
	if got := firstText(r); err != nil || got != "counted" {
		t.Errorf("after the crash, got %q, %v", got, err)
	}
	if effects := b.server.Journal.Effects(); effects["lost"] != 1 || effects["next"] != 1 {
		t.Errorf("effects: %v", effects)
	}
	n := 0
	for _, c := range b.server.Journal.Calls() {
		if c.Key == "lost" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the lost call came %d times", n)
	}
}

// testNotSent: once the source knows that the server is gone, calls surely don't reach it.
func testNotSent(t *testing.T, b *bench) {
	count := b.tool(Count)
	b.server.Stop()
	deadline := time.Now().Add(Patience)
	for {
		_, err := count.Call(b.ctx, call("k", `{}`))
		if err == nil {
			t.Fatal("a call to a stopped server succeeded")
		}
		if _, ok := errors.AsType[*tool.NotSentError](err); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %v", err)
		}
	}
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
	if r, err := count.Call(b.ctx, call("k", `{}`)); err != nil || firstText(r) != "counted" {
		t.Errorf("on the next try: %+v, %v", r, err)
	}
	if effects := b.server.Journal.Effects(); effects["k"] != 1 {
		t.Errorf("effects: %v", effects)
	}
}

// testReconnect: the server comes back as another process that knows no sessions.
func testReconnect(t *testing.T, b *bench) {
	count := b.tool(Count)
	b.server.Stop()
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(Patience)
	for i := 0; ; i++ {
		r, err := count.Call(b.ctx, call(string(rune('a'+i%26)), `{}`))
		if err == nil && firstText(r) == "counted" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("never reconnected: %+v, %v", r, err)
		}
	}
	for key, n := range b.server.Journal.Effects() {
		if n != 1 {
			t.Errorf("key %s had %d effects", key, n)
		}
	}
}

func testUnavailable(t *testing.T, b *bench) {
	b.server.Stop()
	if _, err := b.source.Tools(b.ctx, b.declared); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("got %v", err)
	}
}
