package workload

import (
	"context"
	"sync/atomic"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/tool"
)

// Server is a tool server of the operator's that is told who asks.
type Server struct {
	Use
	URL string
}

// Variable is a variable of environments whose value becomes a token on its way out, towards some hosts.
type Variable struct {
	Use
	Hosts []string // names, without scheme and port
}

// Workloads are the uses that a configuration has for the tokens of an issuer.
type Workloads struct {
	issuer   *Issuer
	servers  atomic.Pointer[map[string]Server] // label → what it wants
	variable *Variable                         // nil: environments have none
}

// NewWorkloads makes them.
func NewWorkloads(i *Issuer, servers map[string]Server, v *Variable) *Workloads {
	w := &Workloads{issuer: i, variable: v}
	w.Replace(servers)
	return w
}

// Replace puts others in the place of the servers.
func (w *Workloads) Replace(servers map[string]Server) { w.servers.Store(&servers) }

// Server is the credential of a session for a tool server of the configuration; nil: that wants none.
func (w *Workloads) Server(label string, key stead.SessionKey, about About) tool.Credential {
	s, ok := (*w.servers.Load())[label]
	if !ok {
		return nil
	}
	return &credential{w.issuer, s.Use, key, stead.HostPort(s.URL), about}
}

// credential implements tool.Credential.
type credential struct {
	issuer *Issuer
	use    Use
	key    stead.SessionKey
	to     string
	about  About
}

// Key implements tool.Credential: no two sessions share a connection, whose server may take it for one caller's.
func (c *credential) Key() string {
	return string(c.key.Project) + "\x00" + string(c.key.Session) + "\x00" + c.use.Name
}

// Consents implements tool.Credential.
func (c *credential) Consents() bool { return false }

// Token implements tool.Credential.
func (c *credential) Token(ctx context.Context, refused string) (string, error) {
	return c.issuer.use(ctx, c.use, c.about, c.to, refused)
}

// Variables are what an environment has of a session's tokens: code has a placeholder, and the way out puts the token in its
// place.
func (w *Workloads) Variables(about About) []environment.Credential {
	if w.variable == nil {
		return nil
	}
	var last atomic.Pointer[string] // the token that was sent last: answers may repeat it
	var changes atomic.Uint64
	v := environment.Credential{
		Variable: w.variable.Name, Changes: changes.Load,
		Value: func(ctx context.Context, to string) (string, error) {
			text, err := w.issuer.use(ctx, w.variable.Use, about, to, "")
			if err != nil {
				return "", err
			}
			if was := last.Swap(&text); was == nil || *was != text {
				changes.Add(1)
			}
			return text, nil
		},
		Mask: func(context.Context) (string, error) {
			if text := last.Load(); text != nil {
				return *text, nil
			}
			return "", nil
		},
	}
	for _, name := range w.variable.Hosts {
		v.Hosts = append(v.Hosts, environment.SecretHosts(name)...)
	}
	return []environment.Credential{v}
}
