package vault

import (
	"context"
	"encoding/hex"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// Fields are what a request says of a vault.
type Fields struct {
	Name     string // "": none
	Metadata map[string]string
}

// Query selects a page.
type Query struct {
	After    string // id to go on after; "": from the beginning
	Limit    int
	Desc     bool
	Metadata map[string]string // only those with all of these pairs
}

func (q Query) matches(metadata map[string]string) bool {
	for k, v := range q.Metadata {
		if have, ok := metadata[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// Create makes a vault. key and digest are the request's idempotency.
func (s *Service) Create(ctx context.Context, p stead.Principal, f Fields, key, digest string) (Vault, error) {
	id := document.NewID(Prefix)
	if err := s.allowWritten(ctx, p, policy.VaultWrite, id, map[string]string{"name": f.Name, "owner": owner(p)}); err != nil {
		return Vault{}, err
	}
	data, err := encode(storedVault{Name: f.Name, Metadata: f.Metadata, Owner: owner(p)})
	if err != nil {
		return Vault{}, err
	}
	now := s.cfg.Now().UnixMilli()
	d, err := s.cfg.Documents.CreateDocument(ctx, document.Document{Key: vaultKey(p.Project, id), CreatedAt: now, UpdatedAt: now, Data: data}, key, digest)
	if err != nil {
		return Vault{}, err
	}
	v, _, err := vaultOf(d)
	return v, err
}

func vaultOf(d document.Document) (Vault, storedVault, error) {
	var data storedVault
	if err := json.Unmarshal(d.Data, &data); err != nil {
		return Vault{}, data, stead.Errorf(stead.KindInternal, "vault %s can't be read", d.ID)
	}
	return Vault{d.ID, data.Name, data.Metadata, d.CreatedAt, data.Owner}, data, nil
}

// vault reads one that is there for a principal.
func (s *Service) vault(ctx context.Context, p stead.Principal, id string) (document.Document, Vault, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, vaultKey(p.Project, id))
	if err != nil {
		return d, Vault{}, err
	}
	v, data, err := vaultOf(d)
	if err == nil && (d.ExpiresAt > 0 || !data.sees(p)) {
		err = d.NotFound()
	}
	return d, v, err
}

// Get returns a vault.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (Vault, error) {
	if err := s.allow(ctx, p, policy.VaultRead, id); err != nil {
		return Vault{}, err
	}
	_, v, err := s.vault(ctx, p, id)
	return v, err
}

// List returns a page of vaults in the order of their ids, and whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, q Query) ([]Vault, bool, error) {
	if err := s.allow(ctx, p, policy.VaultRead, ""); err != nil {
		return nil, false, err
	}
	out := make([]Vault, 0, q.Limit)
	more := false
	err := s.each(ctx, document.Query{Project: p.Project, Kind: kindVault, After: q.After, Desc: q.Desc, Now: s.cfg.Now().UnixMilli()}, func(d document.Document) (bool, error) {
		v, data, err := vaultOf(d)
		if err != nil || !data.sees(p) || !q.matches(v.Metadata) {
			return true, err
		}
		if more = len(out) == q.Limit; more {
			return false, nil
		}
		out = append(out, v)
		return true, nil
	})
	return out, more, err
}

// each calls f with every document of a query, page by page, until f says that it is enough.
func (s *Service) each(ctx context.Context, q document.Query, f func(document.Document) (bool, error)) error {
	q.Limit = stead.MaxPageSize
	for {
		docs, err := s.cfg.Documents.ListDocuments(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if on, err := f(d); err != nil || !on {
				return err
			}
			q.After = d.ID
		}
		if len(docs) < q.Limit {
			return nil
		}
	}
}

// Update changes a vault; change may be called several times.
func (s *Service) Update(ctx context.Context, p stead.Principal, id string, change func(*Fields) error) (Vault, error) {
	if err := s.allow(ctx, p, policy.VaultWrite, id); err != nil {
		return Vault{}, err
	}
	var out Vault
	err := retried(func() error {
		d, v, err := s.vault(ctx, p, id)
		if err != nil {
			return err
		}
		f := Fields{v.Name, v.Metadata}
		if err := change(&f); err != nil {
			return err
		}
		if d.Data, err = encode(storedVault{f.Name, f.Metadata, v.Owner}); err != nil {
			return err
		}
		d.Version, d.UpdatedAt = d.Version+1, s.cfg.Now().UnixMilli()
		if d, err = s.cfg.Documents.UpdateDocument(ctx, d); err != nil {
			return err
		}
		out, _, err = vaultOf(d)
		return err
	})
	return out, err
}

// retried tries again what somebody else's change came in between.
func retried(try func() error) error {
	var err error
	for range maxTries {
		if err = try(); stead.KindOf(err) != stead.KindConflict {
			return err
		}
	}
	return err
}

// Delete removes a vault with all of its credentials: none of them is used from then on.
func (s *Service) Delete(ctx context.Context, p stead.Principal, id string) error {
	if err := s.allow(ctx, p, policy.VaultWrite, id); err != nil {
		return err
	}
	return retried(func() error {
		d, _, err := s.vault(ctx, p, id)
		if err != nil {
			return err
		}
		d.Version, d.ExpiresAt = d.Version+1, s.cfg.Now().UnixMilli() // from here on it is gone
		if d, err = s.cfg.Documents.UpdateDocument(ctx, d); err != nil {
			return err
		}
		return s.purge(ctx, d)
	})
}

// purge removes what is left of a vault that was deleted.
func (s *Service) purge(ctx context.Context, d document.Document) error {
	err := s.each(ctx, document.Query{Project: d.Project, Kind: kindCredential, Tag: d.ID}, func(c document.Document) (bool, error) {
		err := s.cfg.Documents.DeleteDocument(ctx, c.Key, 0)
		return true, absent(err)
	})
	if err != nil {
		return err
	}
	return absent(s.cfg.Documents.DeleteDocument(ctx, d.Key, 0))
}

// absent takes it for done that something is not there.
func absent(err error) error {
	if stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	return err
}

// Sweep ends deletions that a crash interrupted, and says how many.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	docs, err := s.cfg.Documents.ExpiredDocuments(ctx, kindVault, s.cfg.Now().UnixMilli(), stead.MaxPageSize)
	if err != nil {
		return 0, err
	}
	for i, d := range docs {
		if err := s.purge(ctx, d); err != nil {
			return i, err
		}
	}
	return len(docs), nil
}

func hexOf(b []byte) []byte { return hex.AppendEncode(nil, b) }
