package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/stead-dev/stead"
)

// Discover finds out where the users of a tool server say yes or no, from what the server said when it refused a request: its
// WWW-Authenticate fields, or what it publishes at the usual places.
func Discover(ctx context.Context, hc *http.Client, serverURL string, challenge []string) (Server, error) {
	at, ok := checked(serverURL)
	if !ok {
		return Server{}, unusable("the tool server's URL is neither https nor one of this machine: nobody is asked to let an agent act there")
	}
	places, wanted := metadataPlaces(at, challenge)
	resource, err := resourceOf(ctx, hc, at, places)
	if err != nil {
		return Server{}, err
	}
	s, err := issuerOf(ctx, hc, resource.AuthorizationServers[0])
	if err != nil {
		return Server{}, err
	}
	if wanted == nil {
		wanted = resource.ScopesSupported
	}
	if slices.Contains(s.Scopes, "offline_access") { // else there would be no refresh token
		wanted = append(slices.Clone(wanted), "offline_access")
	}
	s.Resource, s.Scopes = resource.Resource, scopes(wanted)
	return s, nil
}

// metadataPlaces are where a resource's metadata may be, the likeliest first, and the scopes that the challenge names.
func metadataPlaces(at *url.URL, challenge []string) (places, scope []string) {
	said, err := oauthex.ParseWWWAuthenticate(challenge)
	if err != nil {
		said = nil // it may be wrong as a whole and the usual places right
	}
	for _, c := range said {
		if c.Scheme != "bearer" {
			continue
		}
		if u := c.Params["resource_metadata"]; u != "" {
			places = append(places, u)
		}
		if s := strings.Fields(c.Params["scope"]); len(s) > 0 && scope == nil {
			scope = s
		}
	}
	root := url.URL{Scheme: at.Scheme, Host: at.Host}
	if path := strings.TrimSuffix(at.EscapedPath(), "/"); path != "" {
		places = append(places, root.String()+wellKnown+path)
	}
	return append(places, root.String()+wellKnown), scope
}

// resourceOf reads a resource's metadata (RFC 9728). The first place decides that has some about the server: many say at their first
// place what is true of the next one, that the origin is the resource.
func resourceOf(ctx context.Context, hc *http.Client, at *url.URL, places []string) (*oauthex.ProtectedResourceMetadata, error) {
	err := unusable("the tool server refuses who has no token, and does not say where its users give one (RFC 9728)")
	for i, place := range places {
		if slices.Contains(places[:i], place) {
			continue
		}
		var m oauthex.ProtectedResourceMetadata
		found, wrong := read(ctx, hc, place, &m)
		if wrong != nil {
			return nil, wrong
		}
		if !found {
			continue
		}
		resource, ok := checked(m.Resource)
		switch {
		case !ok || !same(resource, at) && !(above(resource, at) && own(place, resource)):
			err = unusable("the tool server's metadata is about another resource than the server: its URL, or what stands above it and says so at its own well-known place (RFC 9728, 3.3)")
			continue
		case len(m.AuthorizationServers) == 0:
			return nil, unusable("the tool server's metadata names no authorization server")
		}
		return &m, nil
	}
	return nil, err
}

// issuerOf reads an authorization server's metadata (RFC 8414, OpenID Connect Discovery).
func issuerOf(ctx context.Context, hc *http.Client, issuer string) (Server, error) {
	u, ok := checked(issuer)
	if !ok || u.RawQuery != "" {
		return Server{}, unusable("the tool server's authorization server has no https URL")
	}
	root, path := url.URL{Scheme: u.Scheme, Host: u.Host}, strings.TrimSuffix(u.EscapedPath(), "/")
	places := []string{root.String() + "/.well-known/oauth-authorization-server" + path, root.String() + "/.well-known/openid-configuration" + path}
	if path != "" {
		places = append(places, root.String()+path+"/.well-known/openid-configuration")
	}
	for _, place := range places {
		var m oauthex.AuthServerMeta
		found, err := read(ctx, hc, place, &m)
		if err != nil {
			return Server{}, err
		}
		if found {
			return serverOf(m, issuer)
		}
	}
	return Server{}, unusable("the authorization server %.200s publishes no metadata (RFC 8414)", u.Host)
}

func serverOf(m oauthex.AuthServerMeta, issuer string) (Server, error) {
	if strings.TrimSuffix(m.Issuer, "/") != strings.TrimSuffix(issuer, "/") {
		return Server{}, unusable("the authorization server's metadata is about another issuer")
	}
	for _, endpoint := range []string{m.AuthorizationEndpoint, m.TokenEndpoint} {
		if _, ok := checked(endpoint); !ok {
			return Server{}, unusable("the authorization server has an endpoint without an https URL")
		}
	}
	if _, ok := checked(m.RegistrationEndpoint); m.RegistrationEndpoint != "" && !ok {
		return Server{}, unusable("the authorization server has an endpoint without an https URL")
	}
	if !slices.Contains(m.CodeChallengeMethodsSupported, "S256") {
		return Server{}, unusable("the authorization server does not say that it checks PKCE with S256 (RFC 7636)")
	}
	return Server{
		Issuer: m.Issuer, Authorize: m.AuthorizationEndpoint, Token: m.TokenEndpoint, Register: m.RegistrationEndpoint,
		Methods: m.TokenEndpointAuthMethodsSupported, Scopes: m.ScopesSupported, SaysIssuer: m.AuthorizationResponseIssParameterSupported,
		Documents: m.ClientIDMetadataDocumentSupported,
	}, nil
}

// read reads a JSON document; false: there is none there.
func read(ctx context.Context, hc *http.Client, place string, into any) (bool, error) {
	if _, ok := checked(place); !ok {
		return false, unusable("metadata is named at an address that is not https")
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return false, unusable("metadata is named at an address that can't be used")
	}
	req.Header.Set("Accept", "application/json")
	res, err := hc.Do(req)
	if err != nil {
		return false, away(err)
	}
	defer res.Body.Close()
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode/100 == 3:
		return false, unusable("metadata is redirected elsewhere, which is not followed")
	case res.StatusCode/100 == 5 || res.StatusCode == http.StatusTooManyRequests:
		return false, stead.Errorf(stead.KindUnavailable, "metadata can't be read now (status %d)", res.StatusCode)
	case res.StatusCode != http.StatusOK || media != "application/json":
		return false, nil
	}
	return true, decode(res.Body, into)
}

// decode reads an answer as JSON. Nothing of it goes into the error.
func decode(from io.Reader, into any) error {
	text, err := io.ReadAll(io.LimitReader(from, MaxMetadataBytes+1))
	if err != nil {
		return away(err)
	}
	if len(text) > MaxMetadataBytes || json.Unmarshal(text, into) != nil {
		return unusable("what an authorization server says is no JSON of at most %d bytes", MaxMetadataBytes)
	}
	return nil
}

// away is the error of a server that can't be reached, or must not be.
func away(err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e // the guard's
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL
	}
	return stead.Wrap(stead.KindUnavailable, err, "the tool server's authorization server can't be reached")
}
