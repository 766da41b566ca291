package trace_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
	"github.com/stead-dev/stead/internal/trace"
)

// viewOf folds a journal.
func viewOf(t *testing.T, events []stead.Event) *session.View {
	t.Helper()
	v := session.NewView(sessiontest.Key)
	for _, e := range events {
		if err := v.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// all are the spans of all root turns, by the turn.
func all(t *testing.T, events []stead.Event) map[string][]trace.Span {
	t.Helper()
	v, read := viewOf(t, events), sessiontest.Reader(events)
	turns, err := session.ListTurns(v, read, session.PageQuery{Limit: stead.MaxPageSize})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]trace.Span{}
	for _, turn := range turns.Data {
		_, begin, _, _ := stead.ParseDerivedID(sessiontest.Key.Session, turn.ID)
		spans, err := trace.Spans(v, read, begin)
		if err != nil {
			t.Fatal(err)
		}
		out[turn.ID] = spans
	}
	return out
}

func journals(t *testing.T, check func(t *testing.T, events []stead.Event)) {
	for seed := range uint64(12) {
		for name, g := range map[string]*sessiontest.Gen{"": sessiontest.Journal(seed, 250), "with subagents": sessiontest.Subagents(seed, 350)} {
			check(t, g.Events)
			if t.Failed() {
				t.Fatalf("seed %d %s", seed, name)
			}
		}
	}
}

// TestSpansOfAnyJournal: every span ends not before it starts, its parent is there once the turn has ended and began not after it, and
// no two have an id.
func TestSpansOfAnyJournal(t *testing.T) {
	kinds := map[string]bool{}
	journals(t, func(t *testing.T, events []stead.Event) {
		ids := map[string]bool{}
		v := viewOf(t, events)
		for turn, spans := range all(t, events) {
			_, begin, _, _ := stead.ParseDerivedID(sessiontest.Key.Session, turn)
			if began, ended, done, err := trace.Begun(v, events, begin); err != nil || done && began != ended {
				t.Errorf("%s: %d spans began, and %d ended, %v", turn, began, ended, err)
			}
			byID := map[string]trace.Span{}
			for _, s := range spans {
				if s.End < s.Start || ids[s.SpanID] || len(s.SpanID) != 16 || len(s.TraceID) != 32 || s.TraceID != spans[0].TraceID {
					t.Errorf("span %+v of %s", s, turn)
				}
				ids[s.SpanID], byID[s.SpanID] = true, s
				op := s.Attribute("gen_ai.operation.name").Text()
				kinds[op+s.Attribute("stead.wait.for").Text()] = true
				for _, e := range s.Events {
					if e.At < s.Start || e.At > s.End {
						t.Errorf("event %+v of %+v", e, s)
					}
				}
			}
			root := trace.Span{}
			for _, s := range spans {
				if s.Parent == "" {
					root = s
				}
			}
			if root.SpanID == "" {
				continue // it runs
			}
			if root.SpanID != spans[len(spans)-1].SpanID {
				t.Errorf("%s: the turn's span is not the last", turn)
			}
			for _, s := range spans {
				parent, ok := byID[s.Parent]
				if s.Parent != "" && (!ok || parent.Start > s.Start) || s.Start < root.Start || s.End > root.End {
					t.Errorf("span %+v, below %+v of %+v", s, parent, root)
				}
			}
		}
	})
	for _, want := range []string{"invoke_agent", "chat", "execute_tool", "search_memory", "function_call", "mcp_approval_request", "outcome_unknown", "effect_approval"} {
		if !kinds[want] {
			t.Errorf("no journal has a span of %s: %v", want, kinds)
		}
	}
}

// TestALongerJournalExtendsTraces: what a prefix of a journal gives stands at the beginning of what the whole gives.
func TestALongerJournalExtendsTraces(t *testing.T) {
	journals(t, func(t *testing.T, events []stead.Event) {
		whole := all(t, events)
		for n := 1; n < len(events); n += 61 {
			for turn, spans := range all(t, events[:n]) {
				if len(spans) > len(whole[turn]) || len(spans) > 0 && !reflect.DeepEqual(spans, whole[turn][:len(spans)]) {
					t.Fatalf("after %d events %s has\n%+v\nand of all\n%+v", n, turn, spans, whole[turn])
				}
			}
		}
	})
}

// TestPagesAreStable: the same journal gives the same bytes, and pages of any size the same list.
func TestPagesAreStable(t *testing.T) {
	for seed := range uint64(10) {
		events := sessiontest.Subagents(seed, 350).Events
		v, read := viewOf(t, events), sessiontest.Reader(events)
		for _, desc := range []bool{false, true} {
			list := func(limit int) (out []trace.Trace) {
				q := session.PageQuery{Limit: limit, Desc: desc}
				for more := true; more; {
					page, err := trace.List(v, read, q)
					if err != nil {
						t.Fatal(err)
					}
					out, more = append(out, page.Data...), page.HasMore
					if len(page.Data) == 0 && more {
						t.Fatal("an empty page that is not the last")
					}
					if more {
						q.After = out[len(out)-1].ID
					}
				}
				return out
			}
			one, many := list(1), list(100)
			if !reflect.DeepEqual(one, many) || len(many) == 0 {
				t.Fatalf("seed %d: pages of one give %d traces, a page of all gives %d", seed, len(one), len(many))
			}
			for _, tr := range many {
				checkOTLP(t, tr.OTLP)
			}
		}
	}
}

// TestTracesHoldNoText: nothing that somebody said, or a tool was given or returned, is in a trace.
func TestTracesHoldNoText(t *testing.T) {
	journals(t, func(t *testing.T, events []stead.Event) {
		v, read := viewOf(t, events), sessiontest.Reader(events)
		page, err := trace.List(v, read, session.PageQuery{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		data, _ := json.Marshal(page.Data)
		for _, e := range events {
			for _, said := range textsOf(t, e.Data) {
				if len(said) > 12 && bytes.Contains(data, []byte(said)) {
					t.Fatalf("%q of event %d (%s) is in a trace", said, e.Seq, e.Kind)
				}
			}
		}
	})
}

// textsOf are the values of an event's fields that hold texts.
func textsOf(t *testing.T, data json.RawMessage) (out []string) {
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(k, x)
			}
		case []any:
			for _, x := range v {
				walk(key, x)
			}
		case string:
			switch key {
			case "text", "arguments", "output", "error", "reason", "message", "task", "content", "instructions":
				out = append(out, v)
			}
		}
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	walk("", v)
	return out
}
