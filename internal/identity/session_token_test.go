package identity_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
)

// ada is whom the sessions of these tests serve.
var ada = stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada", Role: identity.Agent}

// house has nodes on one database. Its sessions are "s1" and "s2", of project one.
type house struct {
	t         *testing.T
	documents *documenttest.Memory
}

func newHouse(t *testing.T) *house { return &house{t, documenttest.NewMemory()} }

func (h *house) node(root string) *identity.Service {
	return identity.NewService(identity.Config{
		Documents: h.documents, Policy: identity.Authorizer{}, Root: root, Now: time.Now,
		Serves: func(ctx context.Context, p stead.Principal, id stead.SessionID, effect policy.Effect) (stead.Principal, error) {
			if p.Project != "one" || id != "s1" && id != "s2" {
				return ada, stead.NotFound("session", string(id))
			}
			_, err := policy.Check(ctx, identity.Authorizer{}, policy.Request{Principal: p, Effect: effect, Session: stead.SessionKey{Project: p.Project, Session: id}})
			return ada, err
		},
	})
}

// caller is who comes with a new key of a role.
func (h *house) caller(s *identity.Service, role stead.Role, lifetime time.Duration) identity.Caller {
	h.t.Helper()
	root, err := s.Authenticate(h.t.Context(), rootKey, "one")
	if err != nil {
		h.t.Fatal(err)
	}
	_, secret := made(h.t, s, root.Principal, identity.Params{Role: role, Lifetime: lifetime})
	c, err := s.Authenticate(h.t.Context(), secret, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *house) token(s *identity.Service, c identity.Caller, in identity.TokenParams) (identity.SessionToken, string) {
	h.t.Helper()
	t, secret, err := s.CreateToken(h.t.Context(), c, "s1", in)
	if err != nil {
		h.t.Fatal(err)
	}
	return t, secret
}

func TestASessionTokenIsItsSessionsUserAndNoMore(t *testing.T) {
	h := newHouse(t)
	s := h.node(rootKey)
	maker := h.caller(s, identity.Developer, 0)
	tok, secret := h.token(s, maker, identity.TokenParams{Scope: []string{"read", "write"}})
	c, err := s.Authenticate(t.Context(), secret, "two")
	want := stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada", Role: identity.Developer, Bound: true, Session: "s1", Scope: "read write", Maker: "service:" + maker.ID}
	if err != nil || c.Principal != want || c.Key != tok.ID {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, tc := range []struct {
		effect  policy.Effect
		session stead.SessionID
		may     bool
	}{
		{policy.SessionRead, "s1", true}, {policy.SessionWrite, "s1", true},
		{policy.SessionRead, "s2", false}, {policy.SessionRead, "", false}, {policy.SessionWrite, "s2", false},
		{policy.ApprovalGive, "s1", false}, {policy.SessionDelete, "s1", false}, {policy.SessionTokenWrite, "s1", false}, {policy.EnvironmentWrite, "s1", false},
		{policy.ModelCall, "s1", false}, {policy.AgentRead, "", false}, {"effect.of.tomorrow", "s1", false},
	} {
		d, err := identity.Authorizer{}.Decide(t.Context(), policy.Request{Principal: c.Principal, Effect: tc.effect, Session: stead.SessionKey{Project: "one", Session: tc.session}})
		if err != nil || d.Allow != tc.may {
			t.Errorf("%s of %q: %+v, %v", tc.effect, tc.session, d, err)
		}
	}
	for _, wrong := range []string{secret[:len(secret)-1], secret + "0", "st-stead-", "st-stead-0-0", strings.Replace(secret, "st-stead-", "sk-stead-", 1), strings.ToUpper(secret)} {
		_, err := s.Authenticate(t.Context(), wrong, "")
		isKind(t, wrong, err, stead.KindUnauthenticated)
	}
}

// The operator's key owns all projects: what stands for it by a token does not.
func TestATokenOfTheRootKeysSessionIsNotTheRootKey(t *testing.T) {
	p := stead.Principal{Project: "one", Kind: stead.PrincipalService, ID: "root", Role: identity.Owner, Session: "s1", Scope: "read"}
	if identity.IsRoot(p) {
		t.Error("it is")
	}
}

func TestNobodyGivesByATokenWhatTheyMayNotDo(t *testing.T) {
	h := newHouse(t)
	s := h.node(rootKey)
	for role, may := range map[stead.Role]string{
		identity.Owner: "read write approve execute", identity.Operator: "read write execute", identity.Developer: "read write execute",
		identity.Agent: "read write execute", identity.Approver: "", identity.Auditor: "",
	} {
		c := h.caller(s, role, 0)
		for _, word := range identity.Scopes() {
			_, _, err := s.CreateToken(t.Context(), c, "s1", identity.TokenParams{Scope: []string{word}})
			if want := identity.HasScope(may, word); (err == nil) != want {
				t.Errorf("%s by %s: %v", word, role, err)
			}
		}
		_, _, err := s.CreateToken(t.Context(), c, "s3", identity.TokenParams{Scope: []string{"read"}})
		if may != "" {
			isKind(t, "a session that is not there", err, stead.KindNotFound)
		}
	}
	owner := h.caller(s, identity.Owner, 0)
	for name, in := range map[string]identity.TokenParams{
		"no scope": {}, "unknown": {Scope: []string{"admin"}}, "twice": {Scope: []string{"read", "read"}}, "two in one": {Scope: []string{"read write"}},
		"too long": {Scope: []string{"read"}, Lifetime: identity.MaxTokenLifetime + 1}, "too short": {Scope: []string{"read"}, Lifetime: -time.Second},
	} {
		_, _, err := s.CreateToken(t.Context(), owner, "s1", in)
		isKind(t, name, err, stead.KindInvalid)
	}
}

func TestSessionTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		a, b := h.node(rootKey), h.node(rootKey)
		in := func(s *identity.Service, secret string) error {
			_, err := s.Authenticate(context.Background(), secret, "")
			return err
		}
		refused := func(what, secret string) {
			t.Helper()
			isKind(t, what, in(a, secret), stead.KindUnauthenticated)
			isKind(t, what+", on another node", in(b, secret), stead.KindUnauthenticated)
		}
		maker := h.caller(a, identity.Agent, 0)
		read := identity.TokenParams{Scope: []string{"read"}}

		_, secret := h.token(a, maker, read)
		time.Sleep(identity.DefaultTokenLifetime - time.Millisecond)
		if err := in(b, secret); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
		refused("after its time", secret)

		tok, secret := h.token(a, maker, read)
		if err := in(b, secret); err != nil {
			t.Error(err)
		}
		isKind(t, "revoked as another session's", a.RevokeToken(t.Context(), maker.Principal, "s2", tok.ID), stead.KindNotFound)
		if err := a.RevokeToken(t.Context(), maker.Principal, "s1", tok.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(identity.CacheFor)
		refused("revoked", secret)

		_, secret = h.token(a, maker, read)
		root, _ := a.Authenticate(t.Context(), rootKey, "one")
		if err := a.Revoke(t.Context(), root.Principal, maker.Key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(identity.CacheFor)
		refused("its maker's key is revoked", secret)

		tok, secret = h.token(a, h.caller(a, identity.Agent, time.Minute), read)
		if want := time.Now().Add(time.Minute).UnixMilli(); tok.ExpiresAt != want {
			t.Errorf("it expires %d ms after its maker's key", tok.ExpiresAt-want)
		}
		time.Sleep(time.Minute)
		refused("its maker's key has expired", secret)

		_, secret = h.token(a, root, read)
		if err := in(b, secret); err != nil {
			t.Error(err)
		}
		isKind(t, "the root key is another", in(h.node("another-root-key-0123456789-0123456789"), secret), stead.KindUnauthenticated)
	})
}

func TestASessionHasSoManyTokensAndNoOldOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		s := h.node(rootKey)
		maker := h.caller(s, identity.Agent, 0)
		read := identity.TokenParams{Scope: []string{"read"}, Lifetime: time.Minute}
		for range identity.MaxTokens {
			h.token(s, maker, read)
		}
		_, _, err := s.CreateToken(t.Context(), maker, "s1", read)
		isKind(t, "one more", err, stead.KindLimited)
		if _, _, err := s.CreateToken(t.Context(), maker, "s2", read); err != nil {
			t.Errorf("of another session: %v", err)
		}
		time.Sleep(time.Minute)
		for range identity.MaxTokens / 3 {
			h.token(s, maker, read)
		}
		old, err := h.documents.ExpiredDocuments(t.Context(), "session_token", time.Now().UnixMilli(), 1000)
		if err != nil || len(old) > 0 {
			t.Errorf("%d expired tokens are kept (%v)", len(old), err)
		}
		all, more, err := s.Tokens(t.Context(), maker.Principal, "s1", "", true, 10)
		if err != nil || len(all) != 10 || !more || all[0].ID < all[1].ID {
			t.Errorf("%d, %t, %v", len(all), more, err)
		}
	})
}
