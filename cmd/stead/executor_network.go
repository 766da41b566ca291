package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
)

// networked gives the environments of a sandbox the way out that an executor's user allows.
type networked struct {
	environment.Provider
	policy egress.Policy
	say    func(egress.Record)
}

// allowHosts makes a sandbox whose commands reach the named hosts through a proxy of this process.
func allowHosts(sandbox environment.Provider, hosts []string, say func(egress.Record)) (environment.Provider, error) {
	policy := egress.Policy{Access: egress.AccessRestricted, Allowed: hosts}
	if len(hosts) == 1 && hosts[0] == "*" {
		policy = egress.Policy{Access: egress.AccessEnabled}
	}
	if err := policy.Validate(); err != nil {
		e := stead.Wrap(stead.KindInvalid, err, "--allow-host can't be used")
		e.Hint = "Name hosts such as pypi.org or *.npmjs.org, or * alone for every public one."
		return nil, e
	}
	return &networked{sandbox, policy, say}, nil
}

// Open implements environment.Provider.
func (n *networked) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	dir, err := os.MkdirTemp("", "stead-executor-")
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "no directory can be made for the egress proxy")
	}
	out := &wayOut{dir: dir}
	if out.proxy, err = egress.New(egress.Config{Policy: n.policy, Recorder: func(_ context.Context, r egress.Record) error { n.say(r); return nil }}); err == nil {
		err = out.listen()
	}
	if err == nil {
		spec.Services, spec.Egress = dir, true
		if out.Environment, err = n.Provider.Open(ctx, spec); err == nil {
			return out, nil
		}
	}
	return nil, errors.Join(err, out.close(ctx))
}

// wayOut is an environment with its proxy.
type wayOut struct {
	environment.Environment
	dir   string
	proxy *egress.Proxy
}

// listen serves the proxy. The sandbox's user is another than this one, so the socket is for everybody
// who can see it: the directory above is not for everybody, and only the sandbox shows it.
func (w *wayOut) listen() error {
	const everybody = 0o666
	name := filepath.Join(w.dir, environment.EgressSocket)
	l, err := net.Listen("unix", name)
	if err == nil {
		err = os.Chmod(name, everybody)
	}
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the egress proxy can't listen")
	}
	go func() { _ = w.proxy.Serve(l) }() // ends with close
	return nil
}

// Close implements environment.Environment.
func (w *wayOut) Close(ctx context.Context) error {
	return errors.Join(w.Environment.Close(ctx), w.close(ctx))
}

func (w *wayOut) close(ctx context.Context) error {
	var err error
	if w.proxy != nil {
		err = w.proxy.Close(ctx)
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}
