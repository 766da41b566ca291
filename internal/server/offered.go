package server

import (
	"cmp"
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
)

// What a model asks for in a stateless call, its client does, or its provider. Policies are asked about what the client does as about the functions of
// applications in sessions, before the client has the call; where they are, the call is translated, so that its answer can be read. Of what the
// provider does nothing is seen here, so that policies are asked before it is offered (provided.go). A request that offers what a kill switch stops is
// refused.

// Limits of what a request offers, beyond what any API takes: of OpenAI's, a chat has at most 128 functions, with names of 64 letters.
const (
	maxFunctions = 1024 // functions: each may have to be decided
	maxProvided  = 1024 // tools that the provider runs: each is decided, and recorded
	maxToolName  = 512  // bytes of a tool's name, with its server's, and of a server's host
	maxNames     = 16   // names that one entry has, or types: each is looked for among the others
	maxNested    = 4    // lists of tools within tools, one in the other: each is read for each that it is in
)

// offered are the tools of a request, each once. The body is passed on as it stands, and so looked at as it stands: whatever stands in it twice counts
// twice. late are lists of tools beside its own. The error says that they are too many, or too large.
func offered(door string, req request, late [][]byte) ([]policy.Offer, error) {
	lists, within := []string{"tools", "functions"}, "function"
	if door == model.DialectResponses {
		lists, within = []string{"tools", "prompt"}, ""
	} else if door != model.DialectChat {
		return nil, nil
	}
	if len(late) == 0 && !slices.ContainsFunc(lists, req.Has) && !slices.ContainsFunc(switchedOn(), req.Has) { // the rest of most calls is not looked at
		return nil, nil
	}
	o := offers{within: within, has: map[policy.Offer]bool{}, at: map[string][]string{}}
	for _, list := range late {
		o.list(list)
	}
	param.Members(req.raw, func(key string, from, to int) {
		value := req.raw[from:to]
		switch {
		case string(value) == "null":
		case slices.Contains(switchedOn(), key):
			o.switched(key, value)
		case !slices.Contains(lists, key):
		case key == "prompt":
			o.add(keptTools())
		default:
			o.list(value)
		}
	})
	return o.all, o.wrong
}

// keptTools are those of a prompt that is kept at the provider: not known here.
func keptTools() policy.Offer { return policy.Offer{} }

// offers are those so far, each once.
type offers struct {
	within   string // the member of an entry that has its name: chat's
	all      []policy.Offer
	has      map[policy.Offer]bool
	provided int                 // of all, how many the provider runs
	at       map[string][]string // the label of a tool server → where it is said to be
	depth    int                 // of the list that is read
	wrong    error               // why no more is added; nil: more is
}

func (o *offers) add(one policy.Offer) {
	if o.wrong != nil || o.has[one] {
		return
	}
	if one.Provider {
		o.provided++
	}
	o.has[one] = true
	o.all = append(o.all, one)
	switch {
	case len(one.Resource) > maxToolName || len(one.Destination) > maxToolName:
		o.wrong = stead.Invalid("tools", "tools: the name of a tool, with that of its server, and the host of a server may each have at most %d bytes", maxToolName)
	case o.provided > maxProvided:
		o.wrong = stead.Invalid("tools", "tools: at most %d tools that the model's provider runs may be offered", maxProvided)
	case len(o.all)-o.provided > maxFunctions:
		o.wrong = stead.Invalid("tools", "tools: at most %d functions may be offered, with those that items of the input bring", maxFunctions)
	}
}

func (o *offers) function(name string) {
	o.add(policy.Offer{Resource: policy.FunctionServer + "/" + name})
}

func (o *offers) list(list []byte) {
	if o.depth == maxNested {
		o.wrong = cmp.Or(o.wrong, error(stead.Invalid("tools", "tools: lists of tools may stand in each other at most %d deep", maxNested)))
	}
	if o.wrong != nil {
		return
	}
	o.depth++
	defer func() { o.depth-- }()
	param.Elements(list, func(from, to int) {
		if o.wrong == nil {
			o.tool(list[from:to])
		}
	})
}

// isListing reports whether an item only tells what a tool server has, which is offered by itself.
func isListing(item []byte) bool {
	kinds := valuesOf(item, "type")
	return len(kinds) == 1 && textOf(kinds[0]) == "mcp_list_tools"
}

// tool adds what one entry offers: by its names, or by its type where that says who runs it or it has no name.
func (o *offers) tool(entry []byte) {
	var names, kinds []string
	var lists [][]byte // of a namespace
	add := func(to []string, text string) []string {
		switch {
		case slices.Contains(to, text):
		case len(to) < maxNames:
			to = append(to, text)
		case o.wrong == nil:
			o.wrong = stead.Invalid("tools", "tools: one tool may have at most %d names, and as many types", maxNames)
		}
		return to
	}
	named := func(v []byte) {
		if name := textOf(v); name != "" {
			names = add(names, name)
		}
	}
	param.Members(entry, func(key string, from, to int) {
		switch v := entry[from:to]; {
		case key == "name":
			named(v)
		case key == "type":
			kinds = add(kinds, textOf(v))
		case key == "tools":
			lists = append(lists, v)
		case key == "custom" || key == o.within && key != "":
			for _, name := range valuesOf(v, "name") {
				named(name)
			}
		}
	})
	clients := len(kinds) == 0
	for _, kind := range kinds {
		clients = o.kind(kind, entry, names) || clients
	}
	for _, name := range names {
		if clients {
			o.function(name)
		}
	}
	for _, list := range lists {
		o.list(list)
	}
}

// kind adds what an entry of a type offers beside its names, and reports whether the client makes its calls.
func (o *offers) kind(kind string, entry []byte, names []string) (clients bool) {
	switch {
	case kind == "" || kind == "function" || kind == "custom" || kind == "namespace":
		return true
	case kind == agent.ToolMCP:
		o.server(entry)
		return false
	case kind == toolFind:
		return o.finder(entry)
	case kind == toolBuiltIn && len(names) > 0:
		for _, name := range names {
			o.run(name)
		}
		return false
	case !slices.Contains(clientTypes(), kind):
		o.run(kind)
		return false
	case len(names) == 0:
		o.function(kind)
	}
	for _, where := range valuesOf(entry, "environment") { // of a shell: the provider's, if it is not said to be the client's
		if inside := valuesOf(where, "type"); string(where) != "null" && (len(inside) == 0 || slices.ContainsFunc(inside, func(v []byte) bool { return textOf(v) != "local" })) {
			o.run(kind)
		}
	}
	return true
}

// finder adds a search among tools that are not told the model yet: the client's, if it is said to be; else the provider's.
func (o *offers) finder(entry []byte) (clients bool) {
	const client = "client"
	by := textsOf(entry, "execution")
	if clients = slices.Contains(by, client); clients {
		o.function(toolFind)
	}
	if len(by) == 0 || slices.ContainsFunc(by, func(b string) bool { return b != client }) {
		o.run(toolFind)
	}
	return clients
}

// valuesOf are the values of all members of a name.
func valuesOf(b []byte, name string) (out [][]byte) {
	if name == "" {
		return nil
	}
	param.Members(b, func(key string, from, to int) {
		if key == name {
			out = append(out, b[from:to])
		}
	})
	return out
}

// textsOf are valuesOf as texts, each once; what is none is "".
func textsOf(b []byte, name string) (out []string) {
	has := map[string]bool{}
	for _, v := range valuesOf(b, name) {
		if text := textOf(v); !has[text] {
			has[text] = true
			out = append(out, text)
		}
	}
	return out
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
