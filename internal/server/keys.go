package server

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/param"
)

// Keys keeps API keys: see package identity, which implements it.
type Keys interface {
	Create(ctx context.Context, p stead.Principal, in identity.Params) (identity.Key, string, error)
	Get(ctx context.Context, p stead.Principal, id string) (identity.Key, error)
	List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]identity.Key, bool, error)
	Revoke(ctx context.Context, p stead.Principal, id string) error
	Rotate(ctx context.Context, p stead.Principal, id string, grace time.Duration, key, digest string) (identity.Key, string, error)

	CreateToken(ctx context.Context, c identity.Caller, id stead.SessionID, in identity.TokenParams) (identity.SessionToken, string, error)
	Tokens(ctx context.Context, p stead.Principal, id stead.SessionID, after string, desc bool, limit int) ([]identity.SessionToken, bool, error)
	RevokeToken(ctx context.Context, p stead.Principal, id stead.SessionID, token string) error
}

// wireKey is an API key. Secret is there once, when it was made.
type wireKey struct {
	ID         string          `json:"id"`
	Object     string          `json:"object"` // "api_key"
	Name       string          `json:"name"`
	Project    stead.ProjectID `json:"project"`
	Principal  wirePrincipal   `json:"principal"`
	Role       stead.Role      `json:"role"`
	Bound      bool            `json:"bound"`
	CreatedAt  int64           `json:"created_at"`
	ExpiresAt  *int64          `json:"expires_at"`
	LastUsedAt *int64          `json:"last_used_at"`
	Secret     string          `json:"secret,omitempty"`
}

type wirePrincipal struct {
	Kind stead.PrincipalKind `json:"kind"`
	ID   string              `json:"id"`
}

func wireKeyOf(k identity.Key, secret string) wireKey {
	return wireKey{
		ID: k.ID, Object: "api_key", Name: k.Name, Project: k.Project, Principal: wirePrincipal{k.Kind, k.Principal}, Role: k.Role, Bound: k.Bound,
		CreatedAt: k.CreatedAt / 1000, ExpiresAt: secondsOrNull(k.ExpiresAt), LastUsedAt: secondsOrNull(k.LastUsedAt), Secret: secret,
	}
}

func secondsOrNull(ms int64) *int64 {
	if ms == 0 {
		return nil
	}
	s := ms / 1000
	return &s
}

// withKeys serves a route of API keys, where there are any.
func (s *server) withKeys(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
		if s.Keys == nil {
			e := stead.Errorf(stead.KindNotImplemented, "this server runs without authentication, and has no API keys")
			e.Hint = "Start it with auth: {mode: keys} in stead.yaml."
			return e
		}
		return handle(w, r, p)
	}
}

func (s *server) createKey(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	in, err := keyParams(req.Object)
	if err != nil {
		return err
	}
	k, secret, err := s.Keys.Create(r.Context(), p, in)
	if err != nil {
		return err
	}
	return s.write(w, wireKeyOf(k, secret))
}

func keyParams(o param.Object) (identity.Params, error) {
	var in identity.Params
	if err := o.Only("an API key", "name", "project", "role", "bound", "expires_after_seconds", "principal"); err != nil {
		return in, err // a key that is not what was asked for may do too much
	}
	role, err := param.Need(o.Enum("role", identity.Roles()...))("role")
	if err != nil {
		return in, err
	}
	in.Role = stead.Role(role)
	if in.Name, _, err = o.String("name"); err != nil {
		return in, err
	}
	project, _, err := o.String("project")
	if err != nil {
		return in, err
	}
	in.Project = stead.ProjectID(project)
	if in.Bound, _, err = o.Bool("bound"); err != nil {
		return in, err
	}
	seconds, _, err := o.Int("expires_after_seconds", 1, int64(identity.MaxLifetime.Seconds()))
	if err != nil {
		return in, err
	}
	in.Lifetime = time.Duration(seconds) * time.Second
	who, has, err := o.Object("principal")
	if !has || err != nil {
		return in, err
	}
	if err := who.Only("a principal", "kind", "id"); err != nil {
		return in, err
	}
	kind, err := param.Need(who.Enum("kind", string(stead.PrincipalUser), string(stead.PrincipalService)))(who.Path("kind"))
	if err != nil {
		return in, err
	}
	in.Kind = stead.PrincipalKind(kind)
	if in.Principal, err = param.Need(who.String("id"))(who.Path("id")); err == nil && (in.Principal == "" || len(in.Principal) > stead.MaxIdempotencyKeyBytes) {
		err = stead.Invalid(who.Path("id"), "%s must be 1 to %d bytes long", who.Path("id"), stead.MaxIdempotencyKeyBytes)
	}
	if err == nil && strings.ContainsFunc(in.Principal, unicode.IsControl) {
		err = stead.Invalid(who.Path("id"), "%s must not have control characters", who.Path("id"))
	}
	return in, err
}

func (s *server) listKeys(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), identity.IDPrefix)
	if err != nil {
		return err
	}
	keys, more, err := s.Keys.List(r.Context(), p, q.After, q.Desc, q.Limit)
	if err != nil {
		return err
	}
	out := make([]wireKey, len(keys))
	for i, k := range keys {
		out[i] = wireKeyOf(k, "")
	}
	return s.write(w, listOf(out, more, func(k wireKey) string { return k.ID }))
}

func (s *server) getKey(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	k, err := s.Keys.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, wireKeyOf(k, ""))
}

func (s *server) revokeKey(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.Keys.Revoke(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "api_key.deleted"})
}

func (s *server) rotateKey(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a rotation", "grace_seconds"); err != nil {
		return err
	}
	grace, _, err := req.Int("grace_seconds", 0, int64(identity.MaxGrace.Seconds()))
	if err != nil {
		return err
	}
	k, secret, err := s.Keys.Rotate(r.Context(), p, r.PathValue("id"), time.Duration(grace)*time.Second, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, wireKeyOf(k, secret))
}
