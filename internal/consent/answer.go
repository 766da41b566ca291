package consent

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/vault"
)

// Shown is what the page says.
type Shown struct {
	For       stead.Principal
	Project   stead.ProjectID
	Session   stead.SessionID
	Agent     stead.AgentID
	Label     string
	ServerURL string
	Issuer    string
	Authorize string // where the browser is sent
	Scopes    []string
	Status    Status
	Reason    string
}

// Show is what the page of a ticket says.
func (s *Service) Show(ctx context.Context, ticket string) (Shown, error) {
	n, err := s.named("ticket", ticket)
	if err != nil {
		return Shown{}, err
	}
	d, err := s.cfg.Documents.GetDocument(ctx, key(n.Project, n.ID))
	if stead.KindOf(err) == stead.KindNotFound {
		return Shown{}, unknown()
	}
	if err != nil {
		return Shown{}, err
	}
	data, p, err := s.read(d)
	if err == nil && (!same(p.Ticket, n.Secret) || s.now() >= data.ExpiresAt) {
		err = unknown()
	}
	return data.shown(), err
}

func (c stored) shown() Shown {
	return Shown{c.For, c.Session.Project, c.Session.Session, c.Agent, c.Label, c.ServerURL, c.Server.Issuer, c.Server.Authorize, c.Server.Scopes, c.Status, c.Reason}
}

// Way is a user's way to the authorization server.
type Way struct {
	URL     string
	Browser string // what a cookie must hold when they come back
	Lasts   time.Duration
}

// Begin sends a user on from the page. Of several ways the last one counts.
func (s *Service) Begin(ctx context.Context, ticket string) (Way, error) {
	n, err := s.named("ticket", ticket)
	if err != nil {
		return Way{}, err
	}
	state, verifier, browser := secret(), secret(), secret()
	data, _, err := s.change(ctx, key(n.Project, n.ID), func(c *stored, p *private) error {
		if !same(p.Ticket, n.Secret) || s.now() >= c.ExpiresAt || c.Status != Asked && c.Status != Begun {
			return unknown()
		}
		c.Status, c.BegunAt = Begun, s.now()
		p.State, p.Verifier, p.Browser = state, verifier, browser
		return nil
	})
	if stead.KindOf(err) == stead.KindNotFound {
		return Way{}, unknown()
	}
	if err != nil {
		return Way{}, err
	}
	token, err := s.token("state", name{n.Project, n.ID, state})
	if err != nil {
		return Way{}, err
	}
	u, err := data.Server.Ask(data.ClientID, s.Redirect(data.Server.Issuer), token, verifier)
	return Way{URL: u, Browser: browser, Lasts: BeginFor}, err
}

// Answer is what comes back from an authorization server, as the browser brings it.
type Answer struct {
	Tag     string // of the path
	State   string
	Code    string
	Error   string // a code of RFC 6749, 4.1.2.1; "": none
	Issuer  string // iss; "": none
	Browser string // the cookie
}

// Finish takes an answer, and tells the session. What is returned is for the page.
func (s *Service) Finish(ctx context.Context, a Answer) (Shown, error) {
	n, err := s.named("state", a.State)
	if err != nil {
		return Shown{}, err
	}
	k := key(n.Project, n.ID)
	// The mark: from here on this answer, and no other, is taken.
	data, p, err := s.change(ctx, k, func(c *stored, p *private) error {
		switch {
		case c.Status != Begun || !same(p.State, n.Secret) || s.now() >= min(c.BegunAt+BeginFor.Milliseconds(), c.ExpiresAt):
			return unknown()
		case !same(p.Browser, a.Browser):
			return stead.Errorf(stead.KindForbidden, "this answer belongs to another browser: open the page anew in this one")
		case a.Tag != Tag(c.Server.Issuer) || !c.Server.Answered(a.Issuer):
			return stead.Errorf(stead.KindForbidden, "this answer is not of the authorization server that was asked")
		case a.Code == "" && a.Error == "":
			return stead.Errorf(stead.KindInvalid, "the authorization server's answer has neither a code nor an error")
		}
		c.Status, c.Until = Redeeming, s.now()+redeemFor.Milliseconds()
		p.State = ""
		return nil
	})
	if stead.KindOf(err) == stead.KindNotFound {
		return Shown{}, unknown()
	}
	if err != nil {
		return Shown{}, err
	}
	ctx = context.WithoutCancel(ctx) // the code is used up: a browser that goes away changes nothing
	reason, err := "", error(nil)
	switch {
	case a.Error == "access_denied":
		reason = "The user did not allow it."
	case a.Error != "":
		reason = "The authorization server refused."
	default:
		reason, err = s.redeem(ctx, k, data, p, a.Code)
	}
	if err != nil {
		s.cfg.Log.Warn("a consent can't be redeemed", "consent", k.ID, "session", data.Session.Session, "err", err)
	}
	return s.end(ctx, k, reason)
}

// redeem gets the tokens and stores them. reason is why that can't be, a sentence; "": it is done.
func (s *Service) redeem(ctx context.Context, k document.Key, c stored, p private, code string) (reason string, err error) {
	req := policy.Request{Principal: c.For, Session: c.Session, Agent: c.Agent, Acting: true}
	if err := s.allow(ctx, req, c.Vault, c.Server.Issuer); err != nil {
		return "It is not allowed.", err
	}
	to := vault.Refresh{ClientID: c.ClientID, Endpoint: c.Server.Token, ClientAuth: vault.ClientAuth(c.Method), Resource: c.Server.Resource}
	auth, got, refused, err := s.cfg.Vaults.Redeem(ctx, c.ServerURL, to, p.Secret, vault.Code{Text: code, Verifier: p.Verifier, Redirect: s.Redirect(c.Server.Issuer)})
	if refused != "" {
		if refused == vault.RefusedClient { // it was forgotten there: the next time we are registered anew
			_ = s.cfg.Documents.DeleteDocument(ctx, document.Key{Project: k.Project, Kind: clientKind, ID: "oc_" + Tag(c.Server.Issuer)}, 0)
		}
		return "The authorization server gave no token.", err
	}
	if err != nil {
		return "The authorization server could not be reached.", err
	}
	const most = vault.MaxNameBytes
	label := c.Label[:min(len(c.Label), most)]
	_, err = s.cfg.Vaults.Consent(ctx, k.Project, vault.Consented{ID: vault.CredentialPrefix + k.ID[len(idPrefix):], Name: label, Vault: c.Vault, For: vault.Holder(c.For), Auth: auth, Secret: got})
	if err != nil {
		return "The token could not be stored.", err
	}
	return "", nil
}

// end stores how a consent ended, and tells the session. reason "": it was given.
func (s *Service) end(ctx context.Context, k document.Key, reason string) (Shown, error) {
	data, _, err := s.change(ctx, k, func(c *stored, p *private) error {
		if c.Status != Redeeming {
			return unknown()
		}
		c.Status, c.Reason = Given, ""
		if reason != "" {
			c.Status, c.Reason = Refused, reason
		}
		*p = private{Ticket: p.Ticket} // nothing else is needed any more
		return nil
	})
	if err != nil {
		return Shown{}, err
	}
	if err := s.tell(ctx, k, data); err != nil { // Sweep does it
		s.cfg.Log.Warn("a session can't be told of a consent; it is told later", "consent", k.ID, "session", data.Session.Session, "err", err)
	}
	return data.shown(), nil
}

func (s *Service) tell(ctx context.Context, k document.Key, c stored) error {
	err := s.cfg.Tell(ctx, Outcome{Session: c.Session, Consent: k.ID, Given: c.Status == Given, Reason: c.Reason, By: c.For})
	if err != nil && stead.KindOf(err) != stead.KindNotFound { // it was deleted: nobody is left to tell
		return err
	}
	_, _, err = s.change(ctx, k, func(c *stored, _ *private) error { c.Told = true; return nil })
	return err
}

// Sweep ends what dead nodes began, tells sessions that were not told, and forgets what is long over. It says how many it
// looked at.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	docs, err := s.cfg.Documents.ExpiredDocuments(ctx, kind, s.now(), stead.MaxPageSize)
	if err != nil {
		return 0, err
	}
	for i, d := range docs {
		if err := s.tend(ctx, d); err != nil && stead.KindOf(err) != stead.KindNotFound {
			return i, err
		}
	}
	return len(docs), nil
}

func (s *Service) tend(ctx context.Context, d document.Document) error {
	data, _, err := s.read(d)
	switch {
	case err == nil && data.Status == Redeeming:
		_, err := s.end(ctx, d.Key, "The server that asked was stopped meanwhile.")
		return err
	case err == nil && data.ended() && !data.Told:
		return s.tell(ctx, d.Key, data)
	}
	return s.cfg.Documents.DeleteDocument(ctx, d.Key, d.Version) // over, or sealed with a key that is gone
}
