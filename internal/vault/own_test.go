package vault_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/vault"
)

// between is a store in which something happens before a call is made, once.
type between struct {
	document.Store
	first map[string]func() // by call
}

func (b *between) happens(call string) {
	if do := b.first[call]; do != nil {
		delete(b.first, call)
		do()
	}
}

func (b *between) ListDocuments(ctx context.Context, q document.Query) ([]document.Document, error) {
	if q.Limit == 1 {
		b.happens("list")
	}
	return b.Store.ListDocuments(ctx, q)
}

func (b *between) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	if k.Kind == "vault" {
		b.happens("delete")
	}
	return b.Store.DeleteDocument(ctx, k, version)
}

func (b *between) CreateDocument(ctx context.Context, d document.Document, key, digest string) (document.Document, error) {
	if d.Kind == "credential" {
		b.happens("create")
	}
	return b.Store.CreateDocument(ctx, d, key, digest)
}

func (b *between) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	if d.Kind == "vault" {
		b.happens("update")
	}
	return b.Store.UpdateDocument(ctx, d)
}

// A user's own vault is there as long as anything is in it, wherever a consent that comes and one that is withdrawn meet; and without, nothing is left.
func TestAnOwnVaultStaysWhileSomethingIsInIt(t *testing.T) {
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"the-secret-value","token_type":"Bearer","expires_in":3600}`))
	}))
	defer tokens.Close()
	for call, comes := range map[string]bool{"list": true, "delete": true, "create": false, "update": false, "": true} {
		t.Run(call, func(t *testing.T) {
			documents := &between{documenttest.NewMemory(), map[string]func(){}}
			s := open(t, documents, policy.AllowLocal{})
			own := s.Own(ada)
			keep := func(id, server string) {
				t.Helper()
				got, err := s.Redeem(t.Context(), server, vault.Refresh{Endpoint: tokens.URL, ClientID: "c"}, "", vault.Code{Text: "code", Verifier: "v", Redirect: "https://stead.example"})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Keep(t.Context(), "p", vault.Consented{ID: id, Name: "c", Vault: own, For: vault.Holder(ada)}, got); err != nil {
					t.Fatal(err)
				}
			}
			withdraw := func(id string) {
				t.Helper()
				if err := s.Withdraw(t.Context(), "p", own, id); err != nil {
					t.Fatal(err)
				}
			}
			keep("cred_1", "https://one.example/mcp")
			if comes { // while the first one is withdrawn the second one comes
				documents.first[call] = func() { keep("cred_2", "https://two.example/mcp") }
				withdraw("cred_1")
				if call == "" {
					documents.first[""]()
				}
			} else { // while the second one comes the first one is withdrawn
				documents.first[call] = func() { withdraw("cred_1") }
				keep("cred_2", "https://two.example/mcp")
			}
			list, _, err := s.Credentials(t.Context(), ada, own, vault.Query{Limit: 10})
			if err != nil || len(list) != 1 || list[0].ID != "cred_2" {
				t.Fatalf("in it are %+v, %v", list, err)
			}
			withdraw("cred_2")
			if _, err := s.Get(t.Context(), ada, own); stead.KindOf(err) != stead.KindNotFound {
				t.Errorf("with nothing in it: %v", err)
			}
		})
	}
}
