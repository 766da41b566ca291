package server

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/model"
)

// A call that can't be translated goes to those who speak its dialect, behind what was tried.
func TestWhatCantBeTranslatedIsPassedOn(t *testing.T) {
	const whole = `{"id":"1","object":"chat.completion","created":1,"model":"up","choices":[]}`
	tried := []string{"p/x: rate_limit_exceeded"}
	limited := &model.Error{Code: model.CodeRateLimit, Message: "slow down"}
	m := &scripted{}
	m.forward = map[string]func(context.Context, model.Forward) (*model.Answer, error){
		model.DialectChat: func(_ context.Context, f model.Forward) (*model.Answer, error) {
			if f.Only && f.Caller.Affinity == "k" {
				return says("application/json", whole)(t.Context(), f)
			}
			return nil, &model.Error{Code: model.CodeDialect, Route: &model.Route{Tried: tried}, Err: limited}
		},
	}
	d, heard := gateway(t, m)
	if res, got := d.call("POST", "/v1/chat/completions", chatHi+`,"n":2,"user":"u","prompt_cache_key":"k"}`); res.StatusCode != 200 || got != whole {
		t.Errorf("%d %s", res.StatusCode, got)
	}
	<-heard
	if len(m.asked) != 2 || m.asked[0].Only || !m.asked[1].Only || !slices.Equal(m.asked[1].Caller.Tried, tried) {
		t.Errorf("asked %+v", m.asked)
	}
	d.says("POST /v1/chat/completions", chatHi+`,"n":2,"user":"u"}`, 429, `slow down`) // why those failed that could
	limited = nil
	m.forward[model.DialectChat] = func(context.Context, model.Forward) (*model.Answer, error) {
		return nil, &model.Error{Code: model.CodeDialect}
	}
	d.says("POST /v1/chat/completions", chatHi+`,"n":2}`, 400, `"param":"n"`)
}

// How a stream ended is told to whoever routed it, also when it ends in order and says that it failed.
func TestTheEndOfAForwardedStreamIsTold(t *testing.T) {
	const chunk = "data: {\"object\":\"chat.completion.chunk\",\"id\":\"1\",\"created\":1,\"model\":\"up\",\"choices\":[]}\n\n"
	for stream, code := range map[string]string{
		chunk + "data: [DONE]\n\n": "",
		chunk + "data: {\"error\":{\"message\":\"busy\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n": model.CodeServer,
	} {
		ended := make(chan error, 2)
		m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){
			model.DialectChat: func(context.Context, model.Forward) (*model.Answer, error) {
				return &model.Answer{ContentType: mediaStream, Body: io.NopCloser(strings.NewReader(stream)), Ended: func(err error) { ended <- err }}, nil
			},
		}}
		d, heard := gateway(t, m)
		if _, got := d.call("POST", "/v1/chat/completions", chatHi+`,"stream":true}`); got != stream {
			t.Errorf("the client gets %q", got)
		}
		err, c := <-ended, <-heard
		if e, _ := err.(*model.Error); (err == nil) != (code == "") || e != nil && e.Code != code {
			t.Errorf("%q: told %v, want %q", stream, err, code)
		}
		if want := cmp.Or(code, OutcomeDone); c.Outcome != want {
			t.Errorf("%q: metered as %s, want %s", stream, c.Outcome, want)
		}
	}
}

func TestEventsThatSayThatAStreamFailed(t *testing.T) {
	for event, failed := range map[string]bool{
		`{"choices":[{"delta":{"content":"\"error\""}}]}`:                                    false,
		`{"type":"response.created","response":{"error":null}}`:                              false,
		`{"type":"response.completed","response":{"error":null,"usage":{"input_tokens":1}}}`: false,
		`{"error":{"message":"busy"}}`:                                                       true,
		`{"type":"response.failed","response":{"error":{"code":"server_error"}}}`:            true,
		`{"type":"error","code":"x","message":"y","error":null}`:                             true,
	} {
		o := observer{stream: true}
		o.write([]byte("data: " + event + "\n\n"))
		if (o.failed != nil) != failed {
			t.Errorf("%s: %v", event, o.failed)
		}
	}
}

// The chunk that tells usage is taken out, and no other byte changes, in whatever pieces the stream comes.
func TestUsageIsTakenOutHoweverItIsCut(t *testing.T) {
	const kept = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\r\n\r\n: ping\n\ndata: {\"choices\":[1]}\n\n"
	const usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n"
	const done = "data: [DONE]\n\n"
	for size := 1; size <= len(kept+usage+done); size++ {
		var s usageStripper
		var got []byte
		for b := kept + usage + done; b != ""; {
			n := min(size, len(b))
			got = append(got, s.pass([]byte(b[:n]))...)
			b = b[n:]
		}
		if got = append(got, s.end()...); string(got) != kept+done {
			t.Fatalf("in pieces of %d:\n%q, want\n%q", size, got, kept+done)
		}
	}
}
