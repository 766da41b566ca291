package server

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

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
		o := observer{stream: true}
		var got []byte
		for b := kept + usage + done; b != ""; {
			n := min(size, len(b))
			piece := []byte(b[:n])
			plain := o.write(piece)
			held, then := s.pass(piece, plain)
			got = append(append(got, held...), then...)
			b = b[n:]
		}
		if got = append(got, s.end()...); string(got) != kept+done {
			t.Fatalf("in pieces of %d:\n%q, want\n%q", size, got, kept+done)
		}
	}
}

// What an upstream says counts however it writes JSON; null says nothing.
func TestMembersOfAStreamAreFoundHoweverTheyAreWritten(t *testing.T) {
	for line, at := range map[string]int{
		`{"usage":{}}`: 1, `{"usage" :  {}}`: 1, `{"usage":null,"x":{"usage": {}}}`: 19, `{"usage": null}`: -1, `{"text":"\"usage\":1"}`: -1, `{"usage"`: -1, ``: -1,
	} {
		if got := said([]byte(line), usageMember); got != at {
			t.Errorf("%s: %d, want %d", line, got, at)
		}
	}
	for _, chunk := range []string{`{"choices":[{"finish_reason":"length"}]}`, `{"choices": [{"finish_reason": "length"}]}`} {
		o := observer{stream: true}
		o.write([]byte("data: " + chunk + "\n\n"))
		if o.finish != model.FinishLength || !o.ended {
			t.Errorf("%s: %q, ended %v", chunk, o.finish, o.ended)
		}
	}
}

// Money is computed from what an upstream says that it used: what can't be is not believed.
func TestUsageThatCannotBeIsNotBelieved(t *testing.T) {
	for told, believed := range map[string]bool{
		`"prompt_tokens":10,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":10}`:        true,
		`"prompt_tokens":-1000000,"completion_tokens":2`:                                               false,
		`"prompt_tokens":10,"completion_tokens":9000000000000000000`:                                   false,
		`"prompt_tokens":100,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":1000}`:    false,
		`"prompt_tokens":1,"completion_tokens":10,"completion_tokens_details":{"reasoning_tokens":11}`: false,
		`"prompt_tokens":100.5`: false,
	} {
		o := observer{}
		o.write([]byte(`{"usage":{` + told + `}}`))
		if got := o.end(); (got != nil) != believed {
			t.Errorf("%s: %+v", told, got)
		}
	}
}

// A stream that closes in order without having said its end is broken off, and its client is told.
func TestAStreamThatEndsTooEarly(t *testing.T) {
	const chunk = "data: {\"object\":\"chat.completion.chunk\",\"id\":\"1\",\"created\":1,\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectChat: says(mediaStream, chunk+chunk)}}
	d, heard := gateway(t, m)
	if _, got := d.call("POST", "/v1/chat/completions", chatHi+`,"stream":true}`); !strings.HasPrefix(got, chunk+chunk) || !strings.Contains(got, `"error"`) {
		t.Errorf("the client gets %q", got)
	}
	if c := <-heard; c.Outcome != model.CodeConnection || c.Usage != nil || c.Guess.OutputTokens != 2 || c.Guess.InputTokens == 0 || !c.Counted() {
		t.Errorf("metered %+v", c)
	}
}

// An answer that is no JSON is none, whatever its status says.
func TestAnAnswerThatIsNoJSONFailed(t *testing.T) {
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectChat: says("application/json", "<<<")}}
	d, heard := gateway(t, m)
	d.transport.Report = func(error) {}
	d.call("POST", "/v1/chat/completions", chatHi+`}`)
	if c := <-heard; c.Outcome != model.CodeServer {
		t.Errorf("metered as %s", c.Outcome)
	}
}

// Labels decide where a call may go: what can't be read as labels is no call without any.
func TestLabelsThatCannotBeReadAreRefused(t *testing.T) {
	d, _ := gateway(t, &scripted{})
	for _, metadata := range []string{`{"data":"health","n":1}`, `{"data":null}`, `[]`, `"x"`} {
		d.says("POST /v1/chat/completions", chatHi+`,"metadata":`+metadata+`}`, 400, `"param":"metadata`)
		d.says("POST /v1/embeddings", `{"model":"m","input":"a","metadata":`+metadata+`}`, 400, `"param":"metadata`)
	}
}

// Usage is asked for whatever the client says of it, and what else it asks for stays.
func TestUsageIsAskedForAgainstTheClientsWord(t *testing.T) {
	const done = "data: [DONE]\n\n"
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectChat: says(mediaStream, done)}}
	d, heard := gateway(t, m)
	for i, options := range []string{`{"include_usage":false}`, `{}`, `{"include_usage":true}`} {
		if _, got := d.call("POST", "/v1/chat/completions", chatHi+`,"stream":true,"stream_options":`+options+`}`); got != done {
			t.Errorf("%s: %q", options, got)
		}
		<-heard
		if tells := m.asked[i].TellUsage; tells != (i < 2) {
			t.Errorf("%s: asked %v", options, tells)
		}
	}
	d.says("POST /v1/chat/completions", chatHi+`,"stream":true,"stream_options":7}`, 400, `stream_options`)
}

// What ends a stream is an event, and no word that the model says.
func TestAStreamIsOverByItsLastEventAlone(t *testing.T) {
	for _, test := range []struct {
		door, stream string
		over         bool
	}{
		{model.DialectChat, "data: {\"choices\":[{\"delta\":{\"content\":\"data: [DONE]\"}}]}\n\n", false},
		{model.DialectChat, "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n", true},
		{model.DialectChat, "data: {\"choices\":[{\"delta\":{\"content\":\"[DONE]\"}}]}\n\ndata:[DONE]\r\n\r\n", true},
		{model.DialectChat, "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]", true},
		{model.DialectResponses, "data: {\"type\":\"response.output_text.delta\",\"delta\":\"response.completed\"}\n\n", false},
		{model.DialectResponses, "data: {\"delta\":\"\\\"type\\\":\\\"response.completed\\\"\",\"type\":\"response.output_text.delta\"}\n\n", false},
		{model.DialectResponses, "data: {\"type\":\"response.output_text.delta\",\"delta\":\"event: response.failed\\n\"}\n\n", false},
		{model.DialectResponses, "data: {\"type\":\"response.completed\"}\n\n", true},
		{model.DialectResponses, "event: response.incomplete\ndata: {}\n\n", true},
		{model.DialectResponses, "event: response.output_text.delta\ndata: {\"delta\":\"response.failed\"}\n\nevent: response.failed\r\ndata: {}\n\n", true},
	} {
		for size := 1; size <= len(test.stream); size++ {
			o := observer{stream: true, door: test.door}
			for b := test.stream; b != ""; {
				n := min(size, len(b))
				o.write([]byte(b[:n]))
				b = b[n:]
			}
			o.end()
			if o.ended != test.over {
				t.Fatalf("in pieces of %d: %q: over is %v, want %v", size, test.stream, o.ended, test.over)
			}
		}
	}
}

func TestCommentsAreNoSpeech(t *testing.T) {
	for _, test := range []struct {
		pieces string // with | between them
		said   string // of each: y or n
	}{
		{": ping\n\n|: ping\n\n|data: x\n\n|\n", "nnyn"},
		{"data: a|b|c\n\n|: pi|ng data: \n|\n: x\ndata: |y\n\n: z|z\ndata", "yyynnyyy"},
		{"event: x\n|data: 1\n\n", "ny"},
	} {
		var s speech
		got := ""
		for piece := range strings.SplitSeq(test.pieces, "|") {
			if s.in([]byte(piece)) {
				got += "y"
			} else {
				got += "n"
			}
		}
		if got != test.said {
			t.Errorf("%q: %s, want %s", test.pieces, got, test.said)
		}
	}
}

// An upstream that only keeps the connection open says nothing, in a stream that is forwarded as in any other.
func TestAForwardedStreamOfCommentsIsCutOff(t *testing.T) {
	const chunk = "data: {\"object\":\"chat.completion.chunk\",\"id\":\"1\",\"created\":1,\"model\":\"up\",\"choices\":[]}\n\n"
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){
		model.DialectChat: func(ctx context.Context, _ model.Forward) (*model.Answer, error) {
			r, w := io.Pipe()
			go func() {
				_, err := io.WriteString(w, chunk)
				for err == nil && ctx.Err() == nil {
					time.Sleep(2 * time.Millisecond)
					_, err = io.WriteString(w, ": ping\n\n")
				}
				w.CloseWithError(ctx.Err())
			}()
			return &model.Answer{ContentType: mediaStream, Body: r}, nil
		},
	}}
	d, heard := gateway(t, m, func(c *Config) { c.ModelIdleTimeout = 50 * time.Millisecond })
	if _, got := d.call("POST", "/v1/chat/completions", chatHi+`,"stream":true}`); !strings.Contains(got, model.CodeTimeout) {
		t.Errorf("got %q", got)
	}
	if c := <-heard; c.Outcome != model.CodeTimeout {
		t.Errorf("metered %+v", c)
	}
}
