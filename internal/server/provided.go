package server

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// Tools that a model's provider runs itself, in calls that are passed on to it: web search, its code interpreter, tool servers that it calls. Their calls
// are never seen here, so that all is decided when they are offered: a kill switch on one of them refuses the request, and so does a policy that could
// refuse, or hold, any call of it. What they bring is labelled before it is there.
//
//	{"type": "web_search"}                                        provider/web_search
//	{"type": "mcp", "server_label": "shop", "allowed_tools": […]} shop/TOOL each; without allowed_tools shop: any of its tools
//	{"type": "mcp", …, "connector_id": "connector_gmail"}         provider/connector_gmail as well
//
// Source: the tools of the Responses API (developers.openai.com/api/docs/guides/tools); fields by which upstreams of Chat Completions are told to search:
// web_search_options (OpenAI), search_parameters (xAI), enable_search (Qwen), plugins (OpenRouter).

// maxNamedTools is how many tools of a server are decided one by one; of more, all of the server's are.
const maxNamedTools = 64

// maxPlaces is how many servers an entry may be about, by saying twice what it is called or where it is; and at how many places a request may say that a
// server of one label is.
const maxPlaces = 16

// maxBrought is how many sources of what such tools bring are told apart.
const maxBrought = 8

// toolSearch is the name of what a provider finds on the web, whatever a request calls it; toolFind is a search among the request's own tools, which may be
// the client's; toolBuiltIn is the type of tools of Moonshot's, which are functions by their names.
const (
	toolSearch  = "web_search"
	toolFind    = "tool_search"
	toolBuiltIn = "builtin_function"
)

// searches are other names of toolSearch: OpenRouter's plugin and tool, Mistral's, xAI's, Google's, Groq's and Moonshot's.
func searches() []string {
	return []string{"web", "web_search_premium", "live_search", "google_search", "google_search_retrieval", "googleSearch", "browser_search", "$web_search"}
}

// ProviderTools are the types of such tools that are known; a provider may have others, some of which are called as those of environments are.
func ProviderTools() []string {
	return []string{toolSearch, "code_interpreter", "image_generation", toolFind}
}

// switchedOn are the fields of a request that have the provider run something without a tool.
func switchedOn() []string {
	return []string{"web_search_options", "search_parameters", "enable_search", "web_search", "plugins"}
}

// run adds a tool that the provider runs itself.
func (o *offers) run(kind string) {
	o.add(policy.Offer{Resource: policy.ProviderServer + "/" + plainType(kind), Provider: true})
}

// switched adds what one of these fields turns on.
func (o *offers) switched(field string, value []byte) {
	var plugins []json.RawMessage
	switch {
	case field == "enable_search" && string(value) == "false", field == "web_search" && off(value, "enable"):
	case field == "plugins" && json.Unmarshal(value, &plugins) == nil:
		for _, p := range plugins {
			if off(p, "enabled") {
				continue
			}
			for _, id := range valuesOf(p, "id") {
				o.run(textOf(id))
			}
		}
	default:
		o.run(toolSearch)
	}
}

// off reports whether something is said, once, not to be done.
func off(value []byte, member string) bool {
	said := valuesOf(value, member)
	return len(said) == 1 && string(said[0]) == "false"
}

// dated is what versions of a type of tools end in.
var dated = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(_preview)?(_20\d\d_\d\d_\d\d|_20\d{6})?$`)
})

// plainType is a type of tools without its version, and without whose it is: web_search for web_search_preview_2025_03_11, and for openrouter:web_search.
func plainType(kind string) string {
	const whose = "openrouter:"
	plain := strings.TrimPrefix(kind, whose)
	if strings.Contains(plain, "_preview") || strings.Contains(plain, "_20") {
		plain = dated().ReplaceAllString(plain, "")
	}
	plain = cmp.Or(plain, kind)
	if slices.Contains(searches(), plain) {
		return toolSearch
	}
	return plain
}

// server adds the tools of a tool server that the provider calls. One about too many, or of which it can't be told where it is, has no name, and so is
// refused.
func (o *offers) server(entry []byte) {
	for _, id := range textsOf(entry, "connector_id") {
		if id != "" {
			o.add(policy.Offer{Resource: policy.ProviderServer + "/" + id, Provider: true})
		}
	}
	labels := textsOf(entry, "server_label")
	where, plain := placesOf(entry)
	if len(labels) == 0 || len(labels)*len(where) > maxPlaces || !plain {
		labels, where = []string{""}, []string{""}
	}
	for _, label := range labels {
		for _, at := range where {
			if o.placed(label, at) > maxPlaces {
				o.wrong = cmp.Or(o.wrong, error(stead.Invalid("tools", "tools: the tool server %.80q may be at most at %d places", label, maxPlaces)))
			}
		}
	}
	tools := namedTools(entry)
	for _, label := range labels {
		for _, at := range where {
			for _, tool := range tools {
				o.add(policy.Offer{Resource: label + tool, Server: label, Destination: at, Provider: true})
			}
		}
	}
}

// placed is at how many places the server of a label is said to be, with one more.
func (o *offers) placed(label, at string) int {
	if !slices.Contains(o.at[label], at) && len(o.at[label]) <= maxPlaces {
		o.at[label] = append(o.at[label], at)
	}
	return len(o.at[label])
}

// placesOf are where a tool server is said to be, as HOST:PORT; "" is not known here. plain: whoever reads it reads the same, which is not so of what is no
// URL to us, nor of hosts that are not in ASCII, of which several are one.
func placesOf(entry []byte) (where []string, plain bool) {
	for _, text := range textsOf(entry, "server_url") {
		if text == "" { // null, mostly, beside a connector
			continue
		}
		at := stead.HostPort(text)
		if at == "" || !agent.PlainHost(at) {
			return nil, false
		}
		where = append(where, at)
	}
	if len(where) == 0 {
		where = []string{""}
	}
	return where, true
}

// namedTools are the tools of a server that may be called, as "/NAME"; "" is any.
func namedTools(entry []byte) []string {
	whole := []string{""}
	var out []string
	for _, v := range valuesOf(entry, "allowed_tools") {
		lists := [][]byte{v}
		if len(v) > 0 && v[0] == '{' {
			lists = valuesOf(v, "tool_names") // as it is written: a decoder would take TOOL_NAMES for it, too
		}
		if len(lists) != 1 {
			return whole
		}
		var names []string
		if json.Unmarshal(lists[0], &names) != nil || len(names) == 0 {
			return whole
		}
		for _, name := range names {
			out = append(out, "/"+name)
		}
	}
	if len(out) == 0 || len(out) > maxNamedTools {
		return whole
	}
	return out
}

// brought are the labels of what the provider's tools bring while the call goes on.
func brought(offers []policy.Offer) stead.Labels {
	var sources []string
	for _, o := range offers {
		source := cmp.Or(o.Server, policy.ProviderServer)
		switch {
		case !theirs(o) || slices.Contains(sources, source):
		case len(sources) == maxBrought:
			sources[maxBrought-1] = session.SourceOther
		default:
			sources = append(sources, source)
		}
	}
	if sources == nil {
		return nil
	}
	return stead.Labels{session.LabelUntrusted: sources}
}

// theirs reports whether the provider runs a tool, or may: a call that offers one is not made again where it has perhaps been made.
func theirs(o policy.Offer) bool { return o.Provider || o == keptTools() }

// provided asks about each tool that the provider runs.
func (c *call) provided(ctx context.Context) error {
	var runs []policy.Offer
	for _, o := range c.offers {
		if !o.Provider {
			continue
		}
		if err := c.named(ctx, o); err != nil {
			return err
		}
		runs = append(runs, o)
	}
	if len(runs) == 0 {
		return nil
	}
	which, err := c.s.Gate.Provided(ctx, c.by, c.name, c.meter.Caller.Labels, runs)
	return aboutTool(which, err)
}

// unknown refuses what is kept at the provider where calls of tools are decided: which it brings is not known, so that nobody could be asked about them.
func (c *call) unknown(ctx context.Context) error {
	if !slices.Contains(c.offers, keptTools()) || c.s.Gate.Unasked(ctx, c.by, c.name, c.meter.Caller.Labels, "") {
		return nil
	}
	e := stead.Errorf(stead.KindForbidden, "prompt: what is kept at the model's provider may bring tools, which nobody here can be asked about, and calls of tools are decided here")
	e.Param, e.Hint = "prompt", "Send its instructions, input and tools themselves."
	return e
}

// asks reports whether calls of a function that it offers must be asked about. Where nothing is said of any tool, they are not looked at one by one.
func (c *call) asks(ctx context.Context) bool {
	sure := func(o policy.Offer) bool {
		return c.s.Gate.Unasked(ctx, c.by, c.name, c.meter.Caller.Labels, o.Resource)
	}
	functions := 0
	for _, o := range c.offers {
		if !o.Provider {
			functions++
		}
	}
	if functions == 0 || functions > 1 && sure(policy.Offer{}) {
		return false
	}
	return slices.ContainsFunc(c.offers, func(o policy.Offer) bool { return !o.Provider && !sure(o) })
}

// named refuses a tool server whose name is none, or that of something else: policies and kill switches go by it.
func (c *call) named(ctx context.Context, o policy.Offer) error {
	switch {
	case o.Server == "" && strings.HasPrefix(o.Resource, policy.ProviderServer+"/"):
		return nil
	case o.Server == "" || strings.Contains(o.Server, "/"):
		return stead.Invalid("tools", "tools: a tool server needs one server_label, without a slash, and a server_url with a host in ASCII (xn--…): policies and kill switches go by them")
	}
	return c.s.rulesFor(ctx, c.by).Free("tools: server_label", o.Server)
}

// aboutTool says which tool a refusal is about.
func aboutTool(o policy.Offer, err error) error {
	if err == nil || stead.KindOf(err) != stead.KindForbidden {
		return err
	}
	e := stead.Errorf(stead.KindForbidden, "the tool %.80s, which the model's provider runs, may not be offered: %s", o.Resource, err.Error())
	e.Param = "tools"
	e.Hint = "Leave the tool out, or leave out store: false and use a tool that this server runs: each call of that is decided with its arguments."
	return e
}
