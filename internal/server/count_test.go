package server

import (
	"context"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
)

// counting is a model whose provider counts tokens, unless it fails.
type counting struct {
	scripted
	asked []model.Request
	err   error
}

func (c *counting) CountInput(_ context.Context, req model.Request) (int64, error) {
	c.asked = append(c.asked, req)
	return 4711, c.err
}

func (c *counting) Resolve(name string, by model.Caller) (model.Info, model.Model, error) {
	info, _, err := c.scripted.Resolve(name, by)
	return info, c, err
}

// Tokens are counted by the provider that the call would go to; an estimate stands in where it can't.
func TestInputTokens(t *testing.T) {
	m := &counting{}
	d, heard := gateway(t, &m.scripted, func(c *Config) { c.Models = m })
	const path, guess = "POST /v1/responses/input_tokens", `"input_tokens":2}`
	d.says(path, `{"model":"m","input":"12345678","instructions":null,"metadata":{"team":"red"}}`, 200, `"input_tokens":4711`)
	if r := m.asked[0]; r.Model != "up" || len(r.Items) != 1 || r.Caller.Stateful || !r.Caller.Labels.Has("team", "red") {
		t.Errorf("asked %+v", r)
	}
	d.says(path, `{"input":"12345678"}`, 200, guess)
	d.says(path, `{"model":"gone","input":"12345678"}`, 404, `"param":"model"`)
	d.says(path, `{"model":"m","input":"","tools":[{"type":"web_search"}]}`, 200, `"input_tokens":`) // what only an upstream runs
	if len(m.asked) != 1 {
		t.Errorf("asked %d times", len(m.asked))
	}
	closed, _ := gateway(t, &m.scripted, func(c *Config) { c.Models, c.Gate = m, gate{stead.Errorf(stead.KindForbidden, "no")} })
	closed.says(path, `{"model":"m","input":"12345678"}`, 200, guess)
	if len(m.asked) != 1 {
		t.Error("what may not go to a provider is counted there")
	}
	m.err = &model.Error{Code: model.CodeNotFound, Message: "no such path"}
	d.says(path, `{"model":"m","input":"12345678"}`, 200, guess)
	if len(heard) > 0 {
		t.Errorf("counting is no call, and is metered: %+v", <-heard)
	}
}

// What is counted elsewhere is what guardrails leave of it; what they refuse is estimated here.
func TestWhatIsCountedPassesGuardrails(t *testing.T) {
	m := &counting{}
	mails := guardrail.Rule{Name: "mails", On: []guardrail.Point{guardrail.Input}, Check: guardrail.Check{PII: []string{"email"}}, Action: guardrail.Redact}
	cards := guardrail.Rule{Name: "cards", On: []guardrail.Point{guardrail.Input}, Check: guardrail.Check{PII: []string{"credit_card"}}, Action: guardrail.Block}
	d, _ := gateway(t, &m.scripted, func(c *Config) { c.Models, c.Guardrails = m, guarded(t, mails, cards) })
	const path = "POST /v1/responses/input_tokens"
	d.says(path, `{"model":"m","input":"to ada@example.com","instructions":"or bob@example.com"}`, 200, `"input_tokens":4711`)
	if r := m.asked[0]; r.Items[0].Content[0].Text.Inline != "to [redacted email]" || r.Instructions != "or [redacted email]" {
		t.Errorf("asked %+v", r)
	}
	d.says(path, `{"model":"m","input":"4111 1111 1111 1111"}`, 200, `"input_tokens":5}`)
	d.says(path, `{"model":"m","input":"hi","instructions":"4111 1111 1111 1111"}`, 200, `"input_tokens":`)
	if len(m.asked) != 1 {
		t.Errorf("asked %d times", len(m.asked))
	}
}
