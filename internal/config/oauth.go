package config

import (
	"fmt"
	"net"
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
	// Servers are the tool servers that it is for, by their origin, or a URL with what is below it.
	Servers []string `yaml:"servers"`
	// Audiences are what its tokens say that they are for (aud), where that is not the tool server's URL.
	Audiences []string `yaml:"audiences"`
}

const (
	// MaxOAuthClients bounds OAuth.Clients.
	MaxOAuthClients = 256
	// MaxOAuthScopes bounds OAuthClient.Scopes.
	MaxOAuthScopes = 64
	// MaxOAuthServers bounds OAuthClient.Servers, and its Audiences.
	MaxOAuthServers = 256
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
		case u.Scheme == "http" && !Loopback(net.JoinHostPort(u.Hostname(), "0")):
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
		if err := o.checkServers(at); err != nil {
			return err
		}
	}
	return nil
}

// checkServers refuses a client that is for any server: whose metadata names the issuer, would get its tokens.
func (o OAuthClient) checkServers(at string) error {
	const hint = "Name the tool servers that get its tokens, by their origin: servers: [https://tickets.example]."
	switch {
	case len(o.Servers) == 0:
		return invalid(at+".servers", hint, "%s has no servers: any tool server could name its issuer, and get its users' tokens", at)
	case len(o.Servers) > MaxOAuthServers:
		return invalid(at+".servers", "Remove some.", "%s has %d servers: at most %d", at, len(o.Servers), MaxOAuthServers)
	case len(o.Audiences) > MaxOAuthServers:
		return invalid(at+".audiences", "Remove some.", "%s has %d audiences: at most %d", at, len(o.Audiences), MaxOAuthServers)
	case slices.Contains(o.Audiences, ""):
		return invalid(at+".audiences", "Write what the authorization server puts into aud: [api://tickets].", "%s.audiences has an empty one", at)
	}
	for i, s := range o.Servers {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" || u.Scheme != "https" && (u.Scheme != "http" || !Loopback(net.JoinHostPort(u.Hostname(), "0"))) {
			return invalid(fmt.Sprintf("%s.servers[%d]", at, i), hint, "%s.servers[%d] is no https:// address of a tool server", at, i)
		}
	}
	return nil
}

// twice reports whether two clients are for one issuer and project.
func (o OAuthClient) twice(other OAuthClient) bool {
	shared := len(o.Projects) == 0 || len(other.Projects) == 0 || slices.ContainsFunc(o.Projects, func(p string) bool { return slices.Contains(other.Projects, p) })
	return shared && strings.TrimSuffix(o.Issuer, "/") == strings.TrimSuffix(other.Issuer, "/")
}
