package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// Limits of what a request declares of a server.
const (
	MaxHeaders     = 64
	MaxHeaderBytes = 16 << 10 // names and values together
	MaxURLBytes    = 4096
)

// target is a server as a connection is made to it.
type target struct {
	identity string // equal for servers that may share a connection
	label    string
	url      string
	headers  map[string]string
	process  *Configured   // stdio, on this host: only ever the operator's
	command  *tool.Command // stdio, inside origin
	origin   tool.Origin   // nil: this host
	named    bool          // an agent gave the URL
	// operators: it is one of the configuration, and not of an agent's declaration.
	operators  bool
	configured string // with operators: configuredIdentity
	// credential proves who asks, towards url; nil: nothing does.
	credential tool.Credential
	effects    map[string]tool.Effect
}

// target resolves what an agent declares. A command line that it declares runs in its origin, and
// nowhere else.
func (m *Manager) target(s tool.Server) (target, error) {
	configured, operators := (*m.servers.Load())[s.Label]
	if operators && (s.Command != nil || s.URL != "") { // it may be configured since
		return target{}, &stead.Error{
			Kind: stead.KindInvalid, Param: "server_label",
			Message: "the label " + quoted(s.Label) + " is that of a tool server of the operator's configuration, and another one can't have it",
			Hint:    "leave out its server_url for the operator's server, or choose another label",
		}
	}
	switch {
	case s.Command != nil:
		return commandTarget(s)
	case s.URL != "":
		to, err := urlTarget(s.Label, s.URL, s.Headers)
		to.named, to.credential = true, s.Credential
		if err == nil && s.Credential != nil {
			to.identity += "\x00" + s.Credential.Key()
		}
		if err == nil && s.Origin != nil {
			to.origin, to.identity = s.Origin, insideIdentity(s, to.identity)
		}
		return to, err
	case s.Origin != nil:
		return target{}, stead.Invalid("connection_origin", "the tool server %s has neither a URL nor a command, so it can't be reached from an environment", quoted(s.Label))
	}
	if !operators || !configured.has(s.Project) {
		return target{}, &stead.Error{
			Kind: stead.KindInvalid, Param: "server_label",
			Message: "no tool server with the label " + quoted(s.Label) + " is configured",
			Hint:    "give its server_url, or use a label that this server's configuration names: " + m.labels(s.Project),
		}
	}
	if len(s.Headers) > 0 {
		return target{}, stead.Invalid("headers", "the tool server %s is configured by the operator, so its headers can't be set here", quoted(s.Label))
	}
	to, err := configuredTarget(configured)
	if err != nil || !configured.Identified {
		return to, err
	}
	if s.Credential == nil {
		e := stead.Errorf(stead.KindForbidden, "the tool server %s wants to know who asks, and nobody's agent does", quoted(s.Label))
		e.Code = tool.CodeCredential
		return to, e
	}
	to.credential = s.Credential
	to.identity += "\x00" + s.Credential.Key()
	return to, nil
}

func commandTarget(s tool.Server) (target, error) {
	c := *s.Command
	switch {
	case s.Origin == nil:
		return target{}, stead.Invalid("transport", "the tool server %s is a command, and commands run in a session's environment, which this session does not have", quoted(s.Label))
	case s.URL != "" || len(s.Headers) > 0:
		return target{}, stead.Invalid("transport", "the tool server %s is a command and so has neither URL nor headers", quoted(s.Label))
	case len(c.Args) == 0 || c.Args[0] == "":
		return target{}, stead.Invalid("transport.command", "the command of tool server %s is empty", quoted(s.Label))
	}
	c.Args, c.EnvVars = slices.Clone(c.Args), slices.Clone(c.EnvVars)
	line, err := json.Marshal(c)
	if err != nil {
		return target{}, stead.Invalid("transport", "the command of tool server %s can't be read", quoted(s.Label))
	}
	digest := sha256.Sum256(line)
	return target{label: s.Label, command: &c, origin: s.Origin, identity: insideIdentity(s, hex.EncodeToString(digest[:]))}, nil
}

// insideIdentity keeps the servers of each environment, and of each label in it, apart.
func insideIdentity(s tool.Server, what string) string {
	return "inside\x00" + strconv.Itoa(len(s.Origin.Key())) + "\x00" + s.Origin.Key() + "\x00" + s.Label + "\x00" + what
}

func configuredTarget(c Configured) (target, error) {
	to := target{label: c.Label, process: &c}
	if c.Command == "" {
		var err error
		if to, err = urlTarget(c.Label, c.URL, c.Headers); err != nil {
			return to, err
		}
	}
	is := configuredIdentity(c)
	to.identity, to.effects, to.operators, to.configured = is, c.Effects, true, is
	return to, nil
}

// configuredIdentity is the same for a server that is configured as it was. Who has it does not count.
func configuredIdentity(c Configured) string {
	c.Projects = nil
	text, _ := json.Marshal(c) // texts always encode
	digest := sha256.Sum256(text)
	return "label\x00" + c.Label + "\x00" + hex.EncodeToString(digest[:])
}

func urlTarget(label, raw string, headers map[string]string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > MaxURLBytes || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return target{}, stead.Invalid("server_url", "the URL of tool server %s must be http or https, with a host and without a password", quoted(label))
	}
	u.Fragment = ""
	if err := checkHeaders(label, headers); err != nil {
		return target{}, err
	}
	digest := sha256.New()
	digest.Write([]byte(u.String()))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		digest.Write([]byte("\x00" + strings.ToLower(name) + "\x00" + headers[name]))
	}
	return target{identity: "url\x00" + hex.EncodeToString(digest.Sum(nil)), label: label, url: u.String(), headers: headers}, nil
}

func checkHeaders(label string, headers map[string]string) error {
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		if !isToken(name) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return stead.Invalid("headers", "the header %s of tool server %s can't be sent", quoted(name), quoted(label))
		}
		if isReserved(name) {
			return stead.Invalid("headers", "the header %s of tool server %s is set by the protocol", quoted(name), quoted(label))
		}
	}
	if len(headers) > MaxHeaders || size > MaxHeaderBytes {
		return stead.Invalid("headers", "tool server %s has more than %d headers or %d bytes of them", quoted(label), MaxHeaders, MaxHeaderBytes)
	}
	return nil
}

// isReserved names the headers that the transport or the protocol sets. The idempotency keys are
// among them because net/http repeats a POST by itself that carries one.
func isReserved(name string) bool {
	switch strings.ToLower(name) {
	case "accept", "accept-encoding", "connection", "content-length", "content-type", "expect", "host",
		"idempotency-key", "keep-alive", "last-event-id", "mcp-protocol-version", "mcp-session-id",
		"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-idempotency-key":
		return true
	}
	return false
}

// isToken reports whether s is a token of RFC 9110.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// unavailable is the error of Tools: one that has a kind already, or KindUnavailable.
func (t target) unavailable(err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e
	}
	return &stead.Error{
		Kind: stead.KindUnavailable, Code: "tool_server_unavailable",
		Message: "the tool server " + quoted(t.label) + " can't be reached", Err: bare(err),
	}
}

// bare takes the URL, whose query may hold a secret, out of an error of net/http.
func bare(err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok && e.Kind == stead.KindForbidden { // a guard's
		return e
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return errors.New(e.Op + ": " + e.Err.Error())
	}
	return err
}

func quoted(s string) string {
	const most = 80
	return `"` + clip(s, most) + `"`
}
