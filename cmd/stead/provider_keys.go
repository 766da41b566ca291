package main

import (
	"context"
	"net/url"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/model/upstream"
	"github.com/stead-dev/stead/internal/policy"
)

// keyring opens a provider's key in a vault for a request to a URL; nil: there are no vaults.
type keyring func(ctx context.Context, at config.VaultKey, to *url.URL) (string, error)

func (k keyring) of(at config.VaultKey) upstream.KeySource {
	return func(ctx context.Context, to *url.URL) (string, error) { return k(ctx, at, to) }
}

// providerKey implements keyring. Models are there before the database is, and no call is made in between.
func (n *node) providerKey(ctx context.Context, at config.VaultKey, to *url.URL) (string, error) {
	vaults := n.vaults.Load()
	if vaults == nil {
		return "", stead.Errorf(stead.KindUnavailable, "the vaults are not open yet")
	}
	project := stead.ProjectID(at.Project)
	if project == "" {
		project = stead.DefaultProject
	}
	// The server acts for itself: that a model may be called was decided before.
	ask := func(context.Context) (policy.Request, error) {
		return policy.Request{Principal: stead.Principal{Project: project, Kind: stead.PrincipalService, ID: "server"}}, nil
	}
	return vaults.Key(ctx, project, at.Vault, at.Credential, to, ask)
}
