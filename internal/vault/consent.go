package vault

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// Code is what an authorization server gave for a user's consent, and what it is redeemed with.
type Code struct {
	Text     string
	Verifier string // of PKCE
	Redirect string // as it was said when the user was asked
}

// Tokens are what a code brought, or why it brought none.
type Tokens struct {
	auth   Auth
	secret Secret
	renew  int64 // as storedCredential.RenewAt

	// Refused is the code of RFC 6749 with which the token endpoint refused, or "refused"; "": it did not.
	Refused string
}

// Audience is whom an access token says that it is for, and whether it says so: one that is no JWT says nothing that we may read, and
// neither does one without aud (RFC 9068, 2.2). It is not checked who signed it: it came from the token endpoint itself.
func (t Tokens) Audience() (aud []string, said bool) {
	parts := strings.Split(t.secret.Value, ".")
	const signed = 3
	if len(parts) != signed {
		return nil, false
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var claims struct {
		Aud json.RawMessage `json:"aud"`
	}
	if !decoded(parts[0], &header) || header.Alg == "" || !decoded(parts[1], &claims) || claims.Aud == nil || string(claims.Aud) == "null" {
		return nil, false
	}
	one := ""
	if json.Unmarshal(claims.Aud, &one) == nil {
		return []string{one}, true
	}
	_ = json.Unmarshal(claims.Aud, &aud) // what is neither is for nobody
	return aud, true
}

func decoded(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	return err == nil && json.Unmarshal(text, into) == nil
}

// RefusedClient is the Refused of a client that the authorization server does not know.
const RefusedClient = "invalid_client"

// Redeem gets the tokens for a user's consent to calls of serverURL (RFC 6749, 4.1.3; RFC 7636). to says where, and as which client,
// whose secret is clientSecret. A code is taken once: nobody else may redeem it meanwhile. Its error is of KindUnavailable; without
// Refused it is not known whether the code was taken.
func (s *Service) Redeem(ctx context.Context, serverURL string, to Refresh, clientSecret string, code Code) (Tokens, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code.Text}, "code_verifier": {code.Verifier}, "redirect_uri": {code.Redirect}}
	g, err := s.post(ctx, to, Secret{ClientSecret: clientSecret}, form)
	if err != nil {
		t := Tokens{Refused: g.code}
		if g.refused != "" && g.code == "" {
			t.Refused = "refused"
		}
		return t, err
	}
	t := Tokens{auth: Auth{Type: MCPOAuth, ServerURL: serverURL, ExpiresAt: g.expires}, secret: Secret{Value: g.token}, renew: g.renew}
	if g.refresh != "" {
		t.auth.Refresh, t.secret.RefreshToken, t.secret.ClientSecret = &to, g.refresh, clientSecret
	}
	return t, nil
}

// Own is the id of a user's own vault for consents.
func (s *Service) Own(p stead.Principal) string { return ownOf(Holder(p)) }

// ownPrefix begins the ids of such vaults: no vault that somebody makes has one.
const ownPrefix = Prefix + "own_"

// consented refuses what would put a token into a user's own vault that they have not consented to: another account's, in which their agent would work.
func consented(vault string) error {
	if strings.HasPrefix(vault, ownPrefix) {
		return stead.Errorf(stead.KindForbidden, "vault %s holds what its user consented to: nobody writes credentials into it", vault)
	}
	return nil
}

func ownOf(holder string) string {
	sum := sha256.Sum256([]byte(holder))
	return ownPrefix + hex.EncodeToString(sum[:16])
}

// Open refuses a vault that was deleted: a session that named it has nowhere to put a token. A user's own is made when it is needed.
func (s *Service) Open(ctx context.Context, project stead.ProjectID, vault string) error {
	d, err := s.cfg.Documents.GetDocument(ctx, vaultKey(project, vault))
	if stead.KindOf(err) == stead.KindNotFound && strings.HasPrefix(vault, ownPrefix) {
		return nil
	}
	gone := err == nil && d.ExpiresAt > 0
	if err == nil && gone {
		err = vaultKey(project, vault).NotFound()
	}
	return err
}

// Consented is where the tokens of a consent belong.
type Consented struct {
	ID    string // of the credential, if a new one is made: the same consent makes one
	Name  string
	Vault string
	For   string // as in Credential
}

// Keep stores the tokens that a user's consent brought: in the credential that is theirs for the server's URL already, or in a
// new one. It may be repeated. Whoever calls it has asked whether the user may.
func (s *Service) Keep(ctx context.Context, project stead.ProjectID, c Consented, t Tokens) (id string, err error) {
	err = retried(func() error {
		if err := s.Open(ctx, project, c.Vault); err != nil {
			return err
		}
		if err := s.makeOwn(ctx, project, c); err != nil {
			return err
		}
		old, err := s.attached(ctx, project, []string{c.Vault}, func(o Credential) bool {
			return o.ID == c.ID || o.For == c.For && o.Auth.Type == MCPOAuth && sameURL(o.Auth.ServerURL, t.auth.ServerURL)
		})
		if err != nil {
			return err
		}
		if len(old) > 0 {
			id = old[0].ID
			if err := s.replace(ctx, old[0].key, t); err != nil {
				return err
			}
			return s.stays(ctx, project, c)
		}
		if err := s.roomFor(ctx, project, c.Vault); err != nil {
			return err
		}
		id = c.ID
		if err := s.keepNew(ctx, credentialKey(project, c.ID), c, t); err != nil {
			return err
		}
		return s.stays(ctx, project, c)
	})
	return id, err
}

func (s *Service) keepNew(ctx context.Context, k document.Key, c Consented, t Tokens) error {
	data := storedCredential{Name: c.Name, Auth: t.auth, For: c.For, RenewAt: t.renew}
	if err := s.seal(k, &data, t.secret); err != nil {
		return err
	}
	raw, err := encode(data)
	if err != nil {
		return err
	}
	defer s.changes.Add(1)
	now := s.cfg.Now().UnixMilli()
	_, err = s.cfg.Documents.CreateDocument(ctx, document.Document{Key: k, CreatedAt: now, UpdatedAt: now, Tag: c.Vault, Data: raw}, "", "")
	return err // a conflict: a try before made it, which is found the next time
}

// makeOwn makes a user's own vault, if that is where the tokens go and it is not there.
func (s *Service) makeOwn(ctx context.Context, project stead.ProjectID, c Consented) error {
	if c.Vault != ownOf(c.For) {
		return nil
	}
	k := vaultKey(project, c.Vault)
	if _, err := s.cfg.Documents.GetDocument(ctx, k); stead.KindOf(err) != stead.KindNotFound {
		return err
	}
	raw, err := encode(storedVault{Name: "consents", Owner: c.For})
	if err != nil {
		return err
	}
	now := s.cfg.Now().UnixMilli()
	_, err = s.cfg.Documents.CreateDocument(ctx, document.Document{Key: k, CreatedAt: now, UpdatedAt: now, Data: raw}, "", "")
	return err // a conflict: somebody makes it at the same time
}

// stays says, once a credential is in a user's own vault, that there is more in it: whoever withdraws another one meanwhile, and found nothing left,
// leaves it, or has removed it, and then it is made again.
func (s *Service) stays(ctx context.Context, project stead.ProjectID, c Consented) error {
	if c.Vault != ownOf(c.For) {
		return nil
	}
	k := vaultKey(project, c.Vault)
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	switch {
	case stead.KindOf(err) == stead.KindNotFound:
		return s.makeOwn(ctx, project, c)
	case err != nil:
		return err
	case d.ExpiresAt > 0: // the user was erased meanwhile
		return k.NotFound()
	}
	d.Version, d.UpdatedAt = d.Version+1, s.cfg.Now().UnixMilli()
	if _, err = s.cfg.Documents.UpdateDocument(ctx, d); stead.KindOf(err) == stead.KindNotFound {
		return s.makeOwn(ctx, project, c)
	}
	return err
}

// Withdraw removes the credential that Keep has made for a consent (Consented.ID), if it has: what the user had before stays theirs. Of
// a user's own vault that holds nothing more it leaves nothing, as an erasure of the user before has it.
func (s *Service) Withdraw(ctx context.Context, project stead.ProjectID, vault, credential string) error {
	defer s.changes.Add(1)
	if err := absent(s.cfg.Documents.DeleteDocument(ctx, credentialKey(project, credential), 0)); err != nil || !strings.HasPrefix(vault, ownPrefix) {
		return err
	}
	own, err := s.cfg.Documents.GetDocument(ctx, vaultKey(project, vault))
	if err != nil {
		return absent(err)
	}
	left, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: project, Kind: kindCredential, Tag: vault, Limit: 1})
	if err != nil || len(left) > 0 {
		return err
	}
	if err = s.cfg.Documents.DeleteDocument(ctx, own.Key, own.Version); stead.KindOf(err) == stead.KindConflict { // another consent came in between: see stays
		return nil
	}
	return absent(err)
}

// replace puts new tokens in the place of those that a credential has. Who renews the old ones meanwhile finds them gone.
func (s *Service) replace(ctx context.Context, k document.Key, t Tokens) error {
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if err != nil {
		return err
	}
	_, data, err := credentialOf(d)
	if err != nil {
		return err
	}
	data.Auth, data.Refused, data.RenewAt, data.Lease = t.auth, "", t.renew, nil
	if err := s.seal(k, &data, t.secret); err != nil {
		return err
	}
	_, err = s.store(ctx, d, data)
	return err
}

// Forget removes what a user's consents brought, of whatever kind of principal the user is, and says how many credentials that were.
// Whoever calls it has asked whether that may be.
func (s *Service) Forget(ctx context.Context, project stead.ProjectID, user string) (int, error) {
	gone, err := s.forgetVaults(ctx, project, user)
	if err != nil {
		return gone, err
	}
	err = s.each(ctx, document.Query{Project: project, Kind: kindCredential}, func(d document.Document) (bool, error) {
		c, _, err := credentialOf(d)
		if err != nil {
			return false, err
		}
		if _, id, _ := strings.Cut(c.For, ":"); c.For == "" || id != user {
			return true, nil
		}
		if err := absent(s.cfg.Documents.DeleteDocument(ctx, d.Key, 0)); err != nil {
			return false, err
		}
		gone++
		s.changes.Add(1)
		return true, nil
	})
	return gone, err
}

// forgetVaults deletes the vaults that are a user's own, and says how many credentials they had.
func (s *Service) forgetVaults(ctx context.Context, project stead.ProjectID, user string) (int, error) {
	gone := 0
	err := s.each(ctx, document.Query{Project: project, Kind: kindVault}, func(d document.Document) (bool, error) {
		_, data, err := vaultOf(d)
		if err != nil {
			return false, err
		}
		if _, id, _ := strings.Cut(data.Owner, ":"); data.Owner == "" || id != user {
			return true, nil
		}
		if err := s.each(ctx, document.Query{Project: project, Kind: kindCredential, Tag: d.ID}, func(document.Document) (bool, error) { gone++; return true, nil }); err != nil {
			return false, err
		}
		d.Version, d.ExpiresAt = d.Version+1, s.cfg.Now().UnixMilli() // from here on it is gone: a crash leaves it to the sweep
		if d, err = s.cfg.Documents.UpdateDocument(ctx, d); err != nil {
			return true, absent(err)
		}
		s.changes.Add(1)
		return true, s.purge(ctx, d)
	})
	return gone, err
}

// own are the credentials that count for a user: their own before those for everybody.
func own(matching []found) []found {
	if i := slices.IndexFunc(matching, func(f found) bool { return f.For != "" }); i >= 0 {
		return matching[i : i+1]
	}
	return matching
}
