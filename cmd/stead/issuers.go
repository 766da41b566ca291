package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/identity/token"
)

// openTokens makes what believes tokens of identity providers; nil without any.
func openTokens(a config.Auth) (*token.Authenticator, error) {
	if a.Mode != config.AuthOIDC {
		return nil, nil
	}
	if token.Looks(a.RootKey) {
		e := stead.Invalid("auth.root_key", "auth.root_key looks like a token, and would be taken for one")
		e.Hint = "Make one with: head -c 32 /dev/urandom | base64"
		return nil, e
	}
	var issuers []token.Issuer
	for n, i := range a.Issuers {
		is, err := issuerOf(fmt.Sprintf("auth.issuers[%d]", n), i)
		if err != nil {
			return nil, err
		}
		issuers = append(issuers, is)
	}
	return token.New(issuers, &http.Client{}, time.Now), nil
}

func issuerOf(at string, i config.Issuer) (token.Issuer, error) {
	is := token.Issuer{
		URL: i.URL, Audiences: i.Audiences, Prefix: i.Prefix, Project: stead.ProjectID(i.Project), ProjectClaim: i.ProjectClaim,
		Skew: time.Duration(i.ClockSkewSeconds) * time.Second,
	}
	for n, r := range i.Roles {
		if !slices.Contains(identity.Roles(), r.Role) {
			at := fmt.Sprintf("%s.roles[%d].role", at, n)
			e := stead.Invalid(at, "%s is %q", at, r.Role)
			e.Hint = "The roles are " + strings.Join(identity.Roles(), ", ") + "."
			return is, e
		}
		is.Rules = append(is.Rules, token.Rule{
			Claim: r.Claim, Value: r.Value, Kind: stead.PrincipalKind(cmp.Or(r.Kind, string(stead.PrincipalUser))), Role: stead.Role(r.Role), Bound: r.Bound,
		})
	}
	return is, nil
}

// checkIssuer reads an identity provider's keys.
func checkIssuer(ctx context.Context, i config.Issuer) finding {
	f := finding{Check: "issuer " + i.URL, Verdict: verdictOK, Detail: "its keys can be read"}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	is, err := issuerOf("auth.issuers", i)
	if err == nil {
		err = token.New([]token.Issuer{is}, &http.Client{}, time.Now).Try(ctx)
	}
	if err != nil {
		f.Verdict, f.Detail = verdictFail, oneLine(err.Error(), 300)
		f.Remedy = "Nobody comes in with its tokens meanwhile. url must be what its tokens say as iss, and this machine must reach URL/.well-known/openid-configuration."
	}
	return f
}
