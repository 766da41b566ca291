package agent

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Limits of a tool server's command.
const (
	MaxCommandArgs    = 256
	MaxCommandBytes   = 32 << 10 // of command, arguments, directory and names of variables together
	MaxCommandEnvVars = 64
	// MaxCredentialIDBytes is the longest credential_id.
	MaxCredentialIDBytes = 128
)

var variableName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`) })

// InEnvironment reports whether the tool is run in, or reached from, the session's environment, so
// that a session without one can't have it.
func (t Tool) InEnvironment() bool {
	return t.Type == ToolMCP && (t.ConnectionOrigin == OriginEnvironment || t.Transport != nil && t.Transport.Type == TransportStdio)
}

// CheckEnvironment refuses tools that need an environment, for a session that has none. path is
// where the list stands in the request; "" for tools that the request names by agent_id.
func CheckEnvironment(path string, tools []Tool) error {
	for i, t := range tools {
		if !t.InEnvironment() {
			continue
		}
		at := ""
		if path != "" {
			at = param.Index(path, i)
		}
		e := stead.Invalid(at, "the tool server %q runs in the session's environment, and this session has none", t.ServerLabel)
		e.Hint = `Give the session an environment, for example {"type": "openai_hosted"}.`
		return e
	}
	return nil
}

// origin reads from where a tool server is reached.
func (r Rules) origin(o param.Object) (string, error) {
	origin, has, err := o.Enum("connection_origin", OriginService, OriginEnvironment)
	if err != nil || !has {
		return OriginService, err
	}
	if origin == OriginEnvironment && !r.Environments {
		e := stead.Invalid(o.Path("connection_origin"), "%s: this server has no environments", o.Path("connection_origin"))
		e.Hint = `Send "service" or leave it out.`
		return "", e
	}
	return origin, nil
}

// transport reads how a tool server is reached; nil is the operator's server of that label.
func (r Rules) transport(label, origin string, o param.Object) (*Transport, error) {
	at := o.Path("transport")
	sub, ok, err := o.Object("transport")
	if err != nil {
		return nil, err
	}
	if !ok {
		if !slices.Contains(r.Labels, label) {
			e := stead.Invalid(at, "%s is required: the operator's configuration has no tool server %.80q", at, label)
			e.Hint = r.labelHint()
			return nil, e
		}
		if origin == OriginEnvironment {
			e := stead.Invalid(o.Path("connection_origin"), "%s: the operator's server %q is reached from where the operator put it", o.Path("connection_origin"), label)
			e.Hint = `Send "service" or leave it out.`
			return nil, e
		}
		return nil, nil
	}
	kind, err := param.Need(sub.Enum("type", TransportHTTP, TransportStdio))(sub.Path("type"))
	if err != nil {
		return nil, err
	}
	if kind == TransportStdio {
		t, err := r.stdio(label, origin, sub)
		if err == nil && t != nil {
			err = r.Free(o.Path("server_label"), label)
		}
		return t, err
	}
	t, err := httpTransport(sub)
	if err == nil {
		err = r.Free(o.Path("server_label"), label)
	}
	if err == nil && t.Auth != "" && origin == OriginEnvironment {
		err = stead.Invalid(sub.Path("auth"), "%s: a server that is reached from the environment is told of no user", sub.Path("auth"))
	}
	return t, err
}

// Free refuses the name of something else for a server of the agent's own, at a path: policies, guardrails, kill switches and labels go by it.
func (r Rules) Free(at, label string) error {
	if slices.Contains(r.Labels, label) {
		e := stead.Invalid(at, "%s %q is a tool server of the operator's configuration, and another one can't have its name", at, label)
		e.Hint = "Leave out the transport for the operator's server, or choose another label."
		return e
	}
	if slices.Contains(r.Taken, label) {
		e := stead.Invalid(at, "%s %q is not to be had", at, label)
		e.Hint = "Choose another label."
		return e
	}
	if Reserved(label) {
		e := stead.Invalid(at, "%s %q is the name of tools, or of a source, of the runtime's own", at, label)
		e.Hint = "Choose another label."
		return e
	}
	return nil
}

// Reserved reports whether a label of a tool server would be taken for something of the runtime's own, by policies or in the label
// untrusted.
func Reserved(label string) bool {
	switch label {
	case ToolEnvironment, ToolFunction, ToolMemory, ToolSemantic, ToolFileSearch, ToolSQL, "provider", "file", "image", "other":
		return true
	}
	return false
}

func httpTransport(o param.Object) (*Transport, error) {
	raw, err := param.Need(o.String("server_url"))(o.Path("server_url"))
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, stead.Invalid(o.Path("server_url"), "%s must be an http or https URL", o.Path("server_url"))
	}
	if u.User != nil {
		return nil, secret(o.Path("server_url"))
	}
	if !PlainHost(u.Hostname()) {
		e := stead.Invalid(o.Path("server_url"), "%s must have its host in ASCII", o.Path("server_url"))
		e.Hint = "Write it as xn--…, as the network does: policies and kill switches go by it."
		return nil, e
	}
	for name := range u.Query() {
		if secretName(name) {
			return nil, secret(o.Path("server_url"))
		}
	}
	if _, has := o.Raw("authorization"); has {
		return nil, secret(o.Path("authorization"))
	}
	headers, _, err := o.StringMap("headers")
	if err != nil {
		return nil, err
	}
	for name := range headers {
		if secretName(name) {
			return nil, secret(o.Path("headers") + "." + name)
		}
	}
	auth, _, err := o.Enum("auth", AuthOAuth)
	if err != nil {
		return nil, err
	}
	return &Transport{Type: TransportHTTP, ServerURL: raw, Headers: headers, Auth: auth}, nil
}

// PlainHost reports whether a host is written in ASCII. Of others several are one: who looks them up takes ｓhop.example for shop.example, and who compares
// them does not.
func PlainHost(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII })
}

// AuthOAuth is the Auth of a transport whose server is told, by OAuth, for whom the agent acts.
const AuthOAuth = "oauth"

// Consents reports whether a tool's server is used with the consent of whoever the session serves.
func (t Tool) Consents() bool { return t.Transport != nil && t.Transport.Auth == AuthOAuth }

// stdio reads a command. The label alone names a server that the operator configured, which means the
// same as no transport; everything else is a command line of the client's choice, which runs in the
// session's environment and nowhere else.
func (r Rules) stdio(label, origin string, o param.Object) (*Transport, error) {
	t, err := command(o)
	if err != nil {
		return nil, err
	}
	own := t.Command == label && slices.Contains(r.Labels, label) && origin != OriginEnvironment
	switch {
	case own && len(t.Args) == 0 && len(t.EnvVars) == 0 && t.Cwd == "":
		return nil, nil
	case r.Environments:
		return t, nil
	case len(t.Args) > 0:
		return nil, r.operatorOnly(o.Path("args"))
	case len(t.EnvVars) > 0:
		return nil, r.operatorOnly(o.Path("env_vars"))
	case t.Cwd != "":
		return nil, r.operatorOnly(o.Path("cwd"))
	}
	return nil, r.operatorOnly(o.Path("command"))
}

// command reads a stdio transport. Values of variables may be secrets and would stand in the journal,
// so a transport only names variables, whose values the environment has.
func command(o param.Object) (*Transport, error) {
	values, _, err := o.StringMap("env")
	if err != nil {
		return nil, err
	}
	if len(values) > 0 {
		e := stead.Invalid(o.Path("env"), "%s may hold secrets, and secrets never enter a session's journal", o.Path("env"))
		e.Hint = "Give the values to the environment (its env), and the names to env_vars."
		return nil, e
	}
	t := &Transport{Type: TransportStdio}
	if t.Command, err = param.Need(o.String("command"))(o.Path("command")); err != nil {
		return nil, err
	}
	if t.Args, _, err = o.Strings("args"); err != nil {
		return nil, err
	}
	if t.EnvVars, _, err = o.Strings("env_vars"); err != nil {
		return nil, err
	}
	if t.Cwd, _, err = o.String("cwd"); err != nil {
		return nil, err
	}
	return t, t.checkCommand(o)
}

func (t *Transport) checkCommand(o param.Object) error {
	size := len(t.Command) + len(t.Cwd)
	for _, list := range [][]string{t.Args, t.EnvVars} {
		for _, s := range list {
			size += len(s)
		}
	}
	switch {
	case t.Command == "" || strings.ContainsRune(t.Command, 0):
		return stead.Invalid(o.Path("command"), "%s must name a program", o.Path("command"))
	case t.Cwd != "" && (!path.IsAbs(t.Cwd) || strings.ContainsRune(t.Cwd, 0)):
		return stead.Invalid(o.Path("cwd"), "%s must be an absolute directory of the environment", o.Path("cwd"))
	case len(t.Args) > MaxCommandArgs:
		return stead.Invalid(o.Path("args"), "%s has %d entries, the limit is %d", o.Path("args"), len(t.Args), MaxCommandArgs)
	case len(t.EnvVars) > MaxCommandEnvVars:
		return stead.Invalid(o.Path("env_vars"), "%s has %d entries, the limit is %d", o.Path("env_vars"), len(t.EnvVars), MaxCommandEnvVars)
	case size > MaxCommandBytes:
		return stead.Invalid(o.Path("command"), "%s and its arguments have %d bytes, the limit is %d", o.Path("command"), size, MaxCommandBytes)
	}
	for i, a := range t.Args {
		if strings.ContainsRune(a, 0) {
			return stead.Invalid(param.Index(o.Path("args"), i), "%s must not hold a NUL", param.Index(o.Path("args"), i))
		}
	}
	for i, name := range t.EnvVars {
		if !variableName().MatchString(name) {
			return stead.Invalid(param.Index(o.Path("env_vars"), i), "%s %.80q is no name of a variable", param.Index(o.Path("env_vars"), i), name)
		}
	}
	return nil
}

func (r Rules) operatorOnly(path string) error {
	e := stead.Invalid(path, "%s: only the operator's configuration starts processes of this server; a stdio transport names one of its servers by label, as command and as server_label", path)
	e.Hint = r.labelHint()
	return e
}

func (r Rules) labelHint() string {
	if len(r.Labels) == 0 {
		return "No tool server is configured: add it to mcp_servers in the server's configuration, or send an http transport."
	}
	return "Configured servers: " + strings.Join(r.Labels, ", ") + "."
}

func secret(path string) error {
	e := stead.Invalid(path, "%s holds a secret, and secrets never enter a session's journal", path)
	e.Hint = "Put it into a vault, as a credential for the server's URL, and give the session vault_ids; or into the operator's configuration (mcp_servers)."
	return e
}

// secretName reports whether a header, query or metadata name says that its value is a secret.
func secretName(name string) bool {
	n := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	switch n {
	case "authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x-auth", "auth":
		return true
	}
	for _, part := range []string{"token", "secret", "password", "api-key", "apikey", "credential", "private-key", "access-key"} {
		if strings.Contains(n, part) {
			return true
		}
	}
	return false
}
