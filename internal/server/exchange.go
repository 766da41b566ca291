package server

import (
	"errors"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
)

// Token exchange (RFC 8693): who has a key, or a token of an identity provider, gets one that may less: a session token, or a
// signed token by which another system knows in whose name an agent acts. The subject token is the authentication; everything
// stands in the body, and every error is one of RFC 6749.

// What the exchange speaks of.
const (
	grantExchange  = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccess     = "urn:ietf:params:oauth:token-type:access_token"
	typeID         = "urn:ietf:params:oauth:token-type:id_token"
	typeJWT        = "urn:ietf:params:oauth:token-type:jwt"
	sessionURN     = "urn:stead:session:"
	mediaURLForm   = "application/x-www-form-urlencoded"
	maxFormValue   = 32 << 10 // bytes of one parameter; tokens of identity providers end at 16 KiB
	codeBadRequest = "invalid_request"
	codeTarget     = "invalid_target"
	codeScope      = "invalid_scope"
)

// exchanged is the answer.
type exchanged struct {
	Token     string `json:"access_token"`
	Issued    string `json:"issued_token_type"`
	Type      string `json:"token_type"` // "Bearer"
	ExpiresIn int64  `json:"expires_in"` // seconds
	Scope     string `json:"scope,omitempty"`
}

func (s *server) exchangeToken(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	form, err := exchangeForm(w, r)
	if err != nil {
		return err
	}
	if s.Authenticate == nil {
		return stead.Errorf(stead.KindInvalid, "this server runs without authentication, and has no tokens to give")
	}
	asks := r.Clone(r.Context())
	asks.Header.Set("Authorization", "Bearer "+form.Get("subject_token"))
	c, err := s.Authenticate(asks)
	if err != nil {
		s.turnedAway(w, asks, err, true)
		return err
	}
	if err := s.pacer.admit(w.Header(), c); err != nil {
		return err
	}
	if c.Session != "" {
		return oauth(codeBadRequest, "subject_token is a session token, which is not exchanged")
	}
	if err := s.full(); err != nil {
		return err
	}
	r = s.inCall(w, r, c)
	if s.Stopped != nil {
		if err := s.Stopped(r.Context(), c.Principal); err != nil {
			return err
		}
	}
	id, ok := strings.CutPrefix(form.Get("resource"), sessionURN)
	if !ok || id == "" {
		return oauth(codeTarget, "resource must name a session: %sID", sessionURN)
	}
	switch form.Get("requested_token_type") {
	case "", typeAccess:
		return s.exchangeForSession(w, r, c, stead.SessionID(id), form)
	case typeJWT:
		return s.exchangeForAgent(w, r, c, stead.SessionID(id), form)
	}
	return oauth(codeBadRequest, "requested_token_type must be %s, a session token, or %s, one for another system", typeAccess, typeJWT)
}

// exchangeForm reads the parameters. Those that are not known are passed over, as RFC 6749 has it; one that is there twice is
// refused, since two readers could take it for two things.
func exchangeForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.URL.RawQuery != "" {
		return nil, oauth(codeBadRequest, "parameters stand in the body: URLs are kept in logs")
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != mediaURLForm {
		return nil, oauth(codeBadRequest, "the body must be of the type %s", mediaURLForm)
	}
	body, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, oauth(codeBadRequest, "the body is no form")
	}
	for name, values := range form {
		if len(values) > 1 || len(values[0]) > maxFormValue {
			return nil, oauth(codeBadRequest, "the parameter %.80q is there twice, or longer than %d bytes", name, maxFormValue)
		}
	}
	if grant := form.Get("grant_type"); grant != grantExchange {
		if grant == "" {
			return nil, oauth(codeBadRequest, "grant_type is required: %s", grantExchange)
		}
		return nil, oauth("unsupported_grant_type", "grant_type must be %s", grantExchange)
	}
	switch {
	case form.Get("subject_token") == "":
		return nil, oauth(codeBadRequest, "subject_token is required: an API key, or a token of an identity provider")
	case !slices.Contains([]string{typeAccess, typeID, typeJWT}, form.Get("subject_token_type")):
		return nil, oauth(codeBadRequest, "subject_token_type must be %s, %s or %s", typeAccess, typeID, typeJWT)
	case form.Get("actor_token") != "" || form.Get("actor_token_type") != "":
		return nil, oauth(codeBadRequest, "actor_token is not taken: who acts is the session's agent")
	}
	return form, nil
}

// exchangeForSession makes a session token.
func (s *server) exchangeForSession(w http.ResponseWriter, r *http.Request, c identity.Caller, id stead.SessionID, form url.Values) error {
	if form.Get("audience") != "" {
		return oauth(codeTarget, "audience is for %s: a session token is for this server", typeJWT)
	}
	scope := strings.Fields(form.Get("scope"))
	if len(scope) == 0 {
		scope = []string{identity.ScopeRead}
	}
	t, secret, err := s.Keys.CreateToken(r.Context(), c, id, identity.TokenParams{Scope: scope})
	if e, ok := errors.AsType[*stead.Error](err); ok && (e.Kind == stead.KindForbidden || e.Param == "scope") {
		return oauth(codeScope, "%s", e.Message)
	}
	if err != nil {
		return err
	}
	left := time.UnixMilli(t.ExpiresAt).Sub(time.UnixMilli(t.CreatedAt))
	return s.write(w, exchanged{secret, typeAccess, "Bearer", int64(left.Seconds()), t.Scope})
}

// exchangeForAgent makes a token that says that the session's agent acts for the caller.
func (s *server) exchangeForAgent(w http.ResponseWriter, r *http.Request, c identity.Caller, id stead.SessionID, form url.Values) error {
	if s.Issuer == nil {
		return oauth(codeBadRequest, "agents of this server have no tokens: requested_token_type can't be %s", typeJWT)
	}
	if form.Get("scope") != "" {
		return oauth(codeScope, "a token for another system has no scope of ours: its audience is what narrows it")
	}
	found, err := s.Sessions.Get(r.Context(), c.Principal, id)
	if err != nil {
		return err
	}
	t, err := s.Issuer.Exchange(r.Context(), c.Principal, c.Until, id, found.Agent.ID, form.Get("audience"))
	if stead.KindOf(err) == stead.KindForbidden {
		return oauth(codeTarget, "%s", clientMessageOf(err))
	}
	if err != nil {
		return err
	}
	return s.write(w, exchanged{t.Text, typeJWT, "Bearer", int64(t.Until.Sub(t.Made).Seconds()), ""})
}

func clientMessageOf(err error) string {
	body, _, _ := wireErrorOf(err)
	return body.Message
}

// oauth is an error of RFC 6749, 5.2, or of RFC 8693, 2.2.2.
func oauth(code, format string, args ...any) error {
	e := stead.Errorf(stead.KindInvalid, format, args...)
	e.Code = code
	return e
}

type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// failOAuth writes an error in the words of RFC 6749. RFC 8693 has a subject token that is not valid be invalid_request, and
// what can't be had invalid_target.
func (s *server) failOAuth(w http.ResponseWriter, r *http.Request, err error) {
	body, f, e := wireErrorOf(err)
	out, status := oauthError{codeBadRequest, body.Message}, http.StatusBadRequest
	switch e.Kind {
	case stead.KindInvalid:
		if e.Code == codeTarget || e.Code == codeScope || e.Code == "unsupported_grant_type" {
			out.Error = e.Code
		}
	case stead.KindNotFound:
		out.Error = codeTarget
	case stead.KindUnauthenticated, stead.KindForbidden, stead.KindConflict, stead.KindNotImplemented:
	case stead.KindTooLarge, stead.KindLimited:
		status = f.status
	case stead.KindUnavailable:
		out.Error, status = "temporarily_unavailable", f.status
	default:
		out.Error, status = "server_error", f.status
		s.Log.Error("request failed", "id", w.Header().Get("X-Request-Id"), "method", r.Method, "path", r.URL.Path, "status", status, "error", err)
	}
	out.Description = plainASCII(out.Description)
	h := w.Header()
	h.Set("Pragma", "no-cache")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	s.writeStatus(w, status, out)
}

// plainASCII has the characters alone that RFC 6749 allows in a description.
func plainASCII(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		}
		return r
	}, text)
}
