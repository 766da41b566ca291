package anthropic_test

import (
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

// What a message's start says of the input is known when the stream breaks off, or its client goes, before any text.
func TestTheInputIsKnownBeforeTheFirstWord(t *testing.T) {
	for _, s := range []*modeltest.Script{{Cut: true}, {Failure: &modeltest.Failure{MidStream: true, Code: model.CodeOverloaded}}} {
		s.Usage = &stead.Usage{InputTokens: 100, CachedTokens: 40, OutputTokens: 20}
		tally := &model.Tally{}
		var err error
		m := provider(t, modeltest.Serve(t, s, modeltest.Wire{Events: wire(t, s), Fail: fail}))
		for _, err = range m.Generate(model.WithTally(t.Context(), tally), model.Request{Model: "up-model", Items: []stead.Item{modeltest.User("Hi")}}) {
			if err == nil {
				t.Error("the answer has a word")
			}
		}
		told, charged := tally.Used()
		if err == nil || !charged || told == nil || *told != (stead.Usage{InputTokens: 100, CachedTokens: 40, OutputTokens: 1}) {
			t.Errorf("it ended by %v, and %+v was told", err, told)
		}
	}
}
