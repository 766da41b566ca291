package server

import (
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
)

// What a model asks for in a stateless call, its client does. Policies are asked about that as about the functions of applications in
// sessions, before the client has the call; where they are, the call is translated, so that its answer can be read. A request that offers
// what a kill switch stops is refused.

// offered are the tools of a request whose calls its client would make, as "function/NAME"; "" stands for those that are kept at the provider and
// not known here. The body is passed on as it stands, and so looked at as it stands: whatever stands in it twice counts twice.
func offered(door string, req request) []string {
	lists, within := []string{"tools", "functions"}, "function"
	if door == model.DialectResponses {
		lists, within = []string{"tools", "prompt"}, ""
	} else if door != model.DialectChat {
		return nil
	}
	if !slices.ContainsFunc(lists, req.Has) { // the rest of most calls is not looked at
		return nil
	}
	o := offers{within: within}
	param.Members(req.raw, func(key string, from, to int) {
		switch {
		case !slices.Contains(lists, key) || string(req.raw[from:to]) == "null":
		case key == "prompt":
			o.add("")
		default:
			o.list(req.raw[from:to])
		}
	})
	return o.all
}

// offers are those so far, each once.
type offers struct {
	within string // the member of an entry that has its name: chat's
	all    []string
}

func (o *offers) add(resource string) {
	if !slices.Contains(o.all, resource) {
		o.all = append(o.all, resource)
	}
}

func (o *offers) list(list []byte) {
	param.Elements(list, func(from, to int) { o.tool(list[from:to]) })
}

// tool adds what one entry offers: by its names, and by its type where it has none. What a provider runs is none.
func (o *offers) tool(entry []byte) {
	named, kind := false, ""
	var read func(b []byte)
	read = func(b []byte) {
		param.Members(b, func(key string, from, to int) {
			switch value := b[from:to]; key {
			case "name":
				if name := textOf(value); name != "" {
					named = true
					o.add(policy.FunctionServer + "/" + name)
				}
			case "type":
				kind = textOf(value)
			case "tools": // of a namespace
				o.list(value)
			case o.within, "custom":
				if len(value) > 0 && value[0] == '{' {
					read(value)
				}
			}
		})
	}
	read(entry)
	if !named && slices.Contains(clientTypes(), kind) {
		o.add(policy.FunctionServer + "/" + kind)
	}
}

// clientTypes are the types of tools without a name whose calls the client makes.
func clientTypes() []string {
	return []string{"local_shell", "shell", "apply_patch", "computer", "computer_use_preview"}
}

// heldCalls holds an answer back from the first call of a function on, until all of it is decided. Texts in front of that are not held.
type heldCalls struct {
	each func(model.Delta) error
	held []model.Delta
	size int
}

func (h *heldCalls) delta(d model.Delta) error {
	if len(h.held) == 0 && !asksForFunction(d) {
		return h.each(d)
	}
	if h.size += len(d.Text); d.Item != nil {
		h.size += len(d.Item.Arguments)
	}
	if h.size > maxHeldAnswer {
		return heldTooLong("policies can be asked about")
	}
	h.held = append(h.held, d)
	return nil
}

func asksForFunction(d model.Delta) bool {
	return d.Kind == model.ItemDone && d.Item.Type == stead.ItemFunctionCall
}

// settle hands on what was held, if policies allow each call; else a refusal in its place that says why.
func (c *call) settle(ctx context.Context, h *heldCalls, done *model.Delta) error {
	for _, d := range h.held {
		if !asksForFunction(d) {
			continue
		}
		err := c.s.Gate.Function(ctx, c.by, c.name, c.meter.Caller.Labels, policy.FunctionServer+"/"+d.Item.Name, d.Item.Arguments)
		switch {
		case err == nil:
		case stead.KindOf(err) != stead.KindForbidden:
			return err
		default:
			done.Finish = model.FinishFilter
			c.meter.Finish = done.Finish
			told := "The call of " + policy.FunctionServer + "/" + d.Item.Name + " was withheld: " + err.Error() + "."
			refusal := stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.SaidContent(told, true)}
			return retell(h.held[0].Index, refusal, h.each)
		}
	}
	for _, d := range h.held {
		if err := h.each(d); err != nil {
			return err
		}
	}
	return nil
}
