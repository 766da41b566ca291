package openai

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stead-dev/stead/internal/model"
)

// named is a provider that answers each call with a text and keeps what it was asked.
func named(t *testing.T, name, answer string) (*Provider, *string) {
	t.Helper()
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // what is missing is seen
		asked = string(b)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	p, err := New(Config{Name: name, BaseURL: srv.URL, APIKey: "key-of-" + name})
	if err != nil {
		t.Fatal(err)
	}
	return p, &asked
}

// What a provider has encrypted goes back to it as it gave it, and to no other one.
func TestWhatIsEncryptedGoesToItsMakerAlone(t *testing.T) {
	const answer = "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"reasoning\",\"id\":\"rs_1\",\"encrypted_content\":\"gAAA\"}}\n\n" +
		"data: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"encrypted_content\\\":\\\"x\\\"\"}\n\n" +
		"data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"encrypted_content\" : \"gAAA\"},{\"encrypted_content\":null}]}}\n\n"
	const marked = "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"reasoning\",\"id\":\"rs_1\",\"encrypted_content\":\"stead.a:.gAAA\"}}\n\n" +
		"data: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"encrypted_content\\\":\\\"x\\\"\"}\n\n" +
		"data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"encrypted_content\" : \"stead.a:.gAAA\"},{\"encrypted_content\":null}]}}\n\n"
	a, askedA := named(t, "a", answer)
	b, askedB := named(t, "b", answer)
	forward := func(p *Provider, input string, f model.Forward) (string, *model.Error) {
		t.Helper()
		f.Dialect, f.Model, f.Body = model.DialectResponses, "m", []byte(`{"model":"x","input":`+input+`,"store":false}`)
		got, err := p.Forward(context.Background(), f)
		if err != nil {
			e, ok := err.(*model.Error)
			if !ok {
				t.Fatal(err)
			}
			return "", e
		}
		defer got.Body.Close()
		text, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text), nil
	}
	if got, _ := forward(a, `"hi"`, model.Forward{Makers: true}); got != marked {
		t.Errorf("marked: %s", got)
	}
	if got, _ := forward(a, `"hi"`, model.Forward{}); got != answer {
		t.Errorf("of a model with one provider: %s", got)
	}

	const say = `{"role":"user","content":"go on"}`
	reasoning := func(content string) string {
		return `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"` + content + `"}`
	}
	for _, test := range []struct {
		p     *Provider
		asked *string
		item  string
		again bool
		want  string // the item as it goes out; "": not at all
	}{
		{a, askedA, reasoning("stead.a:.gAAA"), false, reasoning("gAAA")},
		{a, askedA, reasoning("stead.a:rs_1.gAAA"), true, reasoning("gAAA")}, // of a translated response
		{b, askedB, reasoning("stead.a:.gAAA"), false, ""},
		{b, askedB, reasoning("stead.a:.gAAA"), true, ""},
		{a, askedA, reasoning("stead.chat:details.[]"), false, ""},
		{a, askedA, reasoning("gAAA"), false, reasoning("gAAA")},
		{b, askedB, reasoning("gAAA"), true, ""},
		{b, askedB, `{"type":"message","role":"user","content":"\"encrypted_content\":\"stead.a:.x\""}`, true, `{"type":"message","role":"user","content":"\"encrypted_content\":\"stead.a:.x\""}`},
		{a, askedA, `{"type":"compaction","encrypted_content":"stead.a:.gAAA"}`, false, `{"type":"compaction","encrypted_content":"gAAA"}`},
	} {
		if _, err := forward(test.p, `[`+test.item+`,`+say+`]`, model.Forward{Makers: true, Again: test.again}); err != nil {
			t.Errorf("%s: %v", test.item, err)
		}
		want := `"input":[` + strings.TrimPrefix(test.want+`,`, ",") + say + `]`
		if !strings.Contains(*test.asked, want) {
			t.Errorf("%s goes out as\n%s\nwant\n%s", test.item, *test.asked, want)
		}
	}
	if _, err := forward(b, `[{"type":"compaction","encrypted_content":"stead.a:.gAAA"}]`, model.Forward{}); err == nil || err.Code != model.CodeInvalid || err.Param != "input[0].encrypted_content" {
		t.Errorf("a compaction of another provider: %+v", err)
	}
}

func TestMarksHoweverTheAnswerIsCut(t *testing.T) {
	p, _ := named(t, "a", "")
	text := `{"encrypted_content"` + "\n : " + `"x","encrypted_content":"","a":"encrypted_content","encrypted_content":{"y":1},"encrypted_content`
	want := `{"encrypted_content"` + "\n : " + `"stead.a:.x","encrypted_content":"stead.a:.","a":"encrypted_content","encrypted_content":{"y":1},"encrypted_content`
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "bytes": iotest.OneByteReader(strings.NewReader(text)), "end with data": iotest.DataErrReader(strings.NewReader(text))} {
		var got bytes.Buffer
		if _, err := got.ReadFrom(p.mark(io.NopCloser(r))); err != nil || got.String() != want {
			t.Errorf("%s: %v\n%s\n%s", name, err, got.String(), want)
		}
	}
}
