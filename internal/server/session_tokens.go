package server

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/param"
)

// wireSessionToken is a session token. Secret is there once, when it was made.
type wireSessionToken struct {
	ID        string          `json:"id"`
	Object    string          `json:"object"` // "agent.session.token"
	SessionID stead.SessionID `json:"session_id"`
	Scope     []string        `json:"scope"`
	Principal wirePrincipal   `json:"principal"` // whom it stands for
	Role      stead.Role      `json:"role"`
	MadeWith  string          `json:"made_with"` // id of the key
	CreatedAt int64           `json:"created_at"`
	ExpiresAt int64           `json:"expires_at"`
	Secret    string          `json:"secret,omitempty"`
}

func wireSessionTokenOf(t identity.SessionToken, secret string) wireSessionToken {
	return wireSessionToken{
		ID: t.ID, Object: "agent.session.token", SessionID: t.Session, Scope: strings.Fields(t.Scope), Principal: wirePrincipal{t.Kind, t.User},
		Role: t.Role, MadeWith: t.Maker, CreatedAt: t.CreatedAt / 1000, ExpiresAt: t.ExpiresAt / 1000, Secret: secret,
	}
}

func (s *server) createSessionToken(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	in, err := sessionTokenParams(req.Object)
	if err != nil {
		return err
	}
	t, secret, err := s.Keys.CreateToken(r.Context(), callerOf(r), sessionID(r), in)
	if err != nil {
		return err
	}
	return s.write(w, wireSessionTokenOf(t, secret))
}

func sessionTokenParams(o param.Object) (in identity.TokenParams, err error) {
	if err := o.Only("a session token", "scope", "expires_after_seconds"); err != nil {
		return in, err
	}
	if in.Scope, err = param.Need(o.Strings("scope"))("scope"); err != nil {
		return in, err
	}
	seconds, _, err := o.Int("expires_after_seconds", int64(identity.MinTokenLifetime.Seconds()), int64(identity.MaxTokenLifetime.Seconds()))
	in.Lifetime = time.Duration(seconds) * time.Second
	return in, err
}

func (s *server) listSessionTokens(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), identity.TokenPrefix)
	if err != nil {
		return err
	}
	tokens, more, err := s.Keys.Tokens(r.Context(), p, sessionID(r), q.After, q.Desc, q.Limit)
	if err != nil {
		return err
	}
	out := make([]wireSessionToken, len(tokens))
	for i, t := range tokens {
		out[i] = wireSessionTokenOf(t, "")
	}
	return s.write(w, listOf(out, more, func(t wireSessionToken) string { return t.ID }))
}

func (s *server) revokeSessionToken(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("token")
	if err := s.Keys.RevokeToken(r.Context(), p, sessionID(r), id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "agent.session.token.deleted"})
}

// ofSession begins the paths of what belongs to one session.
const ofSession = "/v1/agents/sessions/{id}"

// admits refuses session tokens what is not theirs: to them there is no session but one, and of its routes those alone that
// the table opens to their scope. What the route then does is decided by the gate as well.
func (rt route) admits(p stead.Principal, r *http.Request) error {
	switch {
	case p.Session == "":
		return nil
	case (rt.path == ofSession || strings.HasPrefix(rt.path, ofSession+"/")) && r.PathValue("id") != string(p.Session):
		return stead.NotFound("session", r.PathValue("id"))
	case rt.scope == "":
		e := stead.Errorf(stead.KindForbidden, "a session token is not for %s %.200s", r.Method, r.URL.Path)
		e.Hint = "It reads the events, items, turns and artifacts of its session, and sends it input."
		return e
	case !slices.ContainsFunc(strings.Fields(rt.scope), func(word string) bool { return identity.HasScope(p.Scope, word) }):
		return stead.Errorf(stead.KindForbidden, "the scope of the session token is %q, and this needs %s", p.Scope, strings.ReplaceAll(rt.scope, " ", " or "))
	}
	return nil
}
