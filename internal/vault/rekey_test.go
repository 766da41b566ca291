package vault_test

import (
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/vault"
)

// A new key becomes the first while the old one still opens; once all is sealed anew, the old one is not needed.
func TestAKeyIsReplacedWithoutAPause(t *testing.T) {
	documents := &failing{documenttest.NewMemory(), func(document.Document) bool { return false }}
	node := func(k *seal.Keys) *vault.Service {
		return vault.NewService(vault.Config{Documents: documents, Keys: k, Policy: policy.AllowLocal{}, Now: time.Now})
	}
	old, both, fresh := node(keys(t, 1)), node(keys(t, 2, 1)), node(keys(t, 2))
	v, ids := with(t, old, owner, bearer, bearer, bearer)
	before, err := old.Credential(t.Context(), owner, v, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	updates := 0
	documents.down = func(document.Document) bool { updates++; return updates == 2 } // it is interrupted
	got, err := both.Rekey(t.Context(), owner)
	if stead.KindOf(err) != stead.KindUnavailable || got.Resealed != 1 {
		t.Errorf("interrupted: %+v, %v", got, err)
	}
	if got, err = both.Rekey(t.Context(), owner); err != nil || got != (vault.Rekeyed{Credentials: 3, Resealed: 2}) {
		t.Errorf("again: %+v, %v", got, err)
	}
	if got, err = both.Rekey(t.Context(), owner); err != nil || got != (vault.Rekeyed{Credentials: 3}) {
		t.Errorf("once more: %+v, %v", got, err)
	}
	c, err := fresh.Bearer(t.Context(), inSession, []string{v}, tool.Wanted{ID: ids[0], ServerURL: "https://mcp.example/mcp"}, byAgent)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := c.Token(t.Context(), ""); token != "token-of-the-server" || err != nil {
		t.Errorf("with the new key alone: %q, %v", token, err)
	}
	if after, err := fresh.Credential(t.Context(), owner, v, ids[0]); err != nil || after.UpdatedAt != before.UpdatedAt {
		t.Errorf("it looks changed: %+v, %v", after, err)
	}
	if got, err = node(keys(t, 3)).Rekey(t.Context(), owner); err != nil || got != (vault.Rekeyed{Credentials: 3, Unreadable: 3}) {
		t.Errorf("with a key that opens none: %+v, %v", got, err)
	}
	_, err = both.Rekey(t.Context(), ada)
	isKind(t, "by a bound key", err, stead.KindForbidden)
}
