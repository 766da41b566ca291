package capacity

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// passes is a provider that passes calls on, and generates nothing.
type passes struct{ model.Model }

func (passes) Forward(context.Context, model.Forward) (*model.Answer, error) {
	return &model.Answer{Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

// A call that is passed on is counted by what its answer said that it used, as one that is translated is, and a pool
// learns from it what the next ones will use.
func TestForwardedCallsAreSettledByWhatTheyUsed(t *testing.T) {
	pool := New(Config{Name: "p", TokensPerMinute: 6000}, nil)
	m := Limit(passes{}, func(string) *Pool { return pool }).(model.Forwarder)
	call := func(most int64, used *stead.Usage) {
		t.Helper()
		answer, err := m.Forward(t.Context(), model.Forward{Dialect: model.DialectChat, Body: []byte("{}"), MostOutput: most})
		if err != nil {
			t.Fatal(err)
		}
		answer.Used = used
		_ = answer.Body.Close()
	}
	call(10, &stead.Usage{InputTokens: 50_000, OutputTokens: 50_000})
	if got := pool.Status().Projects[0].Tokens; got != 100_000 {
		t.Errorf("counted %d tokens, want 100000", got)
	}
	if level := pool.pool.tokens.level; level > -99_000 {
		t.Errorf("the bucket stands at %v: what was used is no debt", level)
	}
	if likely := pool.pool.likely(10); likely < 1000 {
		t.Errorf("the next call of 10 tokens is taken for %d", likely)
	}
	unknown := New(Config{Name: "p"}, nil)
	m = Limit(passes{}, func(string) *Pool { return unknown }).(model.Forwarder)
	call(300, nil)
	if got := unknown.Status().Projects[0].Tokens; got != 300 {
		t.Errorf("an answer that says nothing counts %d tokens, want its estimate of 300", got)
	}
}
