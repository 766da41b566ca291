package server

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// sentAway is an upstream that has the call, says what it used so far, and is silent until its client goes.
type sentAway struct {
	told *stead.Usage
	has  chan struct{}
}

func (m sentAway) Generate(ctx context.Context, _ model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		m.wait(ctx)
		yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Message: "cancelled", Err: ctx.Err()})
	}
}

func (m sentAway) wait(ctx context.Context) {
	model.TallyOf(ctx).Sent()
	if m.told != nil {
		model.TallyOf(ctx).Told(*m.told)
	}
	close(m.has)
	<-ctx.Done()
}

// Who leaves before the first word has made a call all the same: with what the provider told until then, else with its
// input as a guess.
func TestACallThatIsLeftCounts(t *testing.T) {
	for name, told := range map[string]*stead.Usage{"told": {InputTokens: 250_000, CachedTokens: 50_000}, "not told": nil} {
		for _, forwarded := range []bool{false, true} {
			up := sentAway{told, make(chan struct{})}
			m := &scripted{Model: up}
			if forwarded {
				m.forward = map[string]func(context.Context, model.Forward) (*model.Answer, error){
					model.DialectChat: func(ctx context.Context, _ model.Forward) (*model.Answer, error) {
						up.wait(ctx)
						return nil, &model.Error{Code: model.CodeConnection, Message: "cancelled", Err: ctx.Err()}
					}}
			}
			d, heard := gateway(t, m)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-up.has; cancel() }()
			req, err := http.NewRequestWithContext(ctx, "POST", d.url+"/v1/chat/completions", strings.NewReader(chatHi+`}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if _, err = http.DefaultClient.Do(req); !errors.Is(err, context.Canceled) {
				t.Fatalf("the call ended by %v", err)
			}
			c := <-heard
			used, guessed := c.Used()
			if c.Outcome != OutcomeGone || !c.Counted() || guessed != (told == nil) || told != nil && used != *told || used.InputTokens == 0 {
				t.Errorf("%s, forwarded %t: %+v %t, %+v", name, forwarded, used, guessed, c)
			}
		}
	}
}

// What an upstream says that can't be its usage is no usage: the call is guessed, by the bytes of its texts where they
// are streamed, however few events they come in.
func TestWhatIsNoUsageIsGuessed(t *testing.T) {
	const head = `{"id":"1","object":"chat.completion","created":1,"model":"up","choices":[]`
	long := strings.Repeat(`word \" `, 400)
	chunk := `data: {"object":"chat.completion.chunk","id":"1","created":1,"model":"up","choices":[{"index":0,"delta":{"content": "` + long + `"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	for name, c := range map[string]struct {
		kind, answer string
		input        int64 // 0: a guess
		output       int64 // at least
	}{
		"null counts": {"application/json", head + `,"usage":{"prompt_tokens":null,"completion_tokens":null,"total_tokens":null}}`, 0, 1},
		"a total":     {"application/json", head + `,"usage":{"total_tokens":15}}`, 0, 1},
		"no output":   {"application/json", head + `,"usage":{"prompt_tokens":1000}}`, 1000, 1},
		"one event":   {mediaStream, chunk, 0, int64(len(long)) / bytesPerToken},
		"less than 0": {"application/json", head + `,"usage":{"prompt_tokens":-5,"completion_tokens":5}}`, 0, 1},
	} {
		m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectChat: says(c.kind, c.answer)}}
		d, heard := gateway(t, m)
		res, err := http.Post(d.url+"/v1/chat/completions", "application/json", strings.NewReader(chatHi+`}`))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		got := <-heard
		used, guessed := got.Used()
		if !guessed || used.OutputTokens < c.output || used.OutputTokens > c.output+60 || used.InputTokens == 0 || c.input > 0 && used.InputTokens != c.input {
			t.Errorf("%s: %+v, guessed %t", name, used, guessed)
		}
	}
}

func TestTextsAreCountedHoweverTheyAreCut(t *testing.T) {
	const stream = `data: {"choices":[{"delta":{"content":"a \\\" b"}}]}` + "\n\n" + `data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]}}]}` + "\n\n"
	for size := 20; size < len(stream); size++ { // a member's name that is cut in its middle is missed
		o := observer{stream: true}
		o.write([]byte(stream[:size]))
		o.write([]byte(stream[size:]))
		if o.texts > 10 || o.texts < 2 {
			t.Errorf("cut at %d: %d bytes", size, o.texts)
		}
	}
	o := observer{stream: true}
	o.write([]byte(stream))
	if o.texts != 10 {
		t.Errorf("%d bytes", o.texts)
	}
}

// What a line has in common with the one before is not looked at again, and what it has of its own always is.
func TestALineIsReadForWhatItHasOfItsOwn(t *testing.T) {
	const head = `data: {"choices":[{"delta":{"content":"`
	const plain = head + `word"},"finish_reason":null}],"usage":null}` + "\n\n"
	for _, test := range []struct {
		last string
		says func(o *observer) bool // nil: nothing
	}{
		{head + `words"},"finish_reason":null}],"usage":null}`, nil},
		{head + `\"usage\":1"},"finish_reason":null}],"usage":null}`, nil},
		{head + `x"},"finish_reason":"length"}],"usage":null}`, func(o *observer) bool { return o.ended && o.finish == model.FinishLength }},
		{head + `word"},"finish_reason":null}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`, func(o *observer) bool { return o.usage != nil }},
		{head + `","refusal":"no"},"finish_reason":null}]}`, func(o *observer) bool { return o.finish == model.FinishRefusal }},
		{head + `"}}],"error":{"message":"busy"}}`, func(o *observer) bool { return o.failed != nil }},
		{`data: {"usage":{"prompt_tokens":1,"completion_tokens":2},"choices":[{"delta":{"content":"word"}}]}`, func(o *observer) bool { return o.usage != nil }},
		{`data: [DONE]`, func(o *observer) bool { return o.ended }},
	} {
		for cut := range len(test.last) {
			o := observer{stream: true, door: model.DialectChat}
			if !o.write([]byte(plain+plain)) || o.texts != 2*int64(len("word")) {
				t.Fatalf("%+v", o)
			}
			o.write([]byte(test.last[:cut]))
			o.write([]byte(test.last[cut:] + "\n\n"))
			if silent := !o.ended && o.usage == nil && o.failed == nil && o.finish == ""; test.says == nil && !silent || test.says != nil && !test.says(&o) {
				t.Fatalf("cut at %d: %s: %+v", cut, test.last, o)
			}
		}
	}
}
