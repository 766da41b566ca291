package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/responses"
)

// A stateless call that guardrails are about is never passed on as it is, since they read items and not dialects: it is
// translated, also to an upstream that speaks the door's dialect. What can't be translated is refused then.

// maxHeldAnswer is the longest answer that is held until guardrails have seen it: bytes of text and arguments.
const maxHeldAnswer = 8 << 20

// guarded reports whether guardrails look at something of the call, or policies are asked about what its model asks for. They read no vectors, and
// not what those are made of.
func (c *call) guarded() bool {
	return c.decides || c.door != model.DialectEmbeddings && c.checks.Any(guardrail.Points()...)
}

// becauseGuarded says of a request that can't be translated why it is to be.
func (c *call) becauseGuarded(why error) error {
	e, ok := errors.AsType[*stead.Error](why)
	if !ok || !c.guarded() || e.Hint != "" {
		return why
	}
	own := *e
	own.Hint = "Guardrails check calls of this model, so that they are not passed on as they are."
	if c.decides {
		own.Hint = "Policies are asked about the functions that the model asks for, so that the call is not passed on as it is."
	}
	return &own
}

// screen checks what a client sent; the error says that a guardrail refuses it.
func (c *call) screen(ctx context.Context, field string, items []stead.Item) ([]stead.Item, error) {
	out, v := c.checks.Items(ctx, field, items)
	return out, v.Err(field)
}

// instruct is screen for the instructions of a request.
func (c *call) instruct(ctx context.Context, text *string) error {
	if text == nil {
		return nil
	}
	out, v := c.checks.Instructions(ctx, *text)
	*text = out
	return v.Err("instructions")
}

// screenResponse checks all that a client sent for a response.
func (c *call) screenResponse(ctx context.Context, asked *responses.Request) (err error) {
	if asked.Items, err = c.screen(ctx, "input", asked.Items); err != nil {
		return err
	}
	if err = c.instruct(ctx, asked.Instructions); err != nil {
		return err
	}
	for i := range asked.Tools {
		if err = c.describe(ctx, i, &asked.Tools[i].Description, &asked.Tools[i].Parameters); err != nil {
			return err
		}
	}
	return nil
}

// describe is screen for what a request says of a tool that it brings.
func (c *call) describe(ctx context.Context, i int, description *string, parameters *json.RawMessage) error {
	text, schema, v := c.checks.Tool(ctx, *description, *parameters)
	*description, *parameters = text, schema
	return v.In("tools", i).Err(param.Index("tools", i))
}

// generateHeld is generate for an answer that guardrails must see before the client does: nothing of it is handed on until
// it is whole.
func (c *call) generateHeld(ctx context.Context, req model.Request, each func(model.Delta) error) (model.Delta, error) {
	items, size := map[int]stead.Item{}, 0
	done, err := c.listen(ctx, req, func(d model.Delta) error {
		if size += len(d.Text); d.Kind == model.ItemDone {
			items[d.Index] = *d.Item
			size += len(d.Item.Arguments)
		}
		if size > maxHeldAnswer {
			return heldTooLong("guardrails can check")
		}
		return nil
	})
	if err != nil {
		return done, err
	}
	said := make([]stead.Item, 0, len(items))
	for _, i := range slices.Sorted(maps.Keys(items)) {
		said = append(said, items[i])
	}
	said, v := c.checks.Reply(ctx, said)
	if v.Blocked == nil {
		said, v = c.checks.Calls(ctx, said)
	}
	if v.Blocked != nil {
		done.Finish = model.FinishFilter
		c.meter.Finish = done.Finish
	}
	for i, it := range said {
		if err := retell(i, it, each); err != nil {
			return done, err
		}
	}
	return done, nil
}

// heldTooLong is the error of an answer that can't be held.
func heldTooLong(why string) error {
	return &model.Error{Code: model.CodeServer, Message: fmt.Sprintf("the answer is longer than the %d bytes that %s", maxHeldAnswer, why)}
}

// retell hands on an item as a stream does: its texts, and then itself.
func retell(index int, it stead.Item, each func(model.Delta) error) error {
	for part, t := range it.Summary {
		if err := each(model.Delta{Kind: model.ReasoningDelta, Index: index, Part: part, Text: t.Inline}); err != nil {
			return err
		}
	}
	if it.Type == stead.ItemMessage {
		for _, p := range it.Content {
			if err := each(model.Delta{Kind: model.TextDelta, Index: index, Text: p.Text.Inline, Refusal: p.Type == stead.ContentRefusal}); err != nil {
				return err
			}
		}
	}
	return each(model.Delta{Kind: model.ItemDone, Index: index, Item: &it})
}

// exposeGuardrails tells what guardrails did, in the text format of Prometheus.
func (s *server) exposeGuardrails(w io.Writer) {
	counts := s.Guardrails.Counts()
	if len(counts) == 0 {
		return
	}
	fmt.Fprint(w, "# HELP stead_guardrail_decisions_total What guardrails blocked, redacted and asked about.\n# TYPE stead_guardrail_decisions_total counter\n")
	line := func(k guardrail.Count) string {
		return fmt.Sprintf("stead_guardrail_decisions_total{guardrail=%q,on=%q,action=%q}", k.Guardrail, k.On, k.Action)
	}
	for _, k := range slices.SortedFunc(maps.Keys(counts), func(a, b guardrail.Count) int { return strings.Compare(line(a), line(b)) }) {
		fmt.Fprintf(w, "%s %d\n", line(k), counts[k])
	}
}
