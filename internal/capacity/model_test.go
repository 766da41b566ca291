package capacity

import (
	"context"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// echo answers each call, and notes its service tier. It speaks chat completions.
type echo struct{ order []string }

func (e *echo) Generate(_ context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		e.order = append(e.order, req.ServiceTier)
		time.Sleep(time.Second)
		yield(model.Delta{Kind: model.Done}, nil)
	}
}

func (e *echo) Speaks(dialect string) bool { return dialect == model.DialectChat }

func (e *echo) Forward(_ context.Context, req model.Forward) (*model.Answer, error) {
	if !e.Speaks(req.Dialect) {
		return nil, &model.Error{Code: model.CodeDialect}
	}
	e.order = append(e.order, req.Tier)
	time.Sleep(time.Second)
	return &model.Answer{Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

// A call waits by the tier that its body asks for, forwarded or not; and what must be translated waits once, as what
// it is, and not before as a forwarded call that it can't be.
func TestCallsWaitByTheirOwnTier(t *testing.T) {
	calls := map[string]func(m model.Model, tier string){
		"forwarded": func(m model.Model, tier string) {
			a, err := m.(model.Forwarder).Forward(context.Background(), model.Forward{Dialect: model.DialectChat, Tier: tier})
			if err != nil {
				t.Error(err)
				return
			}
			_ = a.Body.Close()
		},
		"translated": func(m model.Model, tier string) {
			_, err := m.(model.Forwarder).Forward(context.Background(), model.Forward{Dialect: model.DialectResponses, Tier: tier})
			if e, _ := err.(*model.Error); e == nil || e.Code != model.CodeDialect {
				t.Error(err)
			}
			for range m.Generate(context.Background(), model.Request{ServiceTier: tier}) {
			}
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &echo{}
				pool := New(Config{Name: "p", Concurrent: 1}, nil)
				m := Limit(e, func(string) *Pool { return pool })
				for _, tier := range []string{"first", "flex", "default", "priority"} {
					go call(m, tier)
					synctest.Wait()
				}
				time.Sleep(10 * time.Second)
				synctest.Wait() // the calls have ended, and what they wrote can be read
				if got := strings.Join(e.order, " "); got != "first priority default flex" {
					t.Errorf("in the order %s", got)
				}
			})
		})
	}
}

// A picture holds what it costs, as a link and within the request, translated and passed on: neither do many links pass
// as short, nor does one picture's base64 fill the pool.
func TestPicturesHoldWhatTheyCost(t *testing.T) {
	const each = model.ImageBytes / bytesPerToken
	inline := "data:image/png;base64," + strings.Repeat("A", 3_000_000)
	pictures := func(n int, url string) []stead.Item {
		it := stead.Item{Type: stead.ItemMessage, Role: "user"}
		for range n {
			it.Content = append(it.Content, stead.Content{Type: stead.ContentInputImage, Text: stead.NewText(url)})
		}
		return []stead.Item{it}
	}
	generate := func(items []stead.Item) func(model.Model) {
		return func(m model.Model) {
			for range m.Generate(context.Background(), model.Request{Items: items, MaxOutputTokens: 10}) {
				return // it is given up: the estimate stands
			}
		}
	}
	forward := func(f model.Forward) func(model.Model) {
		return func(m model.Model) {
			f.Dialect, f.MostOutput = model.DialectChat, 10
			a, err := m.(model.Forwarder).Forward(context.Background(), f)
			if err != nil {
				t.Fatal(err)
			}
			_ = a.Body.Close()
		}
	}
	for name, tc := range map[string]struct {
		call func(model.Model)
		want int64
	}{
		"50 links, translated":        {generate(pictures(50, "https://a.example/b.png")), 50 * each},
		"one within, translated":      {generate(pictures(1, inline)), each},
		"one within, passed on":       {forward(model.Forward{Body: []byte(inline), InputBytes: model.ImageBytes}), each},
		"passed on, and not measured": {forward(model.Forward{Body: make([]byte, 4000)}), 1000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pool := New(Config{Name: "p", TokensPerMinute: 300_000}, nil)
				tc.call(Limit(&echo{}, func(string) *Pool { return pool }))
				if got := pool.Status().Projects[0].Tokens; got < tc.want || got > tc.want+50 {
					t.Errorf("%d tokens, want about %d", got, tc.want)
				}
			})
		})
	}
}
