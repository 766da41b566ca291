// Package oauth is a client's side of OAuth for tool servers: it finds out where a server's users say yes or no, becomes a
// client there, and writes the address at which a user is asked. It keeps nothing.
//
// Shape:
//
//	401 + WWW-Authenticate ─▶ Discover ─▶ Server{resource, issuer, endpoints, scopes}
//	                          Register ─▶ Registration{id, secret}     where nobody has registered us by hand
//	                          Document ─▶ what our own URL says of us, where that is a client
//	                          Server.Ask ─▶ the URL for the user's browser (code, PKCE S256, state, resource)
//	                          Server.Answered ─▶ whether an answer is this issuer's
//
// What servers say is believed only where it is about themselves: a resource's metadata must name the URL that was refused; or what
// stands above it at the same origin, where it is that resource's own metadata, at the well-known place that is derived of it, which
// whoever has a path of a shared host does not write (RFC 9728, 3.3). An issuer's must name the issuer that was looked for. So a
// server can have tokens made for itself alone, or for what its host says that it is a part of.
//
// Every URL is one that a stranger gives. The HTTP client must refuse addresses that users may not reach, and must not follow
// redirects.
//
// Units and limits: the constants below.
//
// Errors: KindUnavailable for what can't be reached now, KindUpstream for what is said there and can't be used, and those of the
// client's guard. None quotes an answer.
//
// Source: Model Context Protocol 2025-11-25, authorization; RFC 6749, 7591, 7636, 8414, 8707, 9207, 9728; OpenID Connect
// Discovery 1.0; draft-ietf-oauth-client-id-metadata-document.
package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// Limits.
const (
	// MaxMetadataBytes bounds a document that describes a server, and the answer to a registration.
	MaxMetadataBytes = 256 << 10
	// MaxScopes and MaxScopeBytes bound what a user is asked for.
	MaxScopes     = 64
	MaxScopeBytes = 4096
	// MaxURLBytes bounds each URL.
	MaxURLBytes = 4096
	// Timeout bounds one request.
	Timeout = 10 * time.Second
)

// Server is where the users of a tool server say yes or no.
type Server struct {
	Resource  string   `json:"resource"` // what tokens are for (RFC 8707)
	Issuer    string   `json:"issuer"`
	Authorize string   `json:"authorize"` // URL
	Token     string   `json:"token"`     // URL
	Register  string   `json:"register,omitempty"`
	Methods   []string `json:"methods,omitempty"` // in which clients prove who they are, as RFC 7591 names them; nil: not said
	Scopes    []string `json:"scopes,omitempty"`  // to ask for; nil: what is usual there
	// Documents: a client may be the URL of a document that describes it, so that nobody is registered.
	Documents bool `json:"documents,omitempty"`
	// SaysIssuer: answers carry iss, and one without is none (RFC 9207).
	SaysIssuer bool `json:"says_issuer,omitempty"`
}

// Ask is the address at which a user is asked.
func (s Server) Ask(client, redirect, state, verifier string) (string, error) {
	u, err := url.Parse(s.Authorize)
	if err != nil {
		return "", unusable("the authorization server's address can't be used")
	}
	sum := sha256.Sum256([]byte(verifier))
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": client, "redirect_uri": redirect, "state": state, "resource": s.Resource,
		"code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256", "scope": strings.Join(s.Scopes, " "),
	} {
		q.Del(name)
		if value != "" {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Answered reports whether an answer with this iss ("": it has none) is the issuer's. Without the check a server could have
// another one's codes brought to itself.
func (s Server) Answered(iss string) bool {
	if iss == "" {
		return !s.SaysIssuer
	}
	return iss == s.Issuer
}

// unusable is the error of what a server says and that can't be used.
func unusable(format string, args ...any) *stead.Error {
	return stead.Errorf(stead.KindUpstream, format, args...)
}

// checked parses a URL that tokens, codes or users are sent to: https, or this machine's own.
func checked(raw string) (*url.URL, bool) {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > MaxURLBytes || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, false
	}
	return u, u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// origin is scheme, host and port of a URL, so that equal ones are the same text.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// path is a URL's, where a slash at its end does not count.
func path(u *url.URL) string { return strings.TrimSuffix(u.EscapedPath(), "/") }

// same reports whether two URLs name one resource.
func same(a, b *url.URL) bool {
	return origin(a) == origin(b) && path(a) == path(b) && a.RawQuery == b.RawQuery
}

// above reports whether a resource is the server itself, or stands above it at its origin.
func above(resource, server *url.URL) bool {
	if origin(resource) != origin(server) || resource.RawQuery != "" && resource.RawQuery != server.RawQuery {
		return false
	}
	return strings.HasPrefix(path(server)+"/", path(resource)+"/") && !slices.Contains(strings.Split(server.Path, "/"), "..")
}

// Covers reports whether a URL is one that the operator names, which may be an origin, or a path with all that is below it.
func Covers(named, server string) bool {
	n, ok := checked(named)
	s, fine := checked(server)
	return ok && fine && above(n, s)
}

const wellKnown = "/.well-known/oauth-protected-resource"

// own reports whether a place is the well-known one of a resource.
func own(place string, resource *url.URL) bool {
	u, ok := checked(place)
	return ok && resource.RawQuery == "" && u.RawQuery == "" && origin(u) == origin(resource) && path(u) == wellKnown+path(resource)
}

// Meant reports whether a token is for the resource that it was asked for, by whom it says that it is for (RFC 9068, aud). An
// authorization server may have other words for a resource (RFC 8707, 2): those that the operator knows are in also.
func (s Server) Meant(aud, also []string) bool {
	resource, ok := checked(s.Resource)
	return ok && slices.ContainsFunc(aud, func(a string) bool {
		u, is := checked(a)
		return slices.Contains(also, a) || is && same(u, resource)
	})
}

// scopes are those to ask for, if they can be sent.
func scopes(list []string) []string {
	var out []string
	size := 0
	for _, s := range list {
		if size += len(s) + 1; len(out) == MaxScopes || size > MaxScopeBytes {
			return out
		}
		// RFC 6749, 3.3: NQCHAR
		if s != "" && !slices.Contains(out, s) && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' }) {
			out = append(out, s)
		}
	}
	return out
}
