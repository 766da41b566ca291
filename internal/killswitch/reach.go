package killswitch

import (
	"cmp"
	"net"
	"slices"
	"strings"

	"github.com/stead-dev/stead/internal/policy"
)

// Reach knows by which other names that which is stopped can be had, as the configuration is now: what is stopped must not go on under another name.
type Reach struct {
	// Model reports whether a call of the model asked for may be answered by of, or is answered by nothing but what of is. nil: names alone count.
	Model func(asked, of string) bool
	// Server is where the operator's tool server of a label is: HOST:PORT, in lower case; "" where there is none, or it has no address. nil: the same.
	Server func(label string) string
}

// By has the switches know other names. It is called before the first question.
func (s *Switches) By(r Reach) *Switches {
	s.reach = r
	return s
}

// hostPrefix begins an Of that is a host, whatever its servers are called.
const hostPrefix = "host:"

// stopsTool: a call is stopped by the label of its server, by its server's host, and by the label of a server of the operator's that is at the same place. So is
// what connects to a host that is stopped.
func (s Switch) stopsTool(req policy.Request, r Reach) bool {
	host, byHost := strings.CutPrefix(s.Of, hostPrefix)
	switch {
	case req.Effect == policy.ModelCall: // what the model may ask for of whoever calls it
		return slices.ContainsFunc(req.Offers, func(o policy.Offer) bool { return s.stopsOffer(o, r) })
	case req.Effect == policy.NetworkConnect:
		return byHost && at(req.Destination, host)
	case req.Effect != policy.ToolCall:
		return false
	case req.Resource == s.Of || strings.HasPrefix(req.Resource, s.Of+"/") || req.Resource == policy.FunctionServer+"/"+s.Of:
		return true
	case req.Resource == policy.ProviderServer+"/"+s.Of, req.Unforeseen && strings.HasPrefix(s.Of, req.Resource+"/"): // of any tool of a server, one
		return true
	}
	server, tool, _ := strings.Cut(req.Resource, "/")
	where := strings.Replace(cmp.Or(req.Destination, r.server(server)), ".:", ":", 1) // a name may end in a dot
	if byHost {
		return at(where, host)
	}
	stopped, one, _ := strings.Cut(s.Of, "/")
	if r.server(server) != "" { // another of the operator's own at the same place is another one
		return false
	}
	return where != "" && where == r.server(stopped) && (one == "" || one == tool || req.Unforeseen && tool == "")
}

// stopsOffer is stopsTool of what a model may ask for.
func (s Switch) stopsOffer(o policy.Offer, r Reach) bool {
	return s.stopsTool(policy.Request{Effect: policy.ToolCall, Resource: o.Resource, Destination: o.Destination, Unforeseen: o.Provider}, r)
}

func (r Reach) server(label string) string {
	if r.Server == nil {
		return ""
	}
	return r.Server(label)
}

// at reports whether HOST:PORT is at a host, which may name a port as well.
func at(where, host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	name, _, err := net.SplitHostPort(where)
	return err == nil && (where == host || name == strings.Trim(host, "[]"))
}
