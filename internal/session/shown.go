package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"path"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/tool"
)

// Who declared the tool of a call, as policies and people are told: whoever runs the server, the agent, the application that executes it, or
// nobody, since it is the runtime's own, or one of the environment.
const (
	DeclaredByOperator = "operator"
	DeclaredByAgent    = "agent"
	DeclaredRuntime    = "runtime"
	DeclaredInside     = "environment"
	// DeclaredByApplication is of functions, which the application executes.
	DeclaredByApplication = "application"
	// DeclaredByProvider is of tools that a model's provider has and runs itself, in calls without a session.
	DeclaredByProvider = "provider"
)

// CallShown is what whoever may approve a call is shown of it beside its tool and its arguments. The digest covers all of it.
type CallShown struct {
	Class       tool.Effect  `json:"class"`
	Origin      string       `json:"origin"`                // who declared the tool
	Destination string       `json:"destination,omitempty"` // HOST:PORT
	Server      *ServerShown `json:"server,omitempty"`      // as the agent declares it
	For         string       `json:"for"`                   // "user:ada": whom the session serves
	Behind      []string     `json:"behind,omitempty"`      // others who stand behind the call
	Agent       AgentShown   `json:"agent"`
	Untrusted   []string     `json:"untrusted,omitempty"` // sources of what the agent had read when it asked for the call
}

// ServerShown is a tool server that an agent declares, as whoever may approve its call sees it: without its headers and variables.
type ServerShown struct {
	URL     string   `json:"url,omitempty"` // without its query
	Command []string `json:"command,omitempty"`
	SHA256  string   `json:"sha256"` // of all that is declared, headers and query included
}

// callRecorded is what stands of a call in the audit log, and goes to webhooks: both keep no contents, and for good. What was shown is in the digest.
type callRecorded struct {
	CallShown
	Server *serverRecorded `json:"server,omitempty"`
}

// serverRecorded is a tool server that an agent declares by what holds no secret: paths of URLs and arguments of programs do.
type serverRecorded struct {
	URL     string `json:"url,omitempty"`     // scheme and host
	Program string `json:"program,omitempty"` // its name alone
	SHA256  string `json:"sha256"`
}

const (
	// maxRecordedBehind is how many of those who stand behind a call its records name; whom they leave out is anybody.
	maxRecordedBehind = 20
	// maxProgramRunes is how much of a program's name they have.
	maxProgramRunes = 128
)

// recorded is what of it is recorded; nil: nothing.
func (c *CallShown) recorded() json.RawMessage {
	if c == nil {
		return nil
	}
	out := callRecorded{CallShown: *c}
	if n := len(c.Behind); n > maxRecordedBehind {
		out.Behind = append(slices.Clone(c.Behind[:maxRecordedBehind]), called(policy.Anybody()))
	}
	if s := c.Server; s != nil {
		out.Server = &serverRecorded{SHA256: s.SHA256}
		if u, err := url.Parse(s.URL); err == nil && u.Host != "" {
			out.Server.URL = u.Scheme + "://" + u.Host
		}
		if len(s.Command) > 0 {
			out.Server.Program = Shorten(path.Base(s.Command[0]), maxProgramRunes)
		}
	}
	return mustJSON(out)
}

// AgentShown is whose call it is.
type AgentShown struct {
	ID      stead.AgentID `json:"id"`
	Version int           `json:"version,omitempty"` // 0: it is no saved one
	Base    stead.AgentID `json:"base,omitempty"`    // the saved one that it was made from, by somebody who may not change that
}

// asks notes as what a call is asked about.
func (v *View) asks(c *Call) {
	c.Wrote, c.Untrusted = len(v.Wrote), v.Labels()[LabelUntrusted]
}

// callShown is what is shown of a call.
func (v *View) callShown(c *Call) *CallShown {
	pin := v.Created.Agent
	out := &CallShown{
		Class: c.Tool.class(), Origin: v.declared(c), Destination: v.destination(c), For: called(v.Created.Principal),
		Agent: AgentShown{pin.ID, pin.Version, pin.Base}, Untrusted: c.Untrusted,
	}
	for _, p := range v.Created.Principal.Beside(v.behind(c.Wrote, c.EditedBy...)) {
		out.Behind = append(out.Behind, called(p))
	}
	if t := v.transport(c); t != nil {
		sum := sha256.Sum256(mustJSON(t))
		out.Server = &ServerShown{URL: plainURL(t.ServerURL), SHA256: hex.EncodeToString(sum[:])}
		if t.Command != "" {
			out.Server.Command = append([]string{t.Command}, t.Args...)
		}
	}
	return out
}

func called(p stead.Principal) string { return string(p.Kind) + ":" + p.ID }

// plainURL leaves out what of a URL may be secret.
func plainURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// transport is what the agent declares of a call's server; nil: it does not.
func (v *View) transport(c *Call) *agent.Transport {
	for _, t := range v.Created.Agent.Spec.Tools {
		if t.Transport != nil && t.Served() && t.ServerLabel == c.Tool.Server {
			return t.Transport
		}
	}
	return nil
}

// declared says who declared a call's tool.
func (v *View) declared(c *Call) string {
	switch {
	case c.Function():
		return DeclaredByApplication
	case c.Tool.Server == "":
		return DeclaredInside
	}
	for _, t := range v.Created.Agent.Spec.Tools {
		switch {
		case !t.Served() || t.ServerLabel != c.Tool.Server:
		case t.Transport != nil:
			return DeclaredByAgent
		case t.Type != agent.ToolMCP:
			return DeclaredRuntime
		}
	}
	return DeclaredByOperator
}

// destination is HOST:PORT that a call goes to; "": it goes to no address that is known.
func (v *View) destination(c *Call) string {
	t := v.transport(c)
	if t == nil {
		return c.Tool.Destination
	}
	return stead.HostPort(t.ServerURL)
}

// Digest is that of what whoever answers is shown: which question it is, what would be done, where, for whom and by whom. SHA-256 in hex.
func (v *View) Digest(c *Call) string { return v.digest(c, mustJSON(v.callShown(c))) }

// digest is Digest with what callShown gives.
func (v *View) digest(c *Call, shown []byte) string {
	sum := sha256.Sum256(mustJSON([]string{c.RequestID(v.Key.Session), string(c.effect()), v.resource(c), string(c.Args()), string(shown)}))
	return hex.EncodeToString(sum[:])
}
