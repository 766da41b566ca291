package token_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity/token"
)

// issuer is an identity provider on loopback, with its own clock.
type issuer struct {
	t *testing.T
	*httptest.Server

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched int    // how often its keys were asked for
	down    bool   // answers 503
	says    string // issuer in discovery; "": its own
	now     time.Time
}

func newIssuer(t *testing.T, kids ...string) *issuer {
	t.Helper()
	i := &issuer{t: t, now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}
	for _, kid := range kids {
		i.keys = append(i.keys, newKey(t, kid))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		said := i.URL
		if i.says != "" {
			said = i.says
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": said, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.fetched++
		if i.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		// A kind that nobody knows and a shared secret are among real issuers' keys, and must not be in the way.
		list := []any{map[string]string{"kty": "NEW", "kid": "new"}, map[string]string{"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}}
		for _, k := range i.keys {
			list = append(list, k.Public())
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": list})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func newKey(t *testing.T, kid string) jose.JSONWebKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: kid, Algorithm: "ES256", Use: "sig"}
}

func (i *issuer) clock() time.Time { i.mu.Lock(); defer i.mu.Unlock(); return i.now }

func (i *issuer) pass(d time.Duration) { i.mu.Lock(); defer i.mu.Unlock(); i.now = i.now.Add(d) }

func (i *issuer) set(change func()) { i.mu.Lock(); defer i.mu.Unlock(); change() }

func (i *issuer) asked() int { i.mu.Lock(); defer i.mu.Unlock(); return i.fetched }

// signed is a token with claims over those that a good one has; nil takes one out.
func (i *issuer) signed(with map[string]any) string { return i.by(i.keys[0], jose.ES256, with) }

func (i *issuer) by(k jose.JSONWebKey, alg jose.SignatureAlgorithm, with map[string]any) string {
	i.t.Helper()
	now := i.clock().Unix()
	c := map[string]any{"iss": i.URL, "aud": "stead", "sub": "ada", "iat": now, "exp": now + 300, "groups": []string{"staff", "x"}}
	for name, v := range with {
		c[name] = v
		if v == nil {
			delete(c, name)
		}
	}
	payload, err := json.Marshal(c)
	if err != nil {
		i.t.Fatal(err)
	}
	return sign(i.t, k, alg, payload)
}

func sign(t *testing.T, key any, alg jose.SignatureAlgorithm, payload []byte) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// config trusts the issuer: its staff are developers.
func (i *issuer) config() token.Issuer {
	return token.Issuer{URL: i.URL, Audiences: []string{"stead"}, Project: "proj_a", Rules: []token.Rule{
		{Claim: "groups", Value: "admins", Kind: stead.PrincipalUser, Role: "owner"},
		{Claim: "groups", Value: "staff", Kind: stead.PrincipalUser, Role: "developer", Bound: true},
	}}
}

func (i *issuer) trusted(with ...func(*token.Issuer)) *token.Authenticator {
	c := i.config()
	for _, f := range with {
		f(&c)
	}
	return token.New([]token.Issuer{c}, i.Client(), i.clock)
}
