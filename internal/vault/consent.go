package vault

import (
	"context"
	"net/url"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// Consented is what a user's consent brought.
type Consented struct {
	ID     string // of the credential, if a new one is made: the same consent makes one
	Name   string
	Vault  string
	For    string // as in Credential
	Auth   Auth   // of type MCPOAuth
	Secret Secret
}

// Code is what an authorization server gave for a user's consent, and what it is redeemed with.
type Code struct {
	Text     string
	Verifier string // of PKCE
	Redirect string // as it was said when the user was asked
}

// Redeem gets the tokens for a user's consent (RFC 6749, 4.1.3; RFC 7636). to says where, and as which client; secret is that
// client's. refused is why the endpoint refused, for good; "": it did not, or could not be reached. A code is taken once: nobody
// else may redeem it meanwhile.
func (s *Service) Redeem(ctx context.Context, serverURL string, to Refresh, secret string, code Code) (auth Auth, got Secret, refused string, err error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code.Text}, "code_verifier": {code.Verifier}, "redirect_uri": {code.Redirect}}
	g, err := s.post(ctx, to, Secret{ClientSecret: secret}, form)
	if err != nil {
		return Auth{}, Secret{}, g.refused, err
	}
	auth = Auth{Type: MCPOAuth, ServerURL: serverURL, ExpiresAt: g.expires}
	got = Secret{Value: g.token}
	if g.refresh != "" {
		auth.Refresh, got.RefreshToken, got.ClientSecret = &to, g.refresh, secret
	}
	return auth, got, "", nil
}

// Open reports whether a vault is there, for a session that has it.
func (s *Service) Open(ctx context.Context, project stead.ProjectID, vault string) error {
	gone, err := s.gone(ctx, project, vault)
	if err == nil && gone {
		err = vaultKey(project, vault).NotFound()
	}
	return err
}

// Consent stores the tokens that a user's consent brought: in the credential that is for them and the server's URL
// already, or in a new one. It may be repeated. Whoever calls it has asked whether the user may.
func (s *Service) Consent(ctx context.Context, project stead.ProjectID, c Consented) (id string, err error) {
	err = retried(func() error {
		if err := s.Open(ctx, project, c.Vault); err != nil {
			return err
		}
		k := credentialKey(project, c.ID)
		old, err := s.attached(ctx, project, []string{c.Vault}, func(o Credential) bool {
			return o.For == c.For && o.Auth.Type == MCPOAuth && sameURL(o.Auth.ServerURL, c.Auth.ServerURL)
		})
		if err != nil {
			return err
		}
		now := s.cfg.Now().UnixMilli()
		data := storedCredential{Name: c.Name, Auth: c.Auth, For: c.For}
		if len(old) > 0 {
			k = old[0].key
		} else if err := s.roomFor(ctx, project, c.Vault); err != nil {
			return err
		}
		id = k.ID
		if err := s.seal(k, &data, c.Secret); err != nil {
			return err
		}
		if len(old) > 0 {
			return s.replace(ctx, k, data)
		}
		raw, err := encode(data)
		if err != nil {
			return err
		}
		defer s.changes.Add(1)
		_, err = s.cfg.Documents.CreateDocument(ctx, document.Document{Key: k, CreatedAt: now, UpdatedAt: now, Tag: c.Vault, Data: raw}, "", "")
		return err // a conflict: it was made by a try before, which is found the next time
	})
	return id, err
}

// replace puts new tokens in the place of those that a credential has.
func (s *Service) replace(ctx context.Context, k document.Key, with storedCredential) error {
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if err != nil {
		return err
	}
	_, data, err := credentialOf(d)
	if err != nil {
		return err
	}
	with.Name, with.Metadata = data.Name, data.Metadata
	_, err = s.store(ctx, d, with)
	return err
}
