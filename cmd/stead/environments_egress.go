package main

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/host"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
)

// egressOf is the operator's part of every way out. It is tried at once: what is wrong with it would
// otherwise be found by the first agent whose environment is opened.
func egressOf(e config.Egress) (host.Egress, error) {
	out := host.Egress{Private: e.Private, Limits: egress.Limits(e.Limits)}
	trial := egress.Config{
		Policy:   egress.Policy{Access: egress.AccessEnabled, Private: out.Private, Limits: out.Limits},
		Recorder: func(context.Context, egress.Record) error { return nil },
	}
	for _, k := range e.Credentials {
		value := func(context.Context, string) (string, error) { return k.Value, nil }
		mask := func(context.Context) (string, error) { return k.Value, nil }
		out.Credentials = append(out.Credentials, environment.Credential{Variable: k.Variable, Hosts: k.Hosts, Value: value, Mask: mask})
		trial.Credentials = append(trial.Credentials, egress.Credential{Name: k.Variable, Placeholder: egress.NewPlaceholder(k.Variable), Hosts: k.Hosts, Value: value, Mask: mask})
	}
	if e.Proxy != "" {
		u, err := url.Parse(e.Proxy)
		if err != nil {
			return out, stead.Wrap(stead.KindInvalid, err, "environments.egress.proxy can't be read")
		}
		out.Proxy = func(c *egress.Config) { c.Upstream = u }
		out.Proxy(&trial)
	}
	p, err := egress.New(trial)
	if err != nil {
		return out, asConfigured(err)
	}
	return out, p.Close(context.Background())
}

// asConfigured names the field of the configuration in which a field of the way out is wrong.
func asConfigured(err error) error {
	wrong, ok := errors.AsType[*stead.Error](err)
	if !ok {
		return err
	}
	named := *wrong
	field := strings.TrimPrefix(wrong.Param, "network.")
	if field == "upstream" {
		field = "proxy"
	}
	named.Param = "environments.egress." + field
	named.Message = named.Param + ": " + wrong.Message
	return &named
}

// askAbout asks policies about a connection out of a session's environment. CONNECT, which begins a tunnel, is no request's method.
func askAbout(ctx context.Context, run *runner.Runner, k stead.SessionKey, r egress.Record) error {
	to := policy.Connection{Port: r.Port, Kind: r.Kind}
	if r.Kind == egress.KindRequest {
		to.Method, to.Path, to.Query = r.Method, r.Path, r.Query
	}
	d, err := run.AllowConnection(ctx, k, r.Host, r.To(), to)
	if err != nil && d.Quotes != "" {
		err = quoting{err, d.Quotes, d.About}
	}
	return err
}

// watchConnection ends a connection out of a session's environment when a kill switch is set on where it leads. Switches on whom it is for end
// the environment, with all of its connections.
func (n *node) watchConnection(k stead.SessionKey, r egress.Record, end func(error)) (done func()) {
	return n.switches.WatchBy(end, policy.Request{Principal: stead.Principal{Project: k.Project}, Effect: policy.NetworkConnect, Session: k, Resource: r.Host, Destination: r.To()})
}

// quoting is a refusal that repeats somebody's words: whose they are, and whom they are about.
type quoting struct {
	error
	of, about string
}

func (q quoting) Unwrap() error { return q.error }
