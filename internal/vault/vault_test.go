package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/vault"
)

var (
	ada   = stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Bound: true}
	bob   = stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "bob", Bound: true}
	owner = stead.Principal{Project: "p", Kind: stead.PrincipalService, ID: "app"}
)

func keys(t *testing.T, b byte, older ...byte) *seal.Keys {
	t.Helper()
	var more [][]byte
	for _, o := range older {
		more = append(more, bytes.Repeat([]byte{o}, seal.KeyBytes))
	}
	k, err := seal.New(bytes.Repeat([]byte{b}, seal.KeyBytes), more...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open is a service over a store.
func open(t *testing.T, documents document.Store, gate policy.Authorizer) *vault.Service {
	t.Helper()
	return vault.NewService(vault.Config{Documents: documents, Keys: keys(t, 1), Policy: gate, Now: time.Now})
}

func parsed(t *testing.T, text string) param.Object {
	t.Helper()
	o, err := param.Parse("auth", json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// with makes a vault with credentials of the given auths, and returns their ids.
func with(t *testing.T, s *vault.Service, p stead.Principal, auths ...string) (string, []string) {
	t.Helper()
	v, err := s.Create(t.Context(), p, vault.Fields{Name: "v"}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, text := range auths {
		a, secret, err := vault.DecodeAuth(parsed(t, text))
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.CreateCredential(t.Context(), p, v.ID, vault.New{Name: "c", Auth: a, Secret: secret}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, c.ID)
	}
	return v.ID, ids
}

const bearer = `{"type":"static_bearer","token":"token-of-the-server","mcp_server_url":"https://mcp.example/mcp"}`

func isKind(t *testing.T, what string, err error, want stead.Kind) {
	t.Helper()
	if stead.KindOf(err) != want {
		t.Errorf("%s: %v, want kind %q", what, err, want)
	}
}

func TestSecretsAreStoredSealed(t *testing.T) {
	documents := documenttest.NewMemory()
	s := open(t, documents, policy.AllowLocal{})
	v, ids := with(t, s, owner, bearer)
	d, err := documents.GetDocument(t.Context(), document.Key{Project: "p", Kind: "credential", ID: ids[0]})
	if err != nil || bytes.Contains(d.Data, []byte("token-of-the-server")) || bytes.Contains(d.Data, []byte("dG9rZW4tb2YtdGhlLXNlcnZlc")) {
		t.Fatalf("stored %s, %v", d.Data, err)
	}
	c, err := s.Credential(t.Context(), owner, v, ids[0])
	if err != nil || strings.Contains(fmt.Sprintf("%+v %#v", c, c), "token-of-the-server") {
		t.Errorf("shown %+v, %v", c, err)
	}
	// In another place the same bytes open nothing.
	other := d
	other.ID = "cred_elsewhere"
	if _, err := documents.CreateDocument(t.Context(), other, "", ""); err != nil {
		t.Fatal(err)
	}
	rotate, err := vault.DecodeRotation(parsed(t, `{"type":"static_bearer","token":"another-token"}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.UpdateCredential(t.Context(), owner, v, "cred_elsewhere", vault.Change{Rotate: rotate})
	isKind(t, "a secret that was moved", err, stead.KindInternal)
}

func TestABoundPrincipalHasVaultsOfItsOwn(t *testing.T) {
	s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
	hers, ids := with(t, s, ada, bearer)
	ours, _ := with(t, s, owner, bearer)
	if _, err := s.Credential(t.Context(), owner, hers, ids[0]); err != nil {
		t.Errorf("the project's own key: %v", err)
	}
	for _, id := range []string{hers, ours} {
		_, err := s.Get(t.Context(), bob, id)
		isKind(t, "somebody else's vault", err, stead.KindNotFound)
		_, _, err = s.Credentials(t.Context(), bob, id, vault.Query{Limit: 10})
		isKind(t, "its credentials", err, stead.KindNotFound)
		isKind(t, "deleting it", s.Delete(t.Context(), bob, id), stead.KindNotFound)
	}
	list, more, err := s.List(t.Context(), ada, vault.Query{Limit: 10})
	if err != nil || more || len(list) != 1 || list[0].ID != hers {
		t.Errorf("Ada sees %+v, %t, %v", list, more, err)
	}
}

func TestPagesAreFilteredWhole(t *testing.T) {
	s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
	var want []string
	for i := range 130 { // more than one page of the store between two matches
		m := map[string]string{"team": "b", "n": "1"}
		if i%65 == 0 {
			m["team"] = "a"
		}
		v, err := s.Create(t.Context(), owner, vault.Fields{Metadata: m}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if m["team"] == "a" {
			want = append(want, v.ID)
		}
	}
	q := vault.Query{Limit: 1, Metadata: map[string]string{"team": "a", "n": "1"}}
	first, more, err := s.List(t.Context(), owner, q)
	if err != nil || !more || len(first) != 1 || first[0].ID != want[0] {
		t.Fatalf("first page %+v, %t, %v", first, more, err)
	}
	q.After = first[0].ID
	second, more, err := s.List(t.Context(), owner, q)
	if err != nil || more || len(second) != 1 || second[0].ID != want[1] {
		t.Errorf("second page %+v, %t, %v", second, more, err)
	}
}

// crashing is a store that fails to delete credentials.
type crashing struct {
	document.Store
	down bool
}

func (c *crashing) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	if c.down {
		return stead.Errorf(stead.KindUnavailable, "the database is away")
	}
	return c.Store.DeleteDocument(ctx, k, version)
}

// The vaults that are a user's own go with the user, with all that they keep; nobody else's do.
func TestAUsersVaultsAreForgotten(t *testing.T) {
	documents := &crashing{Store: documenttest.NewMemory()}
	s := open(t, documents, policy.AllowLocal{})
	hers, ids := with(t, s, ada, bearer)
	his, _ := with(t, s, bob, bearer)
	ours, _ := with(t, s, owner, bearer)
	documents.down = true
	if _, err := s.Forget(t.Context(), "p", ada.ID); err == nil {
		t.Error("an interrupted one ends well")
	}
	documents.down = false
	if n, err := s.Forget(t.Context(), "p", ada.ID); n != 1 || err != nil {
		t.Errorf("%d credentials went, %v", n, err)
	}
	_, err := documents.GetDocument(t.Context(), document.Key{Project: "p", Kind: "credential", ID: ids[0]})
	isKind(t, "what it kept", err, stead.KindNotFound)
	_, err = s.Get(t.Context(), owner, hers)
	isKind(t, "her vault", err, stead.KindNotFound)
	for _, id := range []string{his, ours} {
		if _, err := s.Get(t.Context(), owner, id); err != nil {
			t.Errorf("another's: %v", err)
		}
	}
}

func TestADeletedVaultIsGoneAtOnceAndItsCredentialsAfterACrashToo(t *testing.T) {
	documents := &crashing{Store: documenttest.NewMemory()}
	s := open(t, documents, policy.AllowLocal{})
	v, ids := with(t, s, owner, bearer, bearer)
	documents.down = true
	isKind(t, "an interrupted deletion", s.Delete(t.Context(), owner, v), stead.KindUnavailable)
	documents.down = false
	_, err := s.Credential(t.Context(), owner, v, ids[0])
	isKind(t, "a credential of it", err, stead.KindNotFound)
	if list, _, err := s.List(t.Context(), owner, vault.Query{Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("it is listed: %+v, %v", list, err)
	}
	if n, err := s.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("%d were swept, %v", n, err)
	}
	for _, id := range ids {
		_, err := documents.GetDocument(t.Context(), document.Key{Project: "p", Kind: "credential", ID: id})
		isKind(t, "what it kept", err, stead.KindNotFound)
	}
}

func TestWhatIsNoCredentialIsRefusedWithoutShowingIt(t *testing.T) {
	const networking = `,"networking":{"type":"limited","allowed_hosts":["api.example"]}`
	for text, at := range map[string]string{
		`{"type":"password"}`: "auth.type",
		`{"type":"static_bearer","token":"the-secret-value"}`:                                                                                                                                                                                    "auth.mcp_server_url",
		`{"type":"static_bearer","token":"the-secret-value","mcp_server_url":"http://mcp.example"}`:                                                                                                                                              "auth.mcp_server_url",
		`{"type":"static_bearer","token":"the-secret-value","mcp_server_url":"https://u:p@mcp.example"}`:                                                                                                                                         "auth.mcp_server_url",
		`{"type":"static_bearer","token":"the-secret-value\n","mcp_server_url":"https://mcp.example"}`:                                                                                                                                           "auth.token",
		`{"type":"static_bearer","token":"short","mcp_server_url":"https://mcp.example"}`:                                                                                                                                                        "auth.token",
		`{"type":"static_bearer","token":"the-secret-value","mcp_server_url":"https://mcp.example","secret_name":"X"}`:                                                                                                                           "auth.secret_name",
		`{"type":"environment_variable","secret_name":"LD_PRELOAD","secret_value":"the-secret-value"` + networking + `}`:                                                                                                                         "auth.secret_name",
		`{"type":"environment_variable","secret_name":"CODEX_KEY","secret_value":"the-secret-value"` + networking + `}`:                                                                                                                          "auth.secret_name",
		`{"type":"environment_variable","secret_name":"https_proxy","secret_value":"the-secret-value"` + networking + `}`:                                                                                                                        "auth.secret_name",
		`{"type":"environment_variable","secret_name":"1X","secret_value":"the-secret-value"` + networking + `}`:                                                                                                                                 "auth.secret_name",
		`{"type":"environment_variable","secret_name":"X","secret_value":"the-secret-value"}`:                                                                                                                                                    "auth.networking",
		`{"type":"environment_variable","secret_name":"X","secret_value":"the-secret-value","networking":{"type":"limited","allowed_hosts":[]}}`:                                                                                                 "auth.networking.allowed_hosts",
		`{"type":"environment_variable","secret_name":"X","secret_value":"the-secret-value","networking":{"type":"limited","allowed_hosts":["*.x.example"]}}`:                                                                                    "auth.networking.allowed_hosts",
		`{"type":"environment_variable","secret_name":"X","secret_value":"the-secret-value","networking":{"type":"limited","allowed_hosts":["a:443"]}}`:                                                                                          "auth.networking.allowed_hosts",
		`{"type":"environment_variable","secret_name":"X","secret_value":"the-secret-value","networking":{"type":"limited","allowed_hosts":["192.0.2.1"]}}`:                                                                                      "auth.networking.allowed_hosts",
		`{"type":"mcp_oauth","access_token":"the-secret-value","mcp_server_url":"https://mcp.example","expires_at":"tomorrow"}`:                                                                                                                  "auth.expires_at",
		`{"type":"mcp_oauth","access_token":"the-secret-value","mcp_server_url":"https://mcp.example","refresh":{"client_id":"c","refresh_token":"the-secret-value","token_endpoint":"http://t.example","token_endpoint_auth":{"type":"none"}}}`: "auth.refresh.token_endpoint",
	} {
		_, _, err := vault.DecodeAuth(parsed(t, text))
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Kind != stead.KindInvalid || e.Param != at || strings.Contains(e.Error()+e.Hint, "the-secret-value") {
			t.Errorf("%s: %v, want %s", text, err, at)
		}
	}
}

func TestARotationKeepsTheType(t *testing.T) {
	s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
	v, ids := with(t, s, owner, bearer)
	rotate, err := vault.DecodeRotation(parsed(t, `{"type":"environment_variable","secret_value":"another-secret"}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.UpdateCredential(t.Context(), owner, v, ids[0], vault.Change{Rotate: rotate})
	isKind(t, "another type", err, stead.KindInvalid)
}
