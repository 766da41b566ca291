package vault_test

import (
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/vault"
)

// A new key becomes the first while the old one still opens; once all is sealed anew, the old one is not needed.
func TestAKeyIsReplacedWithoutAPause(t *testing.T) {
	documents := &failing{documenttest.NewMemory(), func(document.Document) bool { return false }}
	node := func(k *seal.Keys) *vault.Service {
		return vault.NewService(vault.Config{Documents: documents, Keys: k, Policy: policy.AllowLocal{}, Now: time.Now})
	}
	old, fresh := node(keys(t, 1)), node(keys(t, 2))
	v, ids := with(t, old, owner, bearer, bearer, bearer)
	before, err := old.Credential(t.Context(), owner, v, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	rekey := func(k *seal.Keys, p stead.Principal) (reseal.Counts, error) {
		s := reseal.New(reseal.Config{Documents: documents, Keys: k, Policy: policy.AllowLocal{}, Places: []reseal.Place{vault.Sealed()}})
		got, err := s.Rekey(t.Context(), p, reseal.Request{})
		return got.Counts, err
	}
	both := keys(t, 2, 1)
	updates := 0
	documents.down = func(document.Document) bool { updates++; return updates == 2 } // it is interrupted
	got, err := rekey(both, owner)
	if stead.KindOf(err) != stead.KindUnavailable || got.Resealed != 1 {
		t.Errorf("interrupted: %+v, %v", got, err)
	}
	if got, err = rekey(both, owner); err != nil || got != (reseal.Counts{Credentials: 3, Resealed: 2}) {
		t.Errorf("again: %+v, %v", got, err)
	}
	if got, err = rekey(both, owner); err != nil || got != (reseal.Counts{Credentials: 3}) {
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
	if got, err = rekey(keys(t, 3), owner); err != nil || got != (reseal.Counts{Credentials: 3, Unreadable: 3}) {
		t.Errorf("with a key that opens none: %+v, %v", got, err)
	}
	if c, err := node(keys(t, 3)).Credential(t.Context(), owner, v, ids[0]); err != nil || len(c.SealedBy) != 16 {
		t.Errorf("where no key opens it: %+v, %v", c, err)
	}
	if c, _, err := fresh.Credentials(t.Context(), owner, v, vault.Query{Limit: 1}); err != nil || c[0].SealedBy != "" {
		t.Errorf("where one does: %+v, %v", c, err)
	}
	_, err = rekey(both, ada)
	isKind(t, "by a bound key", err, stead.KindForbidden)
}
