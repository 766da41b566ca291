package main

import (
	"cmp"
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/killswitch"
	"github.com/stead-dev/stead/internal/policy"
)

// reach is by which other names models and tool servers can be had.
func (n *node) reach() killswitch.Reach {
	n.places.Store(serverPlaces(n.cfg))
	return killswitch.Reach{
		Model:  func(asked, of string) bool { return n.models.Answers(asked, of) },
		Server: func(label string) string { return (*n.places.Load())[label] },
	}
}

// serverPlaces are the hosts of the operator's tool servers, by their labels.
func serverPlaces(cfg *config.Config) *map[string]string {
	out := map[string]string{}
	for _, s := range cfg.Servers {
		if s.URL != "" {
			out[s.Label] = stead.HostPort(s.URL)
		}
	}
	return &out
}

// stoppedCaller refuses the calls of the API of who was stopped, and records them: what is repeated with its number. Who is not stopped was seen.
func (n *node) stoppedCaller(switches *killswitch.Switches, withdrawn *identity.Withdrawn, refusals *audit.Refusals) func(context.Context, stead.Principal) error {
	return func(ctx context.Context, p stead.Principal) error {
		sw, err := switches.Call(ctx, p)
		if err == nil && sw == nil && n.cfg.Auth.Mode != config.AuthNone {
			err = withdrawn.Seen(ctx, p)
		}
		if err != nil || sw == nil {
			return err
		}
		refused, call := sw.Err(), audit.CallOf(ctx)
		err = refusals.Refused(ctx, audit.Record{
			At: time.Now().UnixMilli(), Project: p.Project, Principal: audit.Principal{Kind: p.Kind, ID: p.ID, Role: p.Role, Key: call.Key}, Session: p.Session,
			Action: audit.ActCall, Decision: audit.Deny, By: "kill_switch", Reason: refused.Error(), Quotes: cmp.Or(sw.By, policy.QuotesSomebody), About: sw.About(), Policies: []string{sw.ID}, Request: call.Request, From: call.From, Detail: call.Act,
		})
		if err != nil {
			n.log.Error("an audit record could not be stored; the call is refused all the same", "action", audit.ActCall, "principal", p.ID, "err", err)
		}
		return refused
	}
}
