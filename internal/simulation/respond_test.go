package simulation

import (
	"fmt"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
)

// An application of the Responses API: its session is a chain of responses, each with the outputs of
// the calls that the one before handed back.

// respond makes the next response under a key, twice now and then.
func (a *app) respond() error {
	text := fmt.Sprintf("message %d.%d", a.n, len(a.sent))
	items, err := a.outputs()
	if err != nil {
		return err
	}
	items = append(items, stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, text)})
	req := session.RespondRequest{Previous: a.last, Items: items, Key: text, Digest: text}
	req.Ask.Spec = agent.Defaults()
	req.Ask.Spec.Model, req.Ask.Spec.Tools = "script", tools()
	var made session.Response
	call := func() error { made, err = a.w.node().Respond(a.w.ctx, me, req); return err }
	if err := a.insist(call); err != nil {
		return err
	}
	if first := made.ID(); a.w.chance(20) {
		if err := a.insist(call); err != nil || made.ID() != first {
			a.w.failf("session %s: the second %q made %s after %s: %v", a.id, text, made.ID(), first, err)
		}
	}
	if a.last != "" && made.Session != a.id {
		a.w.failf("response %s left its session %s", made.ID(), a.id)
	}
	a.id, a.last, a.sent = made.Session, made.ID(), append(a.sent, text)
	return nil
}

// outputs answers the calls that the last response handed back.
func (a *app) outputs() (items []stead.Item, err error) {
	if a.last == "" {
		return nil, nil
	}
	var res session.Response
	var output []session.Item
	err = a.insist(func() error {
		if res, err = a.w.node().Response(a.w.ctx, me, a.last); err != nil {
			return err
		}
		output, err = a.w.node().ResponseOutput(a.w.ctx, me, res)
		return err
	})
	if err != nil || res.Turn.Status != session.TurnComplete {
		return nil, err
	}
	answered := map[string]bool{} // call ids that the runtime refused itself
	for _, it := range output {
		if o, ok := it.(*session.FunctionOutputItem); ok {
			answered[o.CallID] = true
		}
	}
	for _, it := range output {
		if c, ok := it.(*session.FunctionCallItem); ok && !answered[c.CallID] {
			items = append(items, stead.Item{Type: stead.ItemFunctionCallOutput, CallID: c.CallID, Output: stead.TextContent(stead.ContentInputText, "did "+opOf(c.Arguments))})
		}
	}
	return items, nil
}

// asked is the text of the user's message of an input.
func asked(m session.Message) string {
	if len(m.Input) > 0 {
		return text(m.Input[0].Content)
	}
	return text(m.Items[len(m.Items)-1].Content)
}
