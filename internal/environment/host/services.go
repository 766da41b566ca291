package host

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/template"
	"github.com/stead-dev/stead/internal/volume"
)

// Kinds of fact that stand in the session's journal for each connection: before its first byte
// leaves, and when it has ended.
const (
	NoteEgressDecided = "egress.decided"
	NoteEgressEnded   = "egress.ended"
)

// openServices makes the sockets that lead out of an environment, and says in the spec what commands
// must know of them.
func (h *Host) openServices(b *box, cfg template.Config, from environment.State, spec *environment.Spec) error {
	if err := emptyDir(b.place.services()); err != nil {
		return err
	}
	if err := h.openTools(b, from.Tools, spec); err != nil {
		return err
	}
	network := cfg.Effective().Network
	if !wayOut(network) {
		return nil
	}
	return h.openEgress(b, h.policyOf(network), from.Note, from.Credentials, spec)
}

// openEgress serves the proxy of an environment. own are the credentials of its session.
func (h *Host) openEgress(b *box, policy egress.Policy, note environment.Note, own []environment.Credential, spec *environment.Spec) error {
	c := egress.Config{Policy: policy, Log: h.log, Recorder: func(ctx context.Context, r egress.Record) error {
		if r.Phase == egress.PhaseEnded {
			return note(ctx, NoteEgressEnded, r)
		}
		if h.cfg.Egress.Audit != nil {
			if err := h.cfg.Egress.Audit(ctx, b.key, r); err != nil {
				return err
			}
		}
		return note(ctx, NoteEgressDecided, r)
	}}
	if h.cfg.Egress.Ask != nil {
		c.Ask = func(ctx context.Context, r egress.Record) error { return h.cfg.Egress.Ask(ctx, b.key, r) }
	}
	if h.cfg.Egress.Watch != nil {
		c.Watch = func(r egress.Record, end func(error)) func() { return h.cfg.Egress.Watch(b.key, r, end) }
	}
	env, err := h.placeholders(own, policy, spec.Env, &c)
	if err != nil {
		return err
	}
	if h.cfg.Egress.Proxy != nil {
		h.cfg.Egress.Proxy(&c)
	}
	proxy, err := egress.New(c)
	if err != nil {
		return err
	}
	// Always, since some programs trust only what they bring along, and a company has authorities of
	// its own.
	if roots := proxy.CAFile(hostRoots()); len(roots) > 0 {
		if err := os.WriteFile(filepath.Join(b.place.services(), environment.CAFile), roots, 0o644); err != nil { //nolint:gosec // for every user of the environment
			return unavailable(err, "write the authorities of an environment")
		}
	}
	l, err := listenIn(b.place.services(), environment.EgressSocket)
	if err != nil {
		return err
	}
	b.proxy = proxy
	spec.Env, spec.Egress = env, true
	go func() {
		if err := proxy.Serve(l); err != nil {
			h.log.Error("an egress proxy ended", "session", b.key.Session, "err", err)
		}
	}()
	return nil
}

// placeholders adds the credentials to a way out, and returns the variables with their placeholders. A
// session's own credential hides the operator's of that name, and a plain value of it; the operator's hides
// nothing.
func (h *Host) placeholders(own []environment.Credential, policy egress.Policy, vars map[string]string, c *egress.Config) (map[string]string, error) {
	env := maps.Clone(vars)
	if env == nil {
		env = map[string]string{}
	}
	add := func(k environment.Credential) string {
		placeholder := egress.NewPlaceholder(k.Variable)
		c.Credentials = append(c.Credentials, egress.Credential{
			Name: k.Variable, Placeholder: placeholder, Hosts: k.Hosts, Value: k.Value, Mask: k.Mask, Changes: k.Changes,
		})
		return placeholder
	}
	for _, k := range own {
		if k.Hosts == nil {
			if k.Hosts = namesIn(policy); len(k.Hosts) == 0 {
				e := stead.Errorf(stead.KindInvalid, "the credential for %s goes wherever the environment's allowed domains lead, and it has none", k.Variable)
				e.Hint = `Give the environment a network with access "restricted" and allowed_domains, or the credential allowed_hosts.`
				return nil, e
			}
		}
		env[k.Variable] = add(k)
	}
	for _, k := range h.cfg.Egress.Credentials {
		if slices.ContainsFunc(own, func(o environment.Credential) bool { return o.Variable == k.Variable }) {
			continue
		}
		if placeholder := add(k); env[k.Variable] == "" {
			env[k.Variable] = placeholder
		}
	}
	return env, nil
}

// namesIn are the names that a restricted network allows, at the ports of HTTPS where it names none.
func namesIn(p egress.Policy) []string {
	if p.Access != egress.AccessRestricted {
		return nil
	}
	var out []string
	for _, allowed := range p.Allowed {
		name := strings.TrimSuffix(allowed, ":*")
		if ap, err := netip.ParseAddrPort(name); err == nil && ap.IsValid() {
			continue // a secret goes to names
		}
		if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
			continue
		}
		if strings.Contains(allowed, ":") {
			out = append(out, allowed)
			continue
		}
		out = append(out, environment.SecretHosts(allowed)...)
	}
	return out
}

// closeServices ends what the sockets of an environment lead to.
func (h *Host) closeServices(ctx context.Context, b *box) {
	b.closeTools()
	if b.proxy == nil {
		return
	}
	if err := b.proxy.Close(ctx); err != nil {
		h.log.Warn("an egress proxy did not close in order", "session", b.key.Session, "err", err)
	}
}

// dialer connects by the rules of a session's environment.
func (h *Host) dialer(key stead.SessionKey) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		env, err := h.find(key)
		if err != nil {
			return nil, err
		}
		if d, ok := env.(interface {
			Dial(ctx context.Context, network, address string) (net.Conn, error)
		}); ok {
			return d.Dial(ctx, network, address)
		}
		b, err := h.box(key)
		if err != nil {
			return nil, err
		}
		if b.proxy == nil {
			return nil, stead.Errorf(stead.KindForbidden, "the environment has no network (network.access is disabled)")
		}
		return b.proxy.DialContext(ctx, network, address)
	}
}

// listenIn serves a unix socket in a directory. The path of a socket is short by law of the kernel,
// and a data directory need not be: the directory is named by its descriptor.
func listenIn(dir, name string) (net.Listener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, unavailable(err, "open the services of an environment")
	}
	defer d.Close()
	at := filepath.Join(dir, name)
	if short := "/proc/self/fd/" + strconv.Itoa(int(d.Fd())); isDir(short) {
		at = filepath.Join(short, name)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		return nil, volume.Fault(err, dir, "serve a socket of an environment")
	}
	l.SetUnlinkOnClose(false) // its path means another directory later
	// The inside has users of its own; from outside only the owner of the data directory gets here.
	if err := os.Chmod(filepath.Join(dir, name), 0o666); err != nil { //nolint:gosec // see above
		return nil, errors.Join(unavailable(err, "serve a socket of an environment"), l.Close())
	}
	return l, nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// emptyDir makes a directory, or removes what is in it.
func emptyDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable(err, "clear the services of an environment")
	}
	return unavailable(os.MkdirAll(dir, 0o755), "make the services of an environment") //nolint:gosec // for every user of the environment
}

// hostRoots are the public authorities that this machine trusts, as PEM.
func hostRoots() []byte {
	for _, name := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"} {
		if data, err := os.ReadFile(name); err == nil {
			return data
		}
	}
	return nil
}
