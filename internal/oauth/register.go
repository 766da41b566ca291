package oauth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// The ways in which clients prove who they are, as RFC 7591 names them.
const (
	MethodNone  = "none"
	MethodBasic = "client_secret_basic"
	MethodPost  = "client_secret_post"
)

// Registration is what an authorization server knows us by.
type Registration struct {
	ID        string `json:"id"`
	Secret    string `json:"secret,omitempty"`
	Method    string `json:"method"`
	ExpiresAt int64  `json:"expires_at,omitempty"` // Unix seconds, of the secret; 0: never
}

// Method is how a client with a secret, or without, proves who it is.
func (s Server) Method(secret string) string {
	if secret == "" {
		return MethodNone
	}
	if len(s.Methods) > 0 && !slices.Contains(s.Methods, MethodBasic) && slices.Contains(s.Methods, MethodPost) {
		return MethodPost
	}
	return MethodBasic // what is usual where nothing is said (RFC 8414)
}

// asked is the way to be registered for.
func (s Server) asked() string {
	for _, m := range []string{MethodBasic, MethodPost, MethodNone} {
		if slices.Contains(s.Methods, m) {
			return m
		}
	}
	return MethodBasic
}

// about describes a client, as RFC 7591 does.
func about(name, redirect, method string) map[string]any {
	kind := "web"
	if u, err := url.Parse(redirect); err == nil && u.Scheme == "http" {
		kind = "native" // OpenID Connect lets no web client come back to this machine
	}
	return map[string]any{
		"client_name": name, "redirect_uris": []string{redirect}, "grant_types": []string{"authorization_code", "refresh_token"},
		"response_types": []string{"code"}, "token_endpoint_auth_method": method, "application_type": kind,
	}
}

// Document is what the URL says that is a client: one without a secret, which may come back to redirect alone.
func Document(at, name, redirect string) ([]byte, error) {
	d := about(name, redirect, MethodNone)
	d["client_id"] = at
	body, err := json.Marshal(d)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "a client can't be described")
	}
	return body, nil
}

// RegisterClient makes a client at an authorization server (RFC 7591), which may come back to redirect alone.
func (s Server) RegisterClient(ctx context.Context, hc *http.Client, name, redirect string) (Registration, error) {
	if s.Register == "" {
		e := unusable("the authorization server does not register clients by itself")
		e.Hint = "Register one there by hand, with the redirect URI " + redirect + ", and name it in the configuration: oauth: {clients: [{issuer: \"" + s.Issuer + "\", client_id: …, servers: […]}]}."
		return Registration{}, e
	}
	body, err := json.Marshal(about(name, redirect, s.asked()))
	if err != nil {
		return Registration{}, stead.Wrap(stead.KindInternal, err, "a registration can't be written")
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Register, bytes.NewReader(body))
	if err != nil {
		return Registration{}, unusable("the authorization server's address can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := hc.Do(req)
	if err != nil {
		return Registration{}, away(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK {
		return Registration{}, unusable("the authorization server did not register us (status %d)", res.StatusCode)
	}
	var got struct {
		ID      string `json:"client_id"`
		Secret  string `json:"client_secret"`
		Method  string `json:"token_endpoint_auth_method"`
		Expires int64  `json:"client_secret_expires_at"`
	}
	if err := decode(res.Body, &got); err != nil {
		return Registration{}, err
	}
	out := Registration{ID: got.ID, Secret: got.Secret, Method: cmp.Or(got.Method, s.Method(got.Secret)), ExpiresAt: got.Expires}
	if out.Method == MethodNone {
		out.Secret = "" // it is of no use
	}
	known := slices.Contains([]string{MethodNone, MethodBasic, MethodPost}, out.Method)
	if !printable(out.ID) || out.Secret != "" && !printable(out.Secret) || !known || (out.Method != MethodNone) != (out.Secret != "") {
		return Registration{}, unusable("the authorization server's registration can't be used")
	}
	return out, nil
}

func printable(s string) bool {
	return s != "" && len(s) <= MaxURLBytes && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
