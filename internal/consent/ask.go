package consent

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/oauth"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/vault"
)

// Question is what a session's user is to be asked.
type Question struct {
	Request   policy.Request // the session's, whose Principal is asked
	Vault     string         // where the tokens go
	Label     string         // of the tool server
	ServerURL string
	Challenge []string // WWW-Authenticate, as the server refused
}

// Page is what somebody must open: see Link.
type Page struct {
	ID        string
	Issuer    string
	Scope     string
	ExpiresAt int64 // Unix milliseconds
}

// Ask finds out where the user is asked, and makes the page. Nobody is told yet. A page without an id: meanwhile the user has said
// yes in another session, and need not be asked.
func (s *Service) Ask(ctx context.Context, q Question) (Page, error) {
	project, began := q.Request.Session.Project, s.now()
	if err := s.cfg.Vaults.Open(ctx, project, q.Vault); err != nil {
		return Page{}, err
	}
	server, err := oauth.Discover(ctx, s.cfg.HTTP, q.ServerURL, q.Challenge)
	if err != nil {
		return Page{}, err
	}
	if err := s.allow(ctx, q.Request, stored{Vault: q.Vault, ServerURL: q.ServerURL, Server: server}, policy.ConsentAsked); err != nil {
		return Page{}, err
	}
	client, own, err := s.client(ctx, project, q.ServerURL, &server)
	if err != nil {
		return Page{}, err
	}
	var audiences []string
	if own != nil {
		audiences = own.Audiences
	}
	id := document.NewID(idPrefix)
	p := private{Secret: client.Secret}
	data := stored{
		Status: Asked, Session: q.Request.Session, Agent: q.Request.Agent, For: q.Request.Principal, Vault: q.Vault, Label: q.Label, ServerURL: q.ServerURL,
		Server: server, ClientID: client.ID, Method: client.Method, Audiences: audiences, Operators: own != nil, ExpiresAt: s.now() + Lifetime.Milliseconds(),
	}
	raw, err := s.write(key(project, id), &data, p)
	if err != nil {
		return Page{}, err
	}
	now := s.now()
	d := document.Document{Key: key(project, id), CreatedAt: now, UpdatedAt: now, ExpiresAt: data.sweepAt(now), Tag: data.tag(), Data: raw}
	if _, err := s.cfg.Documents.CreateDocument(ctx, d, "", ""); err != nil {
		return Page{}, err
	}
	if given, err := s.given(ctx, d.Key, data, began); given || err != nil {
		return Page{}, err
	}
	return Page{ID: id, Issuer: server.Issuer, Scope: strings.Join(server.Scopes, " "), ExpiresAt: data.ExpiresAt}, nil
}

// given reports whether a consent for the same was given since a time: whoever gave it has looked for others that wait before
// this one was there.
func (s *Service) given(ctx context.Context, k document.Key, c stored, since int64) (bool, error) {
	docs, err := s.alike(ctx, k, c)
	if err != nil {
		return false, err
	}
	for _, d := range docs {
		if o, _, err := s.read(d); err == nil && o.Status == Given && o.EndedAt >= since {
			return true, s.cfg.Documents.DeleteDocument(ctx, k, 0)
		}
	}
	return false, nil
}

// allow asks whether a user may let an agent act for them at a server: a use of a credential that is to be.
// The record tells to whom the tokens go, and by which client.
func (s *Service) allow(ctx context.Context, req policy.Request, c stored, step policy.Consent) error {
	req.Effect, req.Resource, req.Destination, req.Consent = policy.CredentialConsent, c.Vault, stead.HostPort(c.Server.Issuer), step
	req.Written = map[string]string{"server": stead.HostPort(c.ServerURL), "resource": c.Server.Resource}
	if c.ClientID != "" {
		req.Written["client"] = c.ClientID
	}
	if c.Operators {
		req.Written["client_of"] = "operator"
	}
	_, err := policy.Check(ctx, s.cfg.Policy, req)
	return err
}

// record tells the audit log of a step that nobody can refuse any more.
func (s *Service) record(ctx context.Context, req policy.Request, c stored, step policy.Consent) {
	if err := s.allow(ctx, req, c, step); err != nil {
		s.cfg.Log.Warn("a step of a consent is not in the audit log as it happened", "session", c.Session.Session, "step", step, "err", err)
	}
}

// clientKind are the clients that authorization servers registered, one an issuer and project: no project's hostile server
// is heard about another project's.
const clientKind document.Kind = "oauth_client"

// storedClient is the data of such a document.
type storedClient struct {
	Issuer    string `json:"issuer"`
	Register  string `json:"register"`
	Redirect  string `json:"redirect"`
	ExpiresAt int64  `json:"expires_at,omitempty"` // Unix seconds
	Sealed    []byte `json:"sealed"`               // oauth.Registration
}

// operators is the client that the operator registered at an authorization server, for a project's use with a tool server; nil: there is
// none. One that is for other servers is nobody's proof for this one, and neither is a registration of our own beside it.
func (s *Service) operators(project stead.ProjectID, serverURL, issuer string) (*Client, error) {
	known := false
	for _, c := range *s.clients.Load() {
		if !c.has(project) || strings.TrimSuffix(c.Issuer, "/") != strings.TrimSuffix(issuer, "/") {
			continue
		}
		if slices.ContainsFunc(c.Servers, func(named string) bool { return oauth.Covers(named, serverURL) }) {
			return &c, nil
		}
		known = true
	}
	if known {
		e := stead.Errorf(stead.KindForbidden, "the operator's client at %.200s is not for the tool server %.200s: oauth.clients.servers of the configuration names those that it is for", issuer, stead.HostPort(serverURL))
		e.Hint = "The operator adds the server's origin there, if its users' tokens may go to it."
		return nil, e
	}
	return nil, nil
}

// lent reports whether the client that a user was asked by is still the operator's for that server: a configuration that was read again may
// have taken it back.
func (s *Service) lent(c stored) bool {
	if !c.Operators {
		return true
	}
	now, err := s.operators(c.Session.Project, c.ServerURL, c.Server.Issuer)
	return err == nil && now != nil && now.ID == c.ClientID
}

// client is what an authorization server knows us by, for a tool server: as the operator registered it, by the document at our own URL,
// or as it registered us when we asked first. own is the operator's.
func (s *Service) client(ctx context.Context, project stead.ProjectID, serverURL string, server *oauth.Server) (r oauth.Registration, own *Client, err error) {
	c, err := s.operators(project, serverURL, server.Issuer)
	if err != nil {
		return r, nil, err
	}
	if c != nil {
		if c.Scopes != nil {
			server.Scopes = c.Scopes
		}
		return oauth.Registration{ID: c.ID, Secret: c.Secret, Method: server.Method(c.Secret)}, c, nil
	}
	r, err = s.registered(ctx, project, server)
	return r, nil, err
}

// registered is a client that nobody registered by hand.
func (s *Service) registered(ctx context.Context, project stead.ProjectID, server *oauth.Server) (oauth.Registration, error) {
	if server.Documents && s.described() {
		return oauth.Registration{ID: s.cfg.Base + ClientPath + Tag(server.Issuer), Method: oauth.MethodNone}, nil
	}
	k := document.Key{Project: project, Kind: clientKind, ID: clientID(server.Issuer)}
	label := seal.Label{Project: project, Kind: string(clientKind), ID: k.ID}
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if err == nil {
		if r, ok := s.known(d, label, server); ok && !s.forgotten(ctx, server, r) {
			return r, nil
		}
		if err := s.cfg.Documents.DeleteDocument(ctx, k, d.Version); err != nil && stead.KindOf(err) != stead.KindNotFound {
			return oauth.Registration{}, err
		}
	} else if stead.KindOf(err) != stead.KindNotFound {
		return oauth.Registration{}, err
	}
	redirect := s.Redirect(server.Issuer)
	r, err := server.RegisterClient(ctx, s.cfg.HTTP, clientName, redirect)
	if err != nil {
		return r, err
	}
	plain, err := json.Marshal(r)
	if err != nil {
		return r, stead.Wrap(stead.KindInternal, err, "a client can't be written")
	}
	raw, err := json.Marshal(storedClient{server.Issuer, server.Register, redirect, r.ExpiresAt, s.cfg.Keys.Seal(label, plain)})
	if err != nil {
		return r, stead.Wrap(stead.KindInternal, err, "a client can't be written")
	}
	now := s.now()
	_, err = s.cfg.Documents.CreateDocument(ctx, document.Document{Key: k, CreatedAt: now, UpdatedAt: now, Data: raw}, "", "")
	if stead.KindOf(err) == stead.KindConflict { // another node was registered meanwhile: both are good
		err = nil
	}
	return r, err
}

// forgotten reports whether an authorization server says that it does not know a client that it registered: many drop those that nobody
// uses, or all of them when they are started. It would tell the user alone, who then comes back to nobody (RFC 6749, 4.1.2.1), and so its
// token endpoint is asked first, with a code that nobody gave. Any other answer, and none, leaves the client as it is.
func (s *Service) forgotten(ctx context.Context, server *oauth.Server, r oauth.Registration) bool {
	ctx, cancel := context.WithTimeout(ctx, oauth.Timeout)
	defer cancel()
	to := vault.Refresh{ClientID: r.ID, Endpoint: server.Token, ClientAuth: vault.ClientAuth(r.Method), Resource: server.Resource}
	got, err := s.cfg.Vaults.Redeem(ctx, server.Resource, to, r.Secret, vault.Code{Text: secret(), Verifier: secret(), Redirect: s.Redirect(server.Issuer)})
	return err != nil && got.Refused == vault.RefusedClient
}

// described reports whether authorization servers can read what this server's URL says of it.
func (s *Service) described() bool { return strings.HasPrefix(s.cfg.Base, "https://") }

// Client is the document that describes this server to the issuer of a tag.
func (s *Service) Client(tag string) ([]byte, error) {
	if raw, err := hex.DecodeString(tag); err != nil || len(raw) != tagBytes || hex.EncodeToString(raw) != tag || !s.described() {
		return nil, stead.NotFound("client", tag)
	}
	return oauth.Document(s.cfg.Base+ClientPath+tag, clientName, s.cfg.Base+CallbackPath+tag)
}

// clientName is how users know this server where they are asked.
const clientName = "Stead"

// registeredItself reports whether a user was asked by a client that its authorization server made for this one, and not by the operator's
// or by the document at our own URL.
func (s *Service) registeredItself(c stored) bool {
	return !c.Operators && !strings.HasPrefix(c.ClientID, s.cfg.Base+ClientPath)
}

// forget drops a registration that its authorization server does not know any more. One of the operator's is not ours to drop.
func (s *Service) forget(ctx context.Context, project stead.ProjectID, issuer string) {
	err := s.cfg.Documents.DeleteDocument(ctx, document.Key{Project: project, Kind: clientKind, ID: clientID(issuer)}, 0)
	if err != nil && stead.KindOf(err) != stead.KindNotFound {
		s.cfg.Log.Warn("a client that its authorization server does not know can't be dropped", "issuer", issuer, "err", err)
	}
}

func clientID(issuer string) string { return "oc_" + Tag(issuer) }

// clientMargin is how long before its end a client's secret is not used any more, for a new consent.
const clientMargin = 2 * Lifetime

// known is the registration that a document holds, unless it is another's, or ends soon.
func (s *Service) known(d document.Document, label seal.Label, server *oauth.Server) (oauth.Registration, bool) {
	var c storedClient
	var r oauth.Registration
	if json.Unmarshal(d.Data, &c) != nil || c.Issuer != server.Issuer || c.Register != server.Register || c.Redirect != s.Redirect(server.Issuer) {
		return r, false
	}
	if c.ExpiresAt > 0 && s.cfg.Now().Add(clientMargin).Unix() >= c.ExpiresAt {
		return r, false
	}
	plain, err := s.cfg.Keys.Open(label, c.Sealed)
	return r, err == nil && json.Unmarshal(plain, &r) == nil
}
