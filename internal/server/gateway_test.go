package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/sim"
	"github.com/stead-dev/stead/internal/policy"
)

// scripted is a model whose upstream speaks the dialects in forward, and is translated to for others.
type scripted struct {
	model.Model
	mu      sync.Mutex
	forward map[string]func(context.Context, model.Forward) (*model.Answer, error)
	asked   []model.Forward
	ended   chan error // how a hanging Generate ended
}

func (m *scripted) Forward(ctx context.Context, f model.Forward) (*model.Answer, error) {
	m.mu.Lock()
	m.asked = append(m.asked, f)
	m.mu.Unlock()
	if answer := m.forward[f.Dialect]; answer != nil {
		return answer(ctx, f)
	}
	return nil, &model.Error{Code: model.CodeDialect}
}

func (m *scripted) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	if m.ended == nil {
		return m.Model.Generate(ctx, req)
	}
	return func(yield func(model.Delta, error) bool) {
		yield(model.Delta{Kind: model.TextDelta, Text: "and"}, nil)
		<-ctx.Done()
		m.ended <- context.Cause(ctx)
		yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Err: ctx.Err()})
	}
}

func (m *scripted) Resolve(name string, _ model.Caller) (model.Info, model.Model, error) {
	if name != "m" {
		return model.Info{}, nil, stead.NotFound("model", name)
	}
	return model.Info{Name: "m", Provider: "p", Upstream: "up"}, m, nil
}

func (m *scripted) List(stead.ProjectID) []model.Info { return nil }

// gate allows, or refuses with err; told keeps what it is told.
type gate struct{ err error }

func (g gate) ModelCall(context.Context, stead.Principal, string, stead.Labels, []policy.Offer) error {
	return g.err
}

func (g gate) Function(context.Context, stead.Principal, string, stead.Labels, string, []byte) error {
	return g.err
}

func (g gate) Provided(context.Context, stead.Principal, string, stead.Labels, []policy.Offer) (policy.Offer, error) {
	return policy.Offer{}, g.err
}

func (g gate) Unasked(context.Context, stead.Principal, string, stead.Labels, string) bool {
	return g.err == nil
}

type told chan Metered

func (m told) Metered(c Metered) { m <- c }

func says(contentType, body string) func(context.Context, model.Forward) (*model.Answer, error) {
	return func(context.Context, model.Forward) (*model.Answer, error) {
		return &model.Answer{ContentType: contentType, Body: io.NopCloser(strings.NewReader(body)), Route: &model.Route{Provider: "p"}}, nil
	}
}

func gateway(t *testing.T, m *scripted, change ...func(*Config)) (*door, told) {
	t.Helper()
	if m.Model == nil {
		m.Model = sim.New(sim.Options{})
	}
	calls := make(told, 16)
	return open(t, filled(), append([]func(*Config){func(c *Config) { c.Models, c.Gate, c.Meter, c.Seals = m, gate{}, calls, sealed(1) }}, change...)...), calls
}

const chatHi = `{"model":"m","messages":[{"role":"user","content":"Say hi there"}]`

func TestForwardedCallsPassAsTheyAre(t *testing.T) {
	const stream = "data: {\"object\":\"chat.completion.chunk\",\"id\":\"1\",\"created\":1,\"model\":\"up\",\"choices\":[],\"x\":1}\n\n" +
		": ping\n\ndata: {\"object\":\"chat.completion.chunk\",\"id\":\"1\",\"created\":1,\"model\":\"up\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":3}}}\n\ndata: [DONE]\n\n"
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectChat: says(mediaStream, stream)}}
	d, heard := gateway(t, m)
	body := chatHi + `,  "stream":true,"stream_options":{"include_usage":true},"n":3,"logprobs":true,"unknown":{"a":1e30},"metadata":{"team":"red"}}`
	res, got := d.call("POST", "/v1/chat/completions", body)
	if got != stream || res.StatusCode != 200 || res.Header.Get("Content-Type") != mediaStream {
		t.Errorf("answer %d %q", res.StatusCode, got)
	}
	if f := m.asked[0]; string(f.Body) != body || f.Model != "up" || !f.Caller.Labels.Has("team", "red") || f.Caller.Stateful {
		t.Errorf("forwarded %+v with %s", f, f.Body)
	}
	c := <-heard
	if c.Outcome != OutcomeDone || *c.Usage != (stead.Usage{InputTokens: 7, CachedTokens: 3, OutputTokens: 2}) || c.Route.Provider != "p" || c.First == 0 || c.Took < c.First {
		t.Errorf("metered %+v %+v", c, c.Usage)
	}
}

// A client that did not ask for usage sees none, and it is metered all the same.
func TestUsageThatNobodyAskedForIsTakenOut(t *testing.T) {
	const shown = "data: {\"object\":\"chat.completion.chunk\",\"id\":\"1\",\"created\":1,\"model\":\"up\",\"choices\":[],\"usage\":null}\n\n: ping\r\n\n"
	const usage = "data: {\"object\":\"chat.completion.chunk\",\"id\":\"1\",\"created\":1,\"model\":\"up\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n"
	for cut := range len(shown + usage) { // wherever the network cuts the answer
		m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectChat: func(context.Context, model.Forward) (*model.Answer, error) {
			whole := shown + usage + "data: [DONE]\n\n"
			body := io.MultiReader(strings.NewReader(whole[:cut]), strings.NewReader(whole[cut:]))
			return &model.Answer{ContentType: mediaStream, Body: io.NopCloser(body)}, nil
		}}}
		if cut%17 != 0 {
			continue // a server each: a part of the places is enough
		}
		d, heard := gateway(t, m)
		if _, got := d.call("POST", "/v1/chat/completions", chatHi+`,"stream":true,"stream_options":null}`); got != shown+"data: [DONE]\n\n" {
			t.Fatalf("cut at %d: the client got %q", cut, got)
		}
		if c := <-heard; !m.asked[0].TellUsage || c.Usage == nil || c.Usage.InputTokens != 7 {
			t.Errorf("cut at %d: asked %t, metered %+v", cut, m.asked[0].TellUsage, c.Usage)
		}
	}
}

// Bytes reach the client before the upstream has said more.
func TestForwardedStreamsAreFlushed(t *testing.T) {
	r, w := io.Pipe()
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){
		model.DialectChat: func(context.Context, model.Forward) (*model.Answer, error) {
			return &model.Answer{ContentType: mediaStream, Body: r}, nil
		},
	}}
	d, heard := gateway(t, m)
	go func() { _, _ = w.Write([]byte("data: {\"one\":1}\n\n")) }()
	res, err := http.Post(d.url+"/v1/chat/completions", "application/json", strings.NewReader(chatHi+`,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 64)
	n, err := res.Body.Read(buf)
	if err != nil || string(buf[:n]) != "data: {\"one\":1}\n\n" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	_, _ = w.Write([]byte(`data: {"half`))
	w.CloseWithError(errors.New("reset"))
	rest, _ := io.ReadAll(res.Body)
	if !strings.Contains(string(rest), "\n\ndata: {\"error\":{\"message\":\"the model's answer broke off\"") {
		t.Errorf("the end: %q", rest)
	}
	if c := <-heard; c.Outcome != model.CodeConnection {
		t.Errorf("metered %+v", c)
	}
}

func TestTranslatedStreams(t *testing.T) {
	d, heard := gateway(t, &scripted{})
	_, got := d.call("POST", "/v1/chat/completions", chatHi+`,"stream":true,"stream_options":{"include_usage":true}}`)
	for _, want := range []string{`"role":"assistant","content":""`, `"content":"hi `, `"finish_reason":"stop"`, `"choices":[],"usage":{"prompt_tokens":`, "data: [DONE]\n\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the chunks lack %s:\n%s", want, got)
		}
	}
	if c := <-heard; c.Outcome != OutcomeDone || c.Usage == nil || c.Dialect != model.DialectChat {
		t.Errorf("metered %+v", c)
	}
	_, got = d.call("POST", "/v1/responses", `{"model":"m","store":false,"stream":true,"include":["reasoning.encrypted_content"],"tools":[{"type":"function","name":"f"}],"input":"Think Well.\nCall f with {\"a\":1}"}`)
	var types []string
	last := -1
	for line := range strings.Lines(got) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var e struct {
				Type   string
				Number int `json:"sequence_number"`
			}
			if err := json.Unmarshal([]byte(data), &e); err != nil || e.Number <= last {
				t.Errorf("%v: %d after %d", err, e.Number, last)
			}
			last, types = e.Number, append(types, strings.TrimPrefix(e.Type, "response."))
		}
	}
	want := "created in_progress output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done output_item.done " +
		"output_item.added function_call_arguments.delta function_call_arguments.done output_item.done completed"
	if s := strings.Join(types, " "); s != want {
		t.Errorf("events\n%s, want\n%s", s, want)
	}
	_, got = d.call("POST", "/v1/responses", `{"model":"m","store":false,"stream":true,"max_output_tokens":1,"input":"Write 9 words"}`)
	if !strings.Contains(got, `"type":"response.incomplete"`) || !strings.Contains(got, `"reason":"max_output_tokens"`) {
		t.Errorf("a cut answer: %s", got)
	}
}

func TestErrorsOfModelCalls(t *testing.T) {
	d, heard := gateway(t, &scripted{})
	for code, status := range map[string]int{
		model.CodeRateLimit: 429, model.CodeUsageLimit: 429, model.CodeContextLength: 400, model.CodeInvalid: 400, model.CodeNotFound: 404,
		model.CodeAuthentication: 502, model.CodeOverloaded: 503, model.CodeConnection: 503, model.CodeTimeout: 503, model.CodeServer: 503,
	} {
		for _, stream := range []string{"false", "true"} {
			res, got := d.call("POST", "/v1/chat/completions", `{"model":"m","stream":`+stream+`,"messages":[{"role":"user","content":"Fail with `+code+`"}]}`)
			if res.StatusCode != status {
				t.Errorf("%s, stream %s: status %d, want %d: %s", code, stream, res.StatusCode, status, got)
			}
			if c := <-heard; c.Outcome != code {
				t.Errorf("metered as %s, want %s", c.Outcome, code)
			}
		}
	}
	_, got := d.call("POST", "/v1/responses", `{"model":"m","store":false,"stream":true,"input":"Say a b\nFail with server_error"}`)
	if !strings.Contains(got, `"type":"response.failed"`) || !strings.Contains(got, `"status":"failed"`) {
		t.Errorf("a failure behind text: %s", got)
	}
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){
		model.DialectChat: func(context.Context, model.Forward) (*model.Answer, error) {
			return nil, &model.Error{Code: model.CodeRateLimit, Status: 429, Message: "slow down", RetryAfter: 1500 * time.Millisecond}
		}}}
	d, _ = gateway(t, m)
	if res, got := d.call("POST", "/v1/chat/completions", chatHi+`}`); res.StatusCode != 429 || res.Header.Get("Retry-After") != "2" {
		t.Errorf("forwarded: %d, Retry-After %q: %s", res.StatusCode, res.Header.Get("Retry-After"), got)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	d, _ := gateway(t, &scripted{})
	for _, tc := range []struct{ path, body, param string }{
		{"chat/completions", `{"messages":[{"role":"user","content":"x"}]}`, "model"},
		{"chat/completions", `{"model":"gone","messages":[]}`, "model"},
		{"chat/completions", `{"model":"m"}`, "messages"},
		{"chat/completions", chatHi + `,"n":2}`, "n"},
		{"chat/completions", chatHi + `,"logprobs":true}`, "logprobs"},
		{"chat/completions", chatHi + `,"functions":[{}]}`, "functions"},
		{"chat/completions", chatHi + `,"tools":[{"type":"custom","custom":{"name":"x"}}]}`, "tools[0].type"},
		{"chat/completions", chatHi + `,"temperature":3}`, "temperature"},
		{"chat/completions", `{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio"}]}]}`, "messages[0].content[0].type"},
		{"responses", `{"model":"m","store":false,"input":"x","background":true}`, "background"},
		{"responses", `{"model":"m","store":false,"input":"x","previous_response_id":"resp_1"}`, "previous_response_id"},
		{"responses", `{"model":"m","store":false,"input":"x","tools":[{"type":"namespace"}]}`, "tools[0].type"},
		{"responses", `{"model":"m","store":false,"input":"x","tools":[{"type":"mcp","server_label":"files"}]}`, "tools[0].server_label"},
		{"responses", `{"model":"m","store":false,"input":"x","tools":[{"type":"mcp","server_label":"a","server_url":"https://a.example"}]}`, "tools[0].type"},
		{"responses/input_tokens", `{"model":"m","previous_response_id":"x","conversation":"conv_1"}`, "conversation"},
		{"responses/compact", `{"model":"m"}`, "input"},
		{"chat/completions", chatHi + `,"service_tier":"bogus"}`, "service_tier"},
		{"responses", `{"model":"m","input":"x","service_tier":"bogus"}`, "service_tier"},
		{"responses", `{"model":"m","store":false,"input":"x","service_tier":"bogus"}`, "service_tier"},
		{"embeddings", `{"model":"m","input":[1,2]}`, "model"}, // this one embeds nothing
	} {
		res, got := d.call("POST", "/v1/"+tc.path, tc.body)
		if res.StatusCode/100 != 4 || !strings.Contains(got, `"param":"`+tc.param+`"`) {
			t.Errorf("%s %s: %d %s", tc.path, tc.body, res.StatusCode, got)
		}
	}
}

// Without a decision nothing is called, whichever door.
func TestNoDoorPassesTheGate(t *testing.T) {
	for _, g := range []Gate{nil, gate{stead.Errorf(stead.KindForbidden, "no")}} {
		m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){}}
		d, heard := gateway(t, m, func(c *Config) { c.Gate = g })
		for path, body := range map[string]string{
			"chat/completions": chatHi + `}`, "embeddings": `{"model":"m","input":"x"}`,
			"responses": `{"model":"m","store":false,"input":"x"}`, "responses/compact": `{"model":"m","input":"x"}`,
		} {
			if res, got := d.call("POST", "/v1/"+path, body); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %d %s", path, res.StatusCode, got)
			}
		}
		if len(m.asked) > 0 || len(heard) > 0 {
			t.Errorf("called %v, metered %d", m.asked, len(heard))
		}
	}
}

func TestAClientThatGoesEndsTheCall(t *testing.T) {
	m := &scripted{ended: make(chan error, 1)}
	d, heard := gateway(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", d.url+"/v1/chat/completions", strings.NewReader(chatHi+`,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	cancel()
	select {
	case err := <-m.ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended by %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream call goes on")
	}
	if c := <-heard; c.Outcome != OutcomeGone {
		t.Errorf("metered %+v", c)
	}
}

func TestASilentUpstreamIsCutOff(t *testing.T) {
	m := &scripted{ended: make(chan error, 1)}
	d, heard := gateway(t, m, func(c *Config) { c.ModelIdleTimeout = 20 * time.Millisecond })
	res, got := d.call("POST", "/v1/responses", `{"model":"m","store":false,"input":"x"}`)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got, model.CodeTimeout) {
		t.Errorf("%d %s", res.StatusCode, got)
	}
	if c := <-heard; c.Outcome != model.CodeTimeout {
		t.Errorf("metered %+v", c)
	}
}

func TestObserverReadsUsageHoweverItIsCut(t *testing.T) {
	const line = "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":5,\"input_tokens_details\":{\"cached_tokens\":1},\"output_tokens\":6,\"output_tokens_details\":{\"reasoning_tokens\":2}}}}\r\n\r\n"
	want := stead.Usage{InputTokens: 5, CachedTokens: 1, OutputTokens: 6, ReasoningTokens: 2}
	for size := 1; size < len(line); size++ {
		o := observer{stream: true}
		for b := "data: {\"usage\":null}\n\n" + line; b != ""; {
			n := min(size, len(b))
			o.write([]byte(b[:n]))
			b = b[n:]
		}
		if u := o.end(); u == nil || *u != want {
			t.Fatalf("in pieces of %d: %+v", size, u)
		}
	}
	o := observer{stream: true}
	o.write([]byte("data: " + strings.Repeat("x", MaxObserved+1)))
	o.write([]byte("\n" + line))
	if u := o.end(); u == nil || *u != want || cap(o.rest) > MaxObserved {
		t.Errorf("behind a line that is too long: %+v", u)
	}
}
