package capacity

import (
	"context"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
