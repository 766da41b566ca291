package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// OAuth is how this server is known where users of tool servers give their consent. Where it is not, it registers itself, if the
// authorization server lets it.
type OAuth struct {
	Clients []OAuthClient `yaml:"clients"`
}

// OAuthClient is a client that the operator registered at an authorization server.
type OAuthClient struct {
	Issuer string   `yaml:"issuer"` // as its metadata says it
	ID     string   `yaml:"client_id"`
	Secret string   `yaml:"client_secret"` // "": it is a public client
	Scopes []string `yaml:"scopes"`        // to ask for; nil: what the tool server says
	// Projects have it; none: all.
	Projects []string `yaml:"projects"`
}

const (
	// MaxOAuthClients bounds OAuth.Clients.
	MaxOAuthClients = 256
	// MaxOAuthScopes bounds OAuthClient.Scopes.
	MaxOAuthScopes = 64
)

func (c *Config) checkOAuth() error {
	if len(c.OAuth.Clients) > MaxOAuthClients {
		return invalid("oauth.clients", "Remove some.", "%d clients are more than the limit of %d", len(c.OAuth.Clients), MaxOAuthClients)
	}
	for i, o := range c.OAuth.Clients {
		at := fmt.Sprintf("oauth.clients[%d]", i)
		u, err := url.Parse(o.Issuer)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http":
			return invalid(at+".issuer", "Write the authorization server's issuer: https://login.example.", "%s.issuer must be an https:// address", at)
		case u.Scheme == "http" && !Loopback(u.Hostname()+":0"):
			return invalid(at+".issuer", "http is for this machine's own addresses.", "%s.issuer must be an https:// address", at)
		case slices.ContainsFunc(c.OAuth.Clients[:i], o.twice):
			return invalid(at+".issuer", "Remove one of them, or give each its own projects.", "%s: two clients are for the issuer %q", at, o.Issuer)
		case o.ID == "":
			return invalid(at+".client_id", "Write what the authorization server gave when you registered there.", "%s has no client_id", at)
		case len(o.Scopes) > MaxOAuthScopes:
			return invalid(at+".scopes", "Remove some.", "%s has %d scopes: at most %d", at, len(o.Scopes), MaxOAuthScopes)
		}
		if err := checkAllowed(at, "projects", o.Projects); err != nil {
			return err
		}
	}
	return nil
}

// twice reports whether two clients are for one issuer and project.
func (o OAuthClient) twice(other OAuthClient) bool {
	shared := len(o.Projects) == 0 || len(other.Projects) == 0 || slices.ContainsFunc(o.Projects, func(p string) bool { return slices.Contains(other.Projects, p) })
	return shared && strings.TrimSuffix(o.Issuer, "/") == strings.TrimSuffix(other.Issuer, "/")
}
