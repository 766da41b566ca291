package vault

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// New is a credential to be made.
type New struct {
	Name     string
	Metadata map[string]string
	Auth     Auth
	Secret   Secret
}

// Change is what a request changes of a credential. It may be applied several times.
type Change struct {
	Metadata *map[string]string // nil: they stay
	// Rotate replaces secrets, and what goes with them; nil: they stay.
	Rotate func(*Auth, *Secret) error
}

// CreateCredential puts a credential into a vault.
func (s *Service) CreateCredential(ctx context.Context, p stead.Principal, vault string, n New, key, digest string) (Credential, error) {
	k := credentialKey(p.Project, document.NewID(CredentialPrefix))
	if err := s.allowWritten(ctx, p, policy.VaultWrite, vault+"/"+k.ID, written(n.Name, n.Auth)); err != nil {
		return Credential{}, err
	}
	if err := s.room(ctx, p, vault); err != nil {
		return Credential{}, err
	}
	if err := consented(vault); err != nil {
		return Credential{}, err
	}
	data := storedCredential{Name: n.Name, Metadata: n.Metadata, Auth: n.Auth}
	if err := s.seal(k, &data, n.Secret); err != nil {
		return Credential{}, err
	}
	raw, err := encode(data)
	if err != nil {
		return Credential{}, err
	}
	now := s.cfg.Now().UnixMilli()
	d, err := s.cfg.Documents.CreateDocument(ctx, document.Document{Key: k, CreatedAt: now, UpdatedAt: now, Tag: vault, Data: raw}, key, s.digest(p, digest))
	if err != nil {
		return Credential{}, err
	}
	if _, _, err := s.vault(ctx, p, vault); err != nil { // it was deleted meanwhile, perhaps without this one
		if stead.KindOf(err) == stead.KindNotFound {
			_ = s.cfg.Documents.DeleteDocument(ctx, d.Key, 0) // without its vault it is never used
		}
		return Credential{}, err
	}
	c, _, err := s.visible(d)
	return c, err
}

// room refuses a credential more than a vault may have.
func (s *Service) room(ctx context.Context, p stead.Principal, vault string) error {
	if _, _, err := s.vault(ctx, p, vault); err != nil {
		return err
	}
	return s.roomFor(ctx, p.Project, vault)
}

func (s *Service) roomFor(ctx context.Context, project stead.ProjectID, vault string) error {
	n := 0
	err := s.each(ctx, document.Query{Project: project, Kind: kindCredential, Tag: vault}, func(document.Document) (bool, error) {
		n++
		return n < MaxCredentials, nil
	})
	if err == nil && n >= MaxCredentials {
		err = stead.Errorf(stead.KindConflict, "the vault has %d credentials, which is the limit", n)
	}
	return err
}

func (s *Service) seal(k document.Key, data *storedCredential, secret Secret) error {
	plain, err := encode(secret)
	if err != nil {
		return err
	}
	data.Sealed = s.cfg.Keys.Seal(label(k), plain)
	return nil
}

// open is the opposite of seal.
func (s *Service) open(k document.Key, data storedCredential) (Secret, error) {
	plain, err := s.cfg.Keys.Open(label(k), data.Sealed)
	if err != nil {
		return Secret{}, err
	}
	var secret Secret
	if err := json.Unmarshal(plain, &secret); err != nil { // its cause could quote the text
		return Secret{}, stead.Errorf(stead.KindInternal, "the secret of credential %s can't be read", k.ID)
	}
	return secret, nil
}

func credentialOf(d document.Document) (Credential, storedCredential, error) {
	var data storedCredential
	if err := json.Unmarshal(d.Data, &data); err != nil { // its cause could quote what is sealed
		return Credential{}, data, stead.Errorf(stead.KindInternal, "credential %s can't be read", d.ID)
	}
	return Credential{d.ID, d.Tag, data.Name, data.Metadata, data.Auth, d.CreatedAt, d.UpdatedAt, data.Refused, data.For, ""}, data, nil
}

// credential reads one of a vault that is there for a principal.
func (s *Service) credential(ctx context.Context, p stead.Principal, vault, id string) (document.Document, storedCredential, error) {
	k := credentialKey(p.Project, id)
	if _, _, err := s.vault(ctx, p, vault); err != nil {
		return document.Document{}, storedCredential{}, err
	}
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if err != nil {
		return d, storedCredential{}, err
	}
	if d.Tag != vault {
		return d, storedCredential{}, k.NotFound()
	}
	_, data, err := credentialOf(d)
	return d, data, err
}

// Credential returns one, without its secret.
func (s *Service) Credential(ctx context.Context, p stead.Principal, vault, id string) (Credential, error) {
	if err := s.allow(ctx, p, policy.VaultRead, vault+"/"+id); err != nil {
		return Credential{}, err
	}
	d, _, err := s.credential(ctx, p, vault, id)
	if err != nil {
		return Credential{}, err
	}
	c, _, err := s.visible(d)
	return c, err
}

// Stoppable finds the credential of a project that is called ref, by its id, VAULT/ID or a name that only one has, and says which names there are where none
// is. It is for the node itself.
func (s *Service) Stoppable(ctx context.Context, project stead.ProjectID, ref string) (id string, names []string, err error) {
	var found []string
	err = s.each(ctx, document.Query{Project: project, Kind: kindCredential}, func(d document.Document) (bool, error) {
		c, _, err := credentialOf(d)
		switch {
		case err != nil && d.ID != ref: // another one can't be read
			return true, nil
		case ref == d.ID, ref == d.Tag+"/"+d.ID:
			found = []string{d.ID}
			return false, nil
		case c.Name == ref:
			found = append(found, d.ID)
		case c.Name != "":
			names = append(names, c.Name)
		}
		names = append(names, d.ID)
		return true, nil
	})
	if err == nil && len(found) > 1 {
		err = ambiguous("credentials", ref, found)
	}
	if err != nil || len(found) != 1 {
		return "", names, err
	}
	return found[0], names, nil
}

func ambiguous(what, ref string, ids []string) error {
	e := stead.Errorf(stead.KindConflict, "%d %s are called %.80q", len(ids), what, ref)
	e.Hint = "Name one by its id: " + ids[0] + ", " + ids[1] + "."
	return e
}

// Credentials returns a page of a vault's, in the order of their ids, and whether there are more.
func (s *Service) Credentials(ctx context.Context, p stead.Principal, vault string, q Query) ([]Credential, bool, error) {
	if err := s.allow(ctx, p, policy.VaultRead, vault); err != nil {
		return nil, false, err
	}
	if _, _, err := s.vault(ctx, p, vault); err != nil {
		return nil, false, err
	}
	out := make([]Credential, 0, q.Limit)
	more := false
	err := s.each(ctx, document.Query{Project: p.Project, Kind: kindCredential, Tag: vault, After: q.After, Desc: q.Desc}, func(d document.Document) (bool, error) {
		c, _, err := s.visible(d)
		if err != nil || !q.matches(c.Metadata) {
			return true, err
		}
		if more = len(out) == q.Limit; more {
			return false, nil
		}
		out = append(out, c)
		return true, nil
	})
	return out, more, err
}

// UpdateCredential changes a credential, or rotates its secret, which counts from the next request on.
func (s *Service) UpdateCredential(ctx context.Context, p stead.Principal, vault, id string, change Change) (Credential, error) {
	if err := s.allowWritten(ctx, p, policy.VaultWrite, vault+"/"+id, s.changed(ctx, p, vault, id, change)); err != nil {
		return Credential{}, err
	}
	var out Credential
	err := retried(func() error {
		d, data, err := s.credential(ctx, p, vault, id)
		if err != nil {
			return err
		}
		if change.Metadata != nil {
			data.Metadata = *change.Metadata
		}
		if change.Rotate != nil {
			if err := consented(vault); err != nil {
				return err
			}
			secret, err := s.open(d.Key, data)
			if err != nil {
				return err
			}
			if err := change.Rotate(&data.Auth, &secret); err != nil {
				return err
			}
			if err := s.seal(d.Key, &data, secret); err != nil {
				return err
			}
			data.Refused, data.RenewAt, data.Lease = "", 0, nil
		}
		if d, err = s.store(ctx, d, data); err != nil {
			return err
		}
		out, _, err = s.visible(d)
		return err
	})
	return out, err
}

// store writes the next version of a credential, which was changed.
func (s *Service) store(ctx context.Context, d document.Document, data storedCredential) (document.Document, error) {
	d.UpdatedAt = s.cfg.Now().UnixMilli()
	return s.put(ctx, d, data)
}

// put writes the next version of a credential.
func (s *Service) put(ctx context.Context, d document.Document, data storedCredential) (document.Document, error) {
	raw, err := encode(data)
	if err != nil {
		return d, err
	}
	d.Data, d.Version = raw, d.Version+1
	defer s.changes.Add(1)
	return s.cfg.Documents.UpdateDocument(ctx, d)
}

// DeleteCredential removes a credential: it is not used from the next request on.
func (s *Service) DeleteCredential(ctx context.Context, p stead.Principal, vault, id string) error {
	if err := s.allowWritten(ctx, p, policy.VaultWrite, vault+"/"+id, s.changed(ctx, p, vault, id, Change{})); err != nil {
		return err
	}
	d, _, err := s.credential(ctx, p, vault, id)
	if err != nil {
		return err
	}
	return s.cfg.Documents.DeleteDocument(ctx, d.Key, 0)
}
