package server

import (
	"context"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/seal/reseal"
	"github.com/stead-dev/stead/internal/vault"
)

// Vaults keeps vaults and their credentials: see package vault, which implements it.
type Vaults interface {
	Create(ctx context.Context, p stead.Principal, f vault.Fields, key, digest string) (vault.Vault, error)
	Get(ctx context.Context, p stead.Principal, id string) (vault.Vault, error)
	List(ctx context.Context, p stead.Principal, q vault.Query) ([]vault.Vault, bool, error)
	Update(ctx context.Context, p stead.Principal, id string, change func(*vault.Fields) error) (vault.Vault, error)
	Delete(ctx context.Context, p stead.Principal, id string) error

	CreateCredential(ctx context.Context, p stead.Principal, vault string, n vault.New, key, digest string) (vault.Credential, error)
	Credential(ctx context.Context, p stead.Principal, vault, id string) (vault.Credential, error)
	Credentials(ctx context.Context, p stead.Principal, vault string, q vault.Query) ([]vault.Credential, bool, error)
	UpdateCredential(ctx context.Context, p stead.Principal, vault, id string, change vault.Change) (vault.Credential, error)
	DeleteCredential(ctx context.Context, p stead.Principal, vault, id string) error
}

// Reseals seals anew what an older key sealed: see package reseal, which implements it.
type Reseals interface {
	Rekey(ctx context.Context, p stead.Principal, r reseal.Request) (reseal.Report, error)
}

func (s *server) rekeyVaults(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	if s.Reseals == nil {
		return stead.Errorf(stead.KindNotImplemented, "this server seals nothing")
	}
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a rekey", "project", "dry_run"); err != nil {
		return err
	}
	dry, _, err := req.Bool("dry_run")
	if err != nil {
		return err
	}
	project, _, err := req.String("project")
	if err != nil {
		return err
	}
	every, err := everyProject(p, project)
	if err != nil {
		return err
	}
	done, err := s.Reseals.Rekey(r.Context(), p, reseal.Request{All: every, DryRun: dry})
	if err != nil {
		return err
	}
	return s.write(w, wireRekeyedOf(done, every, dry))
}

// withVaults serves a route of vaults, where there are any.
func (s *server) withVaults(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
		if s.Vaults == nil {
			return stead.Errorf(stead.KindNotImplemented, "this server has no vaults")
		}
		return handle(w, r, p)
	}
}

func (s *server) createVault(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	var f vault.Fields
	if err := vaultFields(req.Object, &f); err != nil {
		return err
	}
	made, err := s.Vaults.Create(r.Context(), p, f, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, wireVaultOf(made))
}

// vaultFields sets what a request says of a vault: null clears.
func vaultFields(o param.Object, f *vault.Fields) error {
	if err := o.Only("a vault", "name", "metadata"); err != nil {
		return err
	}
	name, ok, err := o.String("name")
	switch {
	case err != nil:
		return err
	case ok:
		if f.Name, err = vault.Name("name", name); err != nil {
			return err
		}
	case o.Null("name"):
		f.Name = ""
	}
	return setMetadata(o, &f.Metadata)
}

func (s *server) getVault(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Vaults.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, wireVaultOf(found))
}

func (s *server) listVaults(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, none, err := vaultPage(r, vault.Prefix)
	if err != nil {
		return err
	}
	found, more, err := s.Vaults.List(r.Context(), p, q)
	if err != nil {
		return err
	}
	if none {
		found, more = nil, false
	}
	data := make([]wireVault, len(found))
	for i, v := range found {
		data[i] = wireVaultOf(v)
	}
	return s.write(w, listOf(data, more, func(v wireVault) string { return v.ID }))
}

func (s *server) updateVault(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	made, err := s.Vaults.Update(r.Context(), p, r.PathValue("id"), func(f *vault.Fields) error { return vaultFields(req.Object, f) })
	if err != nil {
		return err
	}
	return s.write(w, wireVaultOf(made))
}

func (s *server) deleteVault(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.Vaults.Delete(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "vault.deleted"})
}

func (s *server) createCredential(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	n, err := newCredential(req.Object)
	if err != nil {
		return err
	}
	made, err := s.Vaults.CreateCredential(r.Context(), p, r.PathValue("id"), n, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, wireCredentialOf(made))
}

func newCredential(o param.Object) (vault.New, error) {
	var n vault.New
	if err := o.Only("a credential", "name", "auth", "metadata"); err != nil {
		return n, err
	}
	name, err := param.Need(o.String("name"))("name")
	if err != nil {
		return n, err
	}
	if n.Name, err = vault.Name("name", name); err != nil {
		return n, err
	}
	if err := setMetadata(o, &n.Metadata); err != nil {
		return n, err
	}
	auth, err := param.Need(o.Object("auth"))("auth")
	if err != nil {
		return n, err
	}
	n.Auth, n.Secret, err = vault.DecodeAuth(auth)
	return n, err
}

func (s *server) getCredential(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Vaults.Credential(r.Context(), p, r.PathValue("id"), r.PathValue("credential"))
	if err != nil {
		return err
	}
	return s.write(w, wireCredentialOf(found))
}

func (s *server) listCredentials(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, none, err := vaultPage(r, vault.CredentialPrefix)
	if err != nil {
		return err
	}
	found, more, err := s.Vaults.Credentials(r.Context(), p, r.PathValue("id"), q)
	if err != nil {
		return err
	}
	if none {
		found, more = nil, false
	}
	data := make([]wireCredential, len(found))
	for i, c := range found {
		data[i] = wireCredentialOf(c)
	}
	return s.write(w, listOf(data, more, func(c wireCredential) string { return c.ID }))
}

func (s *server) updateCredential(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("an update of a credential", "auth", "metadata"); err != nil {
		return err
	}
	var change vault.Change
	if req.Has("metadata") {
		m := map[string]string{}
		if err := setMetadata(req.Object, &m); err != nil {
			return err
		}
		change.Metadata = &m
	}
	auth, ok, err := req.Object.Object("auth")
	if err != nil {
		return err
	}
	if ok {
		if change.Rotate, err = vault.DecodeRotation(auth); err != nil {
			return err
		}
	}
	made, err := s.Vaults.UpdateCredential(r.Context(), p, r.PathValue("id"), r.PathValue("credential"), change)
	if err != nil {
		return err
	}
	return s.write(w, wireCredentialOf(made))
}

func (s *server) deleteCredential(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("credential")
	if err := s.Vaults.DeleteCredential(r.Context(), p, r.PathValue("id"), id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "vault.credential.deleted"})
}
