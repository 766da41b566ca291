package main

import (
	"cmp"
	"time"

	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/identity/workload"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/server"
)

// openWorkloads makes the issuer of agents' tokens and what uses them; nil, nil where agents have none.
func (n *node) openWorkloads(documents document.Store, keys *seal.Keys, gate policy.Authorizer) (server.Issuer, runner.Workloads) {
	cfg := n.cfg
	if !cfg.Identity.On() {
		return nil, nil
	}
	issuer := workload.New(workload.Config{
		TrustDomain: cfg.Identity.TrustDomain, URL: cfg.Identity.Issuer, Algorithm: cfg.Identity.Algorithm, Audiences: cfg.Identity.ExchangeAudiences, Documents: documents, Keys: keys, Policy: gate, Now: time.Now,
		SignFor: time.Duration(cfg.Identity.KeyDays) * 24 * time.Hour,
	})
	var v *workload.Variable
	if e := cfg.Identity.Environments; e != nil {
		v = &workload.Variable{Hosts: e.Hosts, Use: workload.Use{Name: e.Variable, Form: workload.Form(e.Auth), Audience: e.Audience}}
	}
	n.workloads = workload.NewWorkloads(issuer, identifiedServers(cfg), v)
	return issuer, n.workloads
}

// identifiedServers are the operator's tool servers that are told who asks.
func identifiedServers(cfg *config.Config) map[string]workload.Server {
	servers := map[string]workload.Server{}
	for _, s := range cfg.Servers {
		if s.Auth != "" {
			servers[s.Label] = workload.Server{URL: s.URL, Use: workload.Use{Name: s.Label, Form: workload.Form(s.Auth), Audience: cmp.Or(s.Audience, s.URL)}}
		}
	}
	return servers
}
