package session_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
)

var update = flag.Bool("update", false, "write what happens into testdata/spec")

// TestSpec runs the tables of testdata/spec. A line that begins in the first column is an event, or
// a question; the indented lines after it are what the core then says. "#" begins a comment,
// "=== title" a new session. The nth event happens n seconds after 0.
//
//	new [max_steps=N] [limit=CENTS] [window=TOKENS] [compact=async]
//	user TEXT [| TEXT]           pause   resume   cancel   fail
//	next                         the intents of what comes next, as a runner writes them
//	stream [r]INDEX[.PART] TEXT  streamed text (r: of a reasoning summary)
//	reply [finish=F] [cost=CENTS] [in=TOKENS] ITEM; ITEM …    say T | think T | rest T | call ID [async] | mcp ID EFFECT [approval] | reject ID
//	modelfail CODE [MS]          compacted TEXT   compactfail CODE
//	returned ID TEXT   toolfail ID TEXT   lost ID sent|unsent [MS]   recover   timer MS
//	result ID TEXT   refuse ID TEXT   approve ID   deny ID   stop ID   happened ID [TEXT]   nothappened ID   giveup ID
//	reached BUDGET MS   budget approve [calls N] | deny | cancel | changed [late]   over   a budget is used up, and what is said to it
//	needs CONSENT [ID]   consent CONSENT given | again | refused | deny | cancel   a tool server wants its user's consent
//	context   actions   wire     what the model sees; who must act; the stream since the last "wire"
func TestSpec(t *testing.T) {
	files, err := filepath.Glob("testdata/spec/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runSpec(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			diff(t, file, strings.Split(got, "\n"), strings.Split(string(want), "\n"))
		})
	}
}

func runSpec(t *testing.T, text string) string {
	var out bytes.Buffer
	var s *spec
	for n, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(l, " "):
			continue
		case l == "", strings.HasPrefix(l, "#"), strings.HasPrefix(l, "==="):
			fmt.Fprintln(&out, l)
			continue
		}
		fmt.Fprintln(&out, l)
		name, rest, _ := strings.Cut(l, " ")
		if name == "new" {
			s = newSpec(t, rest)
		} else if !s.do(name, rest) {
			t.Fatalf("line %d: unknown word %q", n+1, name)
		}
		for _, o := range s.out {
			fmt.Fprintln(&out, strings.TrimRight("  "+strings.ReplaceAll(o, "\n", " / "), " "))
		}
		s.out = nil
	}
	return out.String()
}

// spec is one session of a table.
type spec struct {
	t      *testing.T
	state  *session.State
	proj   *session.Projector
	window session.Window
	wire   []string
	out    []string
}

var specKey = stead.SessionKey{Project: "default", Session: "sess_s"}

// option finds key=value in words and takes it out.
func option(words *[]string, key string) (string, bool) {
	for i, w := range *words {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			*words = slices.Delete(*words, i, i+1)
			return v, true
		}
	}
	return "", false
}

func (s *spec) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func newSpec(t *testing.T, rest string) *spec {
	texts := func(x stead.Text) string { return x.Inline }
	s := &spec{t: t, state: session.NewState(specKey), proj: session.NewProjector(session.NewView(specKey), stead.Cursor{}, texts)}
	words := strings.Fields(rest)
	c := session.Created{Agent: session.AgentPin{ID: "agent_a", Spec: agent.Spec{Model: "sim"}}, Environment: []byte(`{"type":"none"}`)}
	if v, ok := option(&words, "max_steps"); ok {
		c.Agent.Spec.MaxSteps = int(s.number(v))
	}
	if v, ok := option(&words, "limit"); ok {
		cents := s.number(v)
		c.SpendLimitCents = &cents
	}
	if v, ok := option(&words, "window"); ok {
		s.window.ContextTokens = int(s.number(v))
	}
	_, c.Agent.Spec.Compaction.Async = option(&words, "compact")
	s.withEnvironment(&c, &words)
	s.event(session.KindSessionCreated, c)
	s.says("")
	return s
}

// event applies an event to the state and to the stream.
func (s *spec) event(kind string, payload any) {
	s.t.Helper()
	seq := s.state.Tail + 1
	e, err := session.NewEvent(int64(seq)*1000, kind, payload)
	if err != nil {
		s.t.Fatal(err)
	}
	e.Seq = seq
	if err := s.state.Apply(e); err != nil {
		s.t.Fatal(err)
	}
	evs, err := s.proj.Step(e)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, ev := range evs {
		s.wire = append(s.wire, ev.Cursor.String()+" "+wireLine(s.t, ev))
	}
}

// says tells the status and what comes next.
func (s *spec) says(prefix string) {
	var next []string
	for _, c := range s.state.Next(s.window) {
		next = append(next, commandLine(c))
	}
	line := fmt.Sprintf("%d %s%s", s.state.Tail, prefix, s.state.Status())
	if len(next) > 0 {
		line += " -> " + strings.Join(next, ", ")
	}
	s.out = append(s.out, line)
}

func commandLine(c session.Command) string {
	switch c := c.(type) {
	case session.StartTurn:
		return "start turn"
	case session.CallModel:
		return fmt.Sprint("call model, try ", c.Attempt)
	case session.CompactContext:
		return fmt.Sprint("compact up to ", c.Upto)
	case session.CallTool:
		return fmt.Sprintf("call tool %s, try %d, key %s", c.Call.CallID, c.Call.Attempts+1, c.Call.Key(specKey.Session))
	case session.EndTurn:
		if c.Error != nil {
			return c.Kind + " (" + c.Error.Code + ")"
		}
		return c.Kind
	case session.LapseConsent:
		return "lapse consent " + c.Consent
	case session.WaitUntil:
		return fmt.Sprint("wait until ", c.At)
	case session.EnvironmentAction:
		line := fmt.Sprintf("%s the environment, try %d", c.Action, c.Attempt)
		if c.Publish {
			line += ", and publish"
		}
		if c.Store {
			line += ", to store it"
		}
		return line
	}
	return fmt.Sprintf("%T", c)
}

func contentLine(content []stead.Content) string {
	var parts []string
	for _, c := range content {
		parts = append(parts, c.Text.Inline)
	}
	return strings.Join(parts, " ")
}

// context says what the model would see now.
func (s *spec) context() {
	for _, it := range s.state.Context.Items(0) {
		line := string(it.Type)
		switch it.Type {
		case stead.ItemMessage:
			line = it.Role + ": " + contentLine(it.Content)
		case stead.ItemReasoning:
			line = "reasoning: " + it.Summary[0].Inline
		case stead.ItemFunctionCall:
			line = "call " + it.CallID
		case stead.ItemFunctionCallOutput:
			line = "output " + it.CallID + ": " + contentLine(it.Output)
			if it.Error != "" {
				line += "error " + it.Error
			}
		}
		s.out = append(s.out, line)
	}
	for _, en := range s.state.Context.Held {
		s.out = append(s.out, "held: "+contentLine(en.Item.Content)+contentLine(en.Item.Output))
	}
}

// wireLine is the short form of a stream event.
func wireLine(t *testing.T, ev session.StreamEvent) string {
	w := wire(t, ev)
	line := strings.TrimPrefix(strings.TrimPrefix(w.Type, "agent.session."), "turn.")
	if w.Item != nil {
		it := decodeItem(t, w.Item)
		line += " " + it.ID + " " + it.Status
	}
	if w.ItemID != "" {
		line += " " + w.ItemID
	}
	if w.OutputIndex != nil {
		line += fmt.Sprint(" @", *w.OutputIndex)
	}
	if w.Delta+w.Text != "" {
		line += " " + strconv.Quote(w.Delta+w.Text)
	}
	if strings.HasPrefix(w.Type, "agent.session.turn.") && w.Item == nil && w.ItemID == "" {
		return "turn." + line
	}
	return line
}
