package identity_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
)

const rootKey = "root-key-of-this-very-test-0123456789"

func open(t *testing.T) (*identity.Service, stead.Principal) {
	t.Helper()
	s := identity.NewService(identity.Config{Documents: documenttest.NewMemory(), Policy: identity.Authorizer{}, Root: rootKey, Now: time.Now})
	root, err := s.Authenticate(t.Context(), rootKey, "one")
	if err != nil {
		t.Fatal(err)
	}
	return s, root.Principal
}

func made(t *testing.T, s *identity.Service, p stead.Principal, in identity.Params) (identity.Key, string) {
	t.Helper()
	k, secret, err := s.Create(t.Context(), p, in)
	if err != nil {
		t.Fatal(err)
	}
	return k, secret
}

func isKind(t *testing.T, what string, err error, want stead.Kind) {
	t.Helper()
	if stead.KindOf(err) != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestWhoCarriesAKey(t *testing.T) {
	s, root := open(t)
	if root.Project != "one" || root.Role != identity.Owner {
		t.Errorf("the root key is %+v", root)
	}
	_, secret := made(t, s, root, identity.Params{Role: identity.Developer, Kind: stead.PrincipalUser, Principal: "ada", Bound: true})
	got, err := s.Authenticate(t.Context(), secret, "two") // what the request names counts for the root key alone
	want := stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada", Role: identity.Developer, Bound: true}
	if err != nil || got.Principal != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, wrong := range []string{"", "x", "sk-stead-", secret[:len(secret)-1], secret + "0", strings.Replace(secret, "sk-stead-0", "sk-stead-f", 1), strings.ToUpper(secret), rootKey + "x", rootKey[1:]} {
		_, err := s.Authenticate(t.Context(), wrong, "")
		isKind(t, wrong, err, stead.KindUnauthenticated)
		if err != nil && strings.Contains(err.Error(), secret[20:]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestOnlyOwnersMakeKeysOfTheirProject(t *testing.T) {
	s, root := open(t)
	_, owner := made(t, s, root, identity.Params{Role: identity.Owner})
	caller, err := s.Authenticate(t.Context(), owner, "")
	if err != nil {
		t.Fatal(err)
	}
	boss := caller.Principal
	k, _ := made(t, s, boss, identity.Params{Role: identity.Agent})
	_, _, err = s.Create(t.Context(), boss, identity.Params{Role: identity.Agent, Project: "two"})
	isKind(t, "another project", err, stead.KindInvalid)
	for _, role := range []stead.Role{identity.Operator, identity.Developer, identity.Approver, identity.Auditor, identity.Agent} {
		p := boss
		p.Role = role
		_, _, err := s.Create(t.Context(), p, identity.Params{Role: identity.Agent})
		isKind(t, string(role), err, stead.KindForbidden)
	}
	other := boss
	other.Project = "two"
	_, err = s.Get(t.Context(), other, k.ID)
	isKind(t, "another project's key", err, stead.KindNotFound)
	isKind(t, "revoke another project's key", s.Revoke(t.Context(), other, k.ID), stead.KindNotFound)
	if keys, _, err := s.List(t.Context(), other, "", true, 10); err != nil || len(keys) != 0 {
		t.Errorf("another project sees %v, %v", keys, err)
	}
}

// Who is called as the operator's own key is must not become it: that owns every project.
func TestNoKeyOfAProjectStandsForTheRootKey(t *testing.T) {
	docs := documenttest.NewMemory()
	s := identity.NewService(identity.Config{Documents: docs, Policy: identity.Authorizer{}, Root: rootKey, Now: time.Now})
	root, err := s.Authenticate(t.Context(), rootKey, "one")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []stead.PrincipalKind{"", stead.PrincipalService} {
		_, _, err := s.Create(t.Context(), root.Principal, identity.Params{Role: identity.Owner, Kind: kind, Principal: "root"})
		isKind(t, "a key of the service root", err, stead.KindInvalid)
	}
	k, secret := made(t, s, root.Principal, identity.Params{Role: identity.Owner, Principal: "toor"})
	doc, err := docs.GetDocument(t.Context(), document.Key{Project: "stead:keys", Kind: "api_key", ID: k.ID})
	if err != nil {
		t.Fatal(err)
	}
	doc.Data, doc.Version = bytes.Replace(doc.Data, []byte(`"toor"`), []byte(`"root"`), 1), doc.Version+1 // as an older server stored it
	if _, err := docs.UpdateDocument(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	_, err = s.Authenticate(t.Context(), secret, "")
	isKind(t, "one that is there already", err, stead.KindUnauthenticated)
	_, secret = made(t, s, root.Principal, identity.Params{Role: identity.Owner, Kind: stead.PrincipalUser, Principal: "root"}) // somebody's name
	if who, err := s.Authenticate(t.Context(), secret, ""); err != nil || identity.IsRoot(who.Principal) {
		t.Errorf("a user called root is %+v, %v", who, err)
	}
}

func TestKeysEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := open(t)
		k, secret := made(t, s, root, identity.Params{Role: identity.Agent, Lifetime: time.Hour})
		in := func(secret string) error { _, err := s.Authenticate(context.Background(), secret, ""); return err }
		if err := in(secret); err != nil {
			t.Fatal(err)
		}
		_, fresh, err := s.Rotate(t.Context(), root, k.ID, 10*time.Minute, "", "")
		if err != nil || in(secret) != nil || in(fresh) != nil {
			t.Errorf("rotated: %v; the old %v, the new %v: both are valid at first", err, in(secret), in(fresh))
		}
		time.Sleep(10 * time.Minute)
		isKind(t, "the old secret after its grace", in(secret), stead.KindUnauthenticated)
		if err := in(fresh); err != nil {
			t.Error(err)
		}
		time.Sleep(50 * time.Minute)
		isKind(t, "a key that has expired", in(fresh), stead.KindUnauthenticated)

		k, secret = made(t, s, root, identity.Params{Role: identity.Agent})
		if err := in(secret); err != nil {
			t.Fatal(err)
		}
		if err := s.Revoke(t.Context(), root, k.ID); err != nil {
			t.Fatal(err)
		}
		isKind(t, "a key that was revoked", in(secret), stead.KindUnauthenticated)
	})
}

func TestARevokedKeyIsRefusedOnOtherNodesWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		documents := documenttest.NewMemory()
		node := func() *identity.Service {
			return identity.NewService(identity.Config{Documents: documents, Policy: identity.Authorizer{}, Root: rootKey, Now: time.Now})
		}
		a, b := node(), node()
		root, err := a.Authenticate(t.Context(), rootKey, "")
		if err != nil {
			t.Fatal(err)
		}
		k, secret := made(t, a, root.Principal, identity.Params{Role: identity.Agent})
		if _, err := b.Authenticate(t.Context(), secret, ""); err != nil {
			t.Fatal(err)
		}
		if err := a.Revoke(t.Context(), root.Principal, k.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(identity.CacheFor)
		_, err = b.Authenticate(t.Context(), secret, "")
		isKind(t, "on another node", err, stead.KindUnauthenticated)
	})
}

func TestLastUseIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := open(t)
		k, secret := made(t, s, root, identity.Params{Role: identity.Agent})
		time.Sleep(time.Hour)
		for range 3 {
			if _, err := s.Authenticate(t.Context(), secret, ""); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Get(t.Context(), root, k.ID)
		if err != nil || got.LastUsedAt != time.Now().UnixMilli() {
			t.Errorf("last used at %d, now is %d (%v)", got.LastUsedAt, time.Now().UnixMilli(), err)
		}
	})
}

func TestTheRootKeyOfADirectory(t *testing.T) {
	dir := t.TempDir()
	made, path, err := identity.LoadRoot(dir, "")
	if err != nil || len(made) < identity.MinRootBytes {
		t.Fatalf("%q, %v", made, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: it is for the server alone", info.Mode(), err)
	}
	if again, _, err := identity.LoadRoot(dir, ""); err != nil || again != made {
		t.Errorf("the second start has another root key: %v", err)
	}
	if given, _, err := identity.LoadRoot(dir, rootKey); err != nil || given != rootKey {
		t.Errorf("the configured one does not count: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, identity.RootFile), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = identity.LoadRoot(dir, "")
	isKind(t, "a short one", err, stead.KindUnavailable)
}

func TestWhatRolesMay(t *testing.T) {
	for _, tc := range []struct {
		effect policy.Effect
		may    string // first letters, P for operator and U for auditor
	}{
		{policy.SessionCreate, "ODG"}, {policy.SessionRead, "OPDAUG"}, {policy.SessionWrite, "OPDG"}, {policy.SessionDelete, "OPD"}, {policy.SessionTokenWrite, "OPDG"}, {policy.SessionTokenRead, "OPDUG"},
		{policy.AgentWrite, "OD"}, {policy.ApprovalGive, "OA"}, {policy.ToolCall, "OPDG"}, {policy.ModelCall, "OPDG"},
		{policy.KeyWrite, "O"}, {policy.KeyRead, "OU"}, {policy.TemplateWrite, "OD"}, {policy.MemoryWrite, "OPDG"}, {policy.VaultRead, "OPDU"}, {policy.VaultWrite, "OPD"}, {policy.CredentialUse, "OPDG"}, {policy.NetworkConnect, "OPDG"}, {policy.SubagentCreate, "OPDG"}, {policy.VectorStoreWrite, "OD"}, {policy.VectorStoreRead, "OPDUG"}, {"effect.of.tomorrow", "O"},
	} {
		for role, letter := range map[stead.Role]string{identity.Owner: "O", identity.Operator: "P", identity.Developer: "D", identity.Approver: "A", identity.Auditor: "U", identity.Agent: "G", "nobody": "x"} {
			if got, want := identity.May(role, tc.effect), strings.Contains(tc.may, letter); got != want {
				t.Errorf("%s by %s: %t, want %t", tc.effect, role, got, want)
			}
		}
	}
}

func TestTheKeyOfASecretIsNamedWithoutIt(t *testing.T) {
	for given, want := range map[string]string{
		"sk-stead-0a-00ff": "key_0a", "st-stead-0a-00ff": "stok_0a", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln": identity.TokenID,
		"a root key that somebody chose": "", "sk-stead-root-00ff": "", "sk-stead-0a": "", "sk-stead-<b>-00ff": "", "sk-stead-" + strings.Repeat("0", 100) + "-1": "",
	} {
		if got := identity.Claimed(given); got != want {
			t.Errorf("the key of %q is %q, want %q", given, got, want)
		}
	}
}
