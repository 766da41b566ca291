package model_test

import (
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// What the upstream told counts, and a guess fills in what is missing; of an answer that is not whole its figure is of
// an earlier moment, and the greater one counts.
func TestUsed(t *testing.T) {
	u := func(in, out int64) stead.Usage { return stead.Usage{InputTokens: in, OutputTokens: out} }
	told := func(in, out int64) *stead.Usage { v := u(in, out); return &v }
	for _, c := range []struct {
		told    *stead.Usage
		whole   bool
		want    stead.Usage
		guessed bool
	}{
		{nil, true, u(5, 7), true}, {nil, false, u(5, 7), true}, {told(100, 3), true, u(100, 3), false}, {told(100, 3), false, u(100, 7), true},
		{told(100, 30), false, u(100, 30), false}, {told(0, 3), true, u(5, 3), true}, {told(100, 0), true, u(100, 7), true}, {told(0, 0), false, u(5, 7), true},
	} {
		if got, guessed := model.Used(c.told, u(5, 7), c.whole); got != c.want || guessed != c.guessed {
			t.Errorf("told %+v, whole %t: %+v %t, want %+v %t", c.told, c.whole, got, guessed, c.want, c.guessed)
		}
	}
}

// A call is charged from the moment that an upstream has it, unless that refuses it; of several attempts the one that
// stands for the call says so.
func TestTally(t *testing.T) {
	call := &model.Tally{}
	ctx := model.WithTally(t.Context(), call)
	_, first := model.Attempt(ctx)
	first.Sent()
	if told, charged := call.Used(); told != nil || !charged {
		t.Errorf("sent: %v %t", told, charged)
	}
	first.Refused()
	if _, charged := call.Used(); charged {
		t.Error("a call that was refused is charged")
	}
	_, second := model.Attempt(ctx)
	first.Sent()
	if _, charged := call.Used(); charged {
		t.Error("the attempt before stands for the call")
	}
	second.Told(stead.Usage{InputTokens: 9, CachedTokens: 99})
	if told, _ := call.Used(); told == nil || *told != (stead.Usage{InputTokens: 9, CachedTokens: 9}) {
		t.Errorf("told %+v", told)
	}
	var none *model.Tally
	none.Sent()
	none.Follow(first)
	if _, charged := none.Used(); charged || model.TallyOf(t.Context()) != nil {
		t.Error("a tally that nobody asked for")
	}
}

// An answer's bytes are counted once, whether they come in pieces, whole or both.
func TestSaid(t *testing.T) {
	item := &stead.Item{Type: stead.ItemMessage, Content: stead.TextContent(stead.ContentOutputText, "hello you")}
	var s model.Said
	s.Delta(model.Delta{Kind: model.TextDelta, Text: "hello"})
	s.Delta(model.Delta{Kind: model.ItemDone, Item: item})
	s.Delta(model.Delta{Kind: model.ItemDone, Item: &stead.Item{Type: stead.ItemFunctionCall, Arguments: []byte(`{"a":1}`)}})
	if s.Bytes() != 9+7 {
		t.Errorf("%d bytes", s.Bytes())
	}
}
