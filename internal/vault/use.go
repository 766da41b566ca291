package vault

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/tool"
)

// MaxVariables is the most credentials for environments that the vaults of one session have together.
const MaxVariables = 32

// Ask says who is about to use a credential, and in which session, as that stands now. Its Effect, Resource and
// Destination are set here.
type Ask = func(ctx context.Context) (policy.Request, error)

// unusable is the error of a credential that can't be used, and that no repetition helps.
func unusable(kind stead.Kind, format string, args ...any) *stead.Error {
	e := stead.Errorf(kind, format, args...)
	e.Code = tool.CodeCredential
	return e
}

// Attach refuses vaults that are not there for a principal. Nothing is opened.
func (s *Service) Attach(ctx context.Context, p stead.Principal, ids []string) error {
	if len(ids) > MaxAttached {
		return stead.Invalid("vault_ids", "vault_ids has %d entries, the limit is %d", len(ids), MaxAttached)
	}
	for i, id := range ids {
		at := param.Index("vault_ids", i)
		if slices.Contains(ids[:i], id) {
			return stead.Invalid(at, "%s names %.80q a second time", at, id)
		}
		_, _, err := s.vault(ctx, p, id)
		if strings.HasPrefix(id, ownPrefix) && id != s.Own(p) { // what is a user's own is no session's of anybody else
			err = vaultKey(p.Project, id).NotFound()
		}
		if stead.KindOf(err) == stead.KindNotFound {
			return stead.Invalid(at, "%s: there is no vault %.80q", at, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// found is a credential of an attached vault.
type found struct {
	Credential
	key      document.Key
	personal bool // it is one user's own, by its vault or by their consent
}

// attached are the credentials of vaults that are wanted. A vault that was deleted has none.
func (s *Service) attached(ctx context.Context, project stead.ProjectID, vaults []string, want func(Credential) bool) ([]found, error) {
	var out []found
	for _, id := range vaults {
		personal, gone, err := s.standing(ctx, project, id)
		if gone || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		err = s.each(ctx, document.Query{Project: project, Kind: kindCredential, Tag: id}, func(d document.Document) (bool, error) {
			c, _, err := credentialOf(d)
			if err == nil && want(c) {
				out = append(out, found{c, d.Key, personal || c.For != ""})
			}
			return true, err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// gone reports whether a vault was deleted.
func (s *Service) gone(ctx context.Context, project stead.ProjectID, id string) (bool, error) {
	_, gone, err := s.standing(ctx, project, id)
	return gone, err
}

// standing reports whether a vault is one user's own, and whether it was deleted.
func (s *Service) standing(ctx context.Context, project stead.ProjectID, id string) (personal, gone bool, err error) {
	d, err := s.cfg.Documents.GetDocument(ctx, vaultKey(project, id))
	if stead.KindOf(err) == stead.KindNotFound {
		return false, true, nil
	}
	if err != nil || d.ExpiresAt > 0 {
		return false, err == nil, err
	}
	_, data, err := vaultOf(d)
	return data.Owner != "", false, err
}

// Bearer finds the credential for a server: the one with the id, or else the only one that is for the URL, or that the user
// consented to; nil for none.
func (s *Service) Bearer(ctx context.Context, key stead.SessionKey, vaults []string, want tool.Wanted, ask Ask) (tool.Credential, error) {
	id, serverURL := want.ID, want.ServerURL
	matching, err := s.attached(ctx, key.Project, vaults, func(c Credential) bool {
		return c.Auth.Type != EnvironmentVariable && (c.For == "" || c.For == Holder(want.For)) && (id == c.ID || id == "" && sameURL(c.Auth.ServerURL, serverURL))
	})
	if id == "" {
		matching = own(matching)
	}
	switch {
	case err != nil:
		return nil, err
	case len(matching) == 0 && id == "" && want.Consents:
		return unconsented{key, serverURL}, nil
	case len(matching) == 0 && id == "":
		return nil, nil
	case len(matching) == 0:
		return nil, unusable(stead.KindInvalid, "none of the session's vaults has a credential %.80q for a tool server", id)
	case len(matching) > 1:
		e := unusable(stead.KindInvalid, "%d credentials of the session's vaults are for this URL", len(matching))
		e.Hint = "Choose one of them by credential_id."
		return nil, e
	}
	c := matching[0]
	switch {
	case !sameURL(c.Auth.ServerURL, serverURL):
		return nil, unusable(stead.KindInvalid, "the credential %s is for another URL than the tool server's", c.ID)
	case want.Inside && !strings.HasPrefix(strings.ToLower(serverURL), "https:"):
		return nil, unusable(stead.KindInvalid, "the credential %s is not sent unencrypted from an environment, whose commands could read it", c.ID)
	}
	return &token{s, key, c, stead.HostPort(serverURL), ask, want.Consents}, nil
}

// Holder names a principal as the For of credentials does.
func Holder(p stead.Principal) string { return string(p.Kind) + ":" + p.ID }

// unconsented is the credential of a server for which there is none yet.
type unconsented struct {
	key stead.SessionKey
	url string
}

// Key implements tool.Credential: such a server may know its sessions apart nevertheless.
func (u unconsented) Key() string {
	return string(u.key.Project) + "\x00" + string(u.key.Session) + "\x00unconsented\x00" + u.url
}

// Token implements tool.Credential.
func (unconsented) Token(context.Context, string) (string, error) { return "", nil }

// Consents implements tool.Credential.
func (unconsented) Consents() bool { return true }

// token implements tool.Credential.
type token struct {
	s   *Service
	key stead.SessionKey
	of  found
	to  string
	ask Ask

	consents bool
}

// Consents implements tool.Credential.
func (t *token) Consents() bool { return t.consents }

// Key implements tool.Credential: no two sessions share a connection that somebody's credential opened.
func (t *token) Key() string {
	return string(t.key.Project) + "\x00" + string(t.key.Session) + "\x00" + t.of.ID
}

// Token implements tool.Credential.
func (t *token) Token(ctx context.Context, refused string) (string, error) {
	d, data, err := t.s.usable(ctx, t.of, t.to, t.ask)
	if err != nil {
		return "", err
	}
	text, err := t.s.token(ctx, t.of, t.ask, d, data, refused)
	if t.consents && errors.Is(err, errSpent) {
		return "", tool.Unconsented(nil)
	}
	return text, err
}

// usable reads a credential that is about to be used. It is decided, and recorded, before it is opened.
func (s *Service) usable(ctx context.Context, c found, to string, ask Ask) (document.Document, storedCredential, error) {
	d, data, err := s.current(ctx, c)
	if err == nil {
		err = s.decide(ctx, c, to, ask)
	}
	return d, data, err
}

// decide asks whether a credential may be used.
func (s *Service) decide(ctx context.Context, c found, to string, ask Ask) error {
	req, err := ask(ctx)
	if err != nil {
		return err
	}
	if e := req.NotAlone("the credential " + c.ID); e != nil && c.personal {
		e.Code = tool.CodeCredential
		return e
	}
	req.Effect, req.Resource, req.Destination = policy.CredentialUse, c.Vault+"/"+c.ID, to
	_, err = policy.Check(ctx, s.cfg.Policy, req)
	if e, ok := errors.AsType[*stead.Error](err); ok && e.Kind == stead.KindForbidden {
		e.Code = tool.CodeCredential
	}
	return err
}

// current reads a credential as it is now, or says that it is gone.
func (s *Service) current(ctx context.Context, c found) (document.Document, storedCredential, error) {
	gone, err := s.gone(ctx, c.key.Project, c.Vault)
	if err != nil {
		return document.Document{}, storedCredential{}, err
	}
	d, err := s.cfg.Documents.GetDocument(ctx, c.key)
	if gone || stead.KindOf(err) == stead.KindNotFound {
		return d, storedCredential{}, unusable(stead.KindForbidden, "the credential %s was deleted", c.ID)
	}
	if err != nil {
		return d, storedCredential{}, err
	}
	_, data, err := credentialOf(d)
	return d, data, err
}

// mask reads the value of a credential in order to hide it, which is no use: nobody is asked. "": it is gone.
func (s *Service) mask(ctx context.Context, k document.Key) (string, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if err != nil {
		return "", absent(err)
	}
	_, data, err := credentialOf(d)
	if err != nil {
		return "", err
	}
	secret, err := s.open(k, data)
	return secret.Value, err
}

// Variables are the credentials of vaults for environments.
func (s *Service) Variables(ctx context.Context, project stead.ProjectID, vaults []string, ask Ask) ([]environment.Credential, error) {
	all, err := s.attached(ctx, project, vaults, func(c Credential) bool { return c.Auth.Type == EnvironmentVariable })
	if err != nil {
		return nil, err
	}
	if len(all) > MaxVariables {
		return nil, stead.Invalid("vault_ids", "the vaults have %d credentials for environments together, the limit is %d", len(all), MaxVariables)
	}
	out := make([]environment.Credential, 0, len(all))
	for _, c := range all {
		if slices.ContainsFunc(out, func(o environment.Credential) bool { return o.Variable == c.Auth.Variable }) {
			return nil, stead.Invalid("vault_ids", "two credentials of the vaults are for the variable %s", c.Auth.Variable)
		}
		v := environment.Credential{Variable: c.Auth.Variable, Changes: s.changes.Load, Value: func(ctx context.Context, to string) (string, error) {
			d, data, err := s.usable(ctx, c, to, ask)
			if err != nil {
				return "", err
			}
			secret, err := s.open(d.Key, data)
			return secret.Value, err
		}, Mask: func(ctx context.Context) (string, error) { return s.mask(ctx, c.key) }}
		for _, name := range c.Auth.Hosts {
			v.Hosts = append(v.Hosts, environment.SecretHosts(name)...)
		}
		out = append(out, v)
	}
	return out, nil
}

// Key opens a credential for the server's own request to a URL, which must be one that the credential is for: the
// same scheme, host and port as its MCP server's, or one of its hosts.
func (s *Service) Key(ctx context.Context, project stead.ProjectID, vault, id string, to *url.URL, ask Ask) (string, error) {
	c := found{Credential: Credential{ID: id, Vault: vault}, key: credentialKey(project, id)}
	d, data, err := s.current(ctx, c)
	switch {
	case err != nil:
		return "", err
	case d.Tag != vault:
		return "", unusable(stead.KindForbidden, "the vault %.80q has no credential %.80q", vault, id)
	case !data.Auth.leads(to):
		return "", unusable(stead.KindForbidden, "the credential %s is not for %s", id, stead.HostPort(to.String()))
	}
	if err := s.decide(ctx, c, stead.HostPort(to.String()), ask); err != nil {
		return "", err
	}
	return s.token(ctx, c, ask, d, data, "")
}

// leads reports whether a URL is one that the credential is for.
func (a Auth) leads(to *url.URL) bool {
	if to.Scheme != "https" && !loopback(to.Hostname()) {
		return false
	}
	if a.Type == EnvironmentVariable {
		return a.Unrestricted || slices.Contains(a.Hosts, strings.ToLower(to.Hostname()))
	}
	own, err := url.Parse(a.ServerURL)
	return err == nil && own.Scheme == to.Scheme && stead.HostPort(a.ServerURL) == stead.HostPort(to.String())
}
