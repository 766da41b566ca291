// Package modeltest is the suite that every model.Model passes, and the checks of a stream that
// their own tests use.
//
// Shape: for each case the suite hands a Script to the adapter's factory, which makes a model whose
// upstream does what the script says, over real HTTP and in the upstream's own wire format.
//
//	Suite ──Script──▶ factory: httptest server + model ──▶ Generate ──▶ checks
//	                     └── Received(body), Gone() ──────────────────────▲
//
// The user message of every case asks for the same in the language of package sim, so that it can
// run the suite as well. What a provider's wire cannot express, its test says with Skips.
package modeltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Script is what the upstream of one case does.
type Script struct {
	Case string

	Pieces []string     // the texts of the message or the reasoning summary, streamed piece by piece
	Items  []stead.Item // the whole answer, in order
	Finish model.Finish
	Usage  *stead.Usage // nil: the upstream does not say
	Tier   string       // the service tier that it says it served; "": it does not say

	Sealed string   // what comes with the reasoning and must go back, in base64; "": nothing
	Words  []string // set by the factory: how its wire words the case's wish, as compact JSON

	Failure *Failure // answers with this instead, or after Items when it is MidStream
	Cut     bool     // ends the stream after Items, without saying that it is done
	Hang    bool     // says nothing more after Items until the client goes

	mu     sync.Mutex
	bodies []string
	path   string // of the last request
	gone   chan struct{}
	once   sync.Once
}

// Failure is an upstream's error. Code is model's code for it: the factory writes its own wire's.
type Failure struct {
	Status     int
	Code       string
	RetryAfter time.Duration
	MidStream  bool
}

// Received tells the suite of a request's body.
func (s *Script) Received(body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, string(body))
}

// Body is the first request's.
func (s *Script) Body() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bodies) == 0 {
		return ""
	}
	return s.bodies[0]
}

// Gone tells the suite that the upstream has seen the client go.
func (s *Script) Gone() { s.once.Do(func() { close(s.gone) }) }

// Reply is a whole stream, gathered.
type Reply struct {
	Deltas []model.Delta
	Items  []stead.Item
	Text   string // of all messages
	Done   model.Delta
	Pieces int // text and reasoning deltas
}

// Gather drains a stream and checks what every stream must keep. The error is the stream's own.
func Gather(t testing.TB, ctx context.Context, m model.Model, req model.Request) (Reply, error) {
	t.Helper()
	var r Reply
	g := gathering{t: t, texts: map[int]*strings.Builder{}, parts: map[int][]string{}, no: map[int]bool{}, closed: map[int]bool{}, calls: map[string]bool{}}
	for d, err := range m.Generate(ctx, req) {
		if err != nil {
			if _, ok := errors.AsType[*model.Error](err); !ok {
				t.Errorf("the stream's error is a %T, not a *model.Error: %v", err, err)
			}
			return r, err
		}
		if r.Done.Kind == model.Done {
			t.Errorf("%+v comes after Done", d)
		}
		r.Deltas = append(r.Deltas, d)
		switch d.Kind {
		case model.TextDelta, model.ReasoningDelta:
			g.piece(d)
			r.Pieces++
		case model.ItemDone:
			g.item(d)
			r.Items = append(r.Items, *d.Item)
			if d.Item.Type == stead.ItemMessage {
				r.Text += text(*d.Item)
			}
		case model.Done:
			r.Done = d
		default:
			t.Errorf("a delta of unknown kind: %+v", d)
		}
	}
	if r.Done.Kind != model.Done {
		t.Error("the stream ends without Done and without an error")
	}
	for i := range g.next {
		if !g.closed[i] {
			t.Errorf("item %d was never finished", i)
		}
	}
	return r, nil
}

type gathering struct {
	t      testing.TB
	next   int // the next output index
	texts  map[int]*strings.Builder
	parts  map[int][]string
	no     map[int]bool // messages that refuse
	closed map[int]bool
	calls  map[string]bool // call ids
}

func (g *gathering) place(d model.Delta) {
	g.t.Helper()
	if d.Index > g.next || d.Index < 0 {
		g.t.Errorf("index %d leaves a gap after %d", d.Index, g.next-1)
	}
	if g.closed[d.Index] {
		g.t.Errorf("%+v comes after the end of its item", d)
	}
	if before := d.Index - 1; before >= 0 && !g.closed[before] {
		g.t.Errorf("%+v comes before the end of item %d", d, before)
	}
	g.next = max(g.next, d.Index+1)
}

func (g *gathering) piece(d model.Delta) {
	g.t.Helper()
	g.place(d)
	if d.Text == "" {
		g.t.Errorf("an empty delta: %+v", d)
	}
	if d.Kind == model.TextDelta {
		if g.texts[d.Index] == nil {
			g.texts[d.Index], g.no[d.Index] = &strings.Builder{}, d.Refusal
		}
		if g.no[d.Index] != d.Refusal {
			g.t.Errorf("%+v: a message is a refusal as a whole or not at all", d)
		}
		g.texts[d.Index].WriteString(d.Text)
		return
	}
	parts := g.parts[d.Index]
	if d.Part > len(parts) || d.Part < 0 {
		g.t.Errorf("part %d leaves a gap after %d", d.Part, len(parts)-1)
		return
	}
	if d.Part == len(parts) {
		parts = append(parts, "")
	}
	parts[d.Part] += d.Text
	g.parts[d.Index] = parts
}

func (g *gathering) item(d model.Delta) {
	g.t.Helper()
	g.place(d)
	g.closed[d.Index] = true
	if d.Item == nil {
		g.t.Error("ItemDone without its item")
		return
	}
	switch it := d.Item; it.Type {
	case stead.ItemMessage:
		streamed := ""
		if b := g.texts[d.Index]; b != nil {
			streamed = b.String()
		}
		if it.Role != stead.RoleAssistant || text(*it) != streamed {
			g.t.Errorf("message %+v is not the sum of its deltas %q", *it, streamed)
		}
		if refuses := stead.Refuses(it.Content); refuses != g.no[d.Index] {
			g.t.Errorf("message %+v: refuses %t, its deltas %t", *it, refuses, g.no[d.Index])
		}
	case stead.ItemReasoning:
		if len(it.Summary) != len(g.parts[d.Index]) {
			g.t.Errorf("reasoning %+v has not the parts %q", *it, g.parts[d.Index])
			return
		}
		for i, s := range it.Summary {
			if s.Inline != g.parts[d.Index][i] {
				g.t.Errorf("summary %q is not the sum of its deltas %q", s.Inline, g.parts[d.Index][i])
			}
		}
	case stead.ItemFunctionCall:
		if it.CallID == "" || g.calls[it.CallID] {
			g.t.Errorf("call id %q is empty or repeats", it.CallID)
		}
		g.calls[it.CallID] = true
		if it.Name == "" || !validArguments(it.Arguments) {
			g.t.Errorf("call of %q with %s", it.Name, it.Arguments)
		}
	default:
		g.t.Errorf("a model does not make items of type %q", it.Type)
	}
}

// validArguments are a JSON object, or a JSON string of what the model garbled.
func validArguments(raw json.RawMessage) bool {
	return json.Valid(raw) && (raw[0] == '{' || raw[0] == '"')
}

func text(it stead.Item) string {
	var b strings.Builder
	for _, c := range it.Content {
		b.WriteString(c.Text.Inline)
	}
	return b.String()
}

// User is a user's message.
func User(s string) stead.Item {
	return stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Status: stead.ItemCompleted,
		Content: stead.TextContent(stead.ContentInputText, s)}
}

// Message is the model's message.
func Message(s string) stead.Item {
	return stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Status: stead.ItemCompleted,
		Content: stead.TextContent(stead.ContentOutputText, s)}
}

// Refusal is the model's message that it will not answer.
func Refusal(s string) stead.Item {
	it := Message(s)
	it.Content[0].Type = stead.ContentRefusal
	return it
}

// Call is the model's call of a tool.
func Call(id, name, args string) stead.Item {
	return stead.Item{Type: stead.ItemFunctionCall, Status: stead.ItemCompleted, CallID: id, Name: name,
		Arguments: json.RawMessage(args)}
}

// Output is a tool's answer.
func Output(id string, content ...stead.Content) stead.Item {
	return stead.Item{Type: stead.ItemFunctionCallOutput, Status: stead.ItemCompleted, CallID: id, Output: content}
}

// Text and Image are parts of a message or an output.
func Text(s string) stead.Content {
	return stead.Content{Type: stead.ContentInputText, Text: stead.NewText(s)}
}

// Image is an image by its URL.
func Image(url string) stead.Content {
	return stead.Content{Type: stead.ContentInputImage, Text: stead.NewText(url)}
}

// File is a document, by its data: or https: URL.
func File(name, url string) stead.Content {
	return stead.Content{Type: stead.ContentInputFile, Name: name, Text: stead.NewText(url)}
}

// Line writes a delta or an error as one line, for golden files.
func Line(d model.Delta, err error) string {
	if err != nil {
		e, ok := errors.AsType[*model.Error](err)
		if !ok {
			return fmt.Sprintf("error %T", err)
		}
		return fmt.Sprintf("error %s status=%d retry=%t after=%v %q", e.Code, e.Status, e.Retry, e.RetryAfter, e.Message)
	}
	switch d.Kind {
	case model.TextDelta:
		if d.Refusal {
			return fmt.Sprintf("refusal %d %q", d.Index, d.Text)
		}
		return fmt.Sprintf("text %d %q", d.Index, d.Text)
	case model.ReasoningDelta:
		return fmt.Sprintf("reasoning %d.%d %q", d.Index, d.Part, d.Text)
	case model.ItemDone:
		b, _ := json.Marshal(d.Item) // an item always marshals
		return fmt.Sprintf("item %d %s", d.Index, b)
	}
	usage := "none"
	if d.Usage != nil {
		b, _ := json.Marshal(d.Usage)
		usage = string(b)
	}
	return fmt.Sprintf("done %s %s %q", d.Finish, usage, d.Model)
}
