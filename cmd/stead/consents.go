package main

import (
	"context"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool/mcp"
)

// openConsents makes what asks users for their consent, and ends for as long as the node runs what others left behind. run is there
// once the node serves.
func (n *node) openConsents(documents document.Store, keys *seal.Keys, gate policy.Authorizer, guard mcp.Guard, services configured, run func() *runner.Runner) *consent.Service {
	s := consent.NewService(consent.Config{
		Documents: documents, Keys: keys, Policy: gate, Vaults: services.vaults, Now: time.Now, HTTP: named(guard), Base: n.publicURL(), Clients: consentClients(n.cfg), Log: n.log,
		Waits: func(ctx context.Context, key stead.SessionKey, id string) (policy.Request, bool, error) {
			return run().ConsentWaits(ctx, key, id)
		},
		Tell: func(ctx context.Context, o consent.Outcome) (bool, error) {
			return run().ConsentEnded(ctx, o.Session, session.ConsentResult{Consent: o.Consent, Decision: string(o.Status), Reason: o.Reason, By: o.By})
		},
	})
	return s
}

// consentClients are the operator's at authorization servers.
func consentClients(cfg *config.Config) []consent.Client {
	var out []consent.Client
	for _, c := range cfg.OAuth.Clients {
		out = append(out, consent.Client{Issuer: c.Issuer, ID: c.ID, Secret: c.Secret, Scopes: c.Scopes, Projects: projectIDs(c.Projects), Servers: c.Servers, Audiences: c.Audiences})
	}
	return out
}

// tendConsents sweeps until the node stops, which is before the runner does.
func (n *node) tendConsents(s *consent.Service) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		every(ctx, consent.SweepEvery, func() {
			if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				n.log.Warn("look after consents", "err", err)
			}
		})
	}()
	n.onStop(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

// askConsent is a consent.Service as the runner wants it.
func askConsent(s *consent.Service) func(ctx context.Context, req policy.Request, vault, label, serverURL string, challenge []string) (session.ConsentNeeded, error) {
	return func(ctx context.Context, req policy.Request, vault, label, serverURL string, challenge []string) (session.ConsentNeeded, error) {
		p, err := s.Ask(ctx, consent.Question{Request: req, Vault: vault, Label: label, ServerURL: serverURL, Challenge: challenge})
		return session.ConsentNeeded{Consent: p.ID, Server: label, ServerURL: serverURL, Issuer: p.Issuer, Scope: p.Scope, ExpiresAt: p.ExpiresAt}, err
	}
}

// publicURL is where others reach this server.
func (n *node) publicURL() string {
	if n.cfg.PublicURL != "" {
		return strings.TrimSuffix(n.cfg.PublicURL, "/")
	}
	return n.base
}
