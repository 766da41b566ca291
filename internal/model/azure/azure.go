// Package azure calls OpenAI's models on Azure, by the v1 API that needs no api-version: package openai
// speaks the wire, this one knows the address and who calls.
//
// Shape: https://RESOURCE.openai.azure.com becomes …/openai/v1; models are called by their deployments' names.
//
//	api key ─▶ header api-key
//	Entra   ─▶ POST Authority/TENANT/oauth2/v2.0/token ─▶ Authorization: Bearer, until it expires
//
// Tokens: one is kept in memory and renewed refreshBefore it expires, by one call at a time; calls that
// need it wait, until their own context ends. A token that the upstream refuses is dropped and the
// request sent once more with a new one, as nothing was done yet; a second refusal is the call's error.
//
// Errors: those of package openai; Azure's content filter is CodePolicy where it stops a prompt, and
// FinishFilter where it stops an answer. A token that can't be had is CodeAuthentication when Entra
// refuses it, and may be retried when Entra can't be reached. Neither key, client secret nor token is in
// any error.
//
// The client credentials grant is one form and one JSON object: with golang.org/x/oauth2, which the
// MCP SDK links, those who wait for a token could not be cancelled.
//
// Source: learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle (the v1 API) and
// /entra/identity-platform/v2-oauth2-client-creds-grant-flow; github.com/openai/openai-go (azure/azure.go).
package azure

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model/openai"
	"github.com/stead-dev/stead/internal/model/upstream"
)

const path = "/openai/v1" // of the v1 API, behind a resource's address

// Config is one provider. It has an API key, or Entra's credentials.
type Config struct {
	Name       string             // as configured; reasoning items carry it
	API        string             // openai.APIResponses (also when empty) or openai.APIChat
	BaseURL    string             // "https://RESOURCE.openai.azure.com", with or without "/openai/v1"
	APIKey     string             // sent as the header api-key
	Key        upstream.KeySource // has the key, in place of APIKey; nil: it stays the same
	Entra      *Entra             // nil: the API key says who calls
	Headers    map[string]string  // more headers; their values are secrets
	HTTPClient *http.Client       // nil: one of our own; its redirect policy is replaced, and its Timeout bounds whole calls
	Now        func() time.Time   // nil: time.Now; for expiry, and for dates in Retry-After
}

// New checks the configuration; the error is of KindInvalid and names the field.
func New(cfg Config) (*openai.Provider, error) {
	if (cfg.APIKey == "" && cfg.Key == nil) == (cfg.Entra == nil) {
		return nil, stead.Invalid("api_key", "provider %q needs either api_key or entra", cfg.Name)
	}
	if err := upstream.CheckKey(cfg.Name, cfg.APIKey); err != nil {
		return nil, err
	}
	u, err := upstream.CheckURL(cfg.Name, cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	out := openai.Config{Name: cfg.Name, API: cfg.API, BaseURL: BaseURL(u), Headers: maps.Clone(cfg.Headers), HTTPClient: cfg.HTTPClient, Now: cfg.Now}
	if cfg.Key != nil {
		out.Signer = upstream.NewKeySigner("api-key", "", cfg.Key)
		return openai.New(out)
	}
	if cfg.Entra == nil {
		if out.Headers == nil {
			out.Headers = map[string]string{}
		}
		out.Headers["api-key"] = cfg.APIKey
		return openai.New(out)
	}
	s, err := newTokens(cfg)
	if err != nil {
		return nil, err
	}
	out.Signer = s
	return openai.New(out)
}

// BaseURL is where the v1 API is: a resource's address alone lacks its path.
func BaseURL(u *url.URL) string {
	if strings.Trim(u.Path, "/") == "" {
		return u.JoinPath(path).String()
	}
	return u.String()
}

// Entra are the credentials of an application (client credentials).
type Entra struct {
	Tenant, ClientID, ClientSecret string
	Authority                      string // "": DefaultAuthority; sovereign clouds have others
	Scope                          string // "": DefaultScope
}

// Where tokens are had, and what for.
const (
	DefaultAuthority = "https://login.microsoftonline.com"
	DefaultScope     = "https://cognitiveservices.azure.com/.default"
)

func newTokens(cfg Config) (*tokens, error) {
	e := *cfg.Entra
	for param, v := range map[string]string{"entra.tenant": e.Tenant, "entra.client_id": e.ClientID, "entra.client_secret": e.ClientSecret} {
		if v == "" {
			return nil, stead.Invalid(param, "provider %q lacks %s", cfg.Name, param)
		}
	}
	u, err := upstream.CheckURL(cfg.Name, cmp.Or(e.Authority, DefaultAuthority))
	if err != nil {
		return nil, stead.Invalid("entra.authority", "the authority of provider %q is not an http(s) URL", cfg.Name)
	}
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	client := &http.Client{}
	if cfg.HTTPClient != nil {
		*client = *cfg.HTTPClient
	}
	// A redirect would take the client secret elsewhere.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &tokens{
		url: u.JoinPath(e.Tenant, "oauth2", "v2.0", "token").String(), client: client, now: now, turn: make(chan struct{}, 1), secret: e.ClientSecret,
		form: url.Values{"grant_type": {"client_credentials"}, "client_id": {e.ClientID}, "client_secret": {e.ClientSecret},
			"scope": {cmp.Or(e.Scope, DefaultScope)}},
	}, nil
}
