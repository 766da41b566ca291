package consent

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
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
	Scopes    []string
	Status    Status
	Reason    string
}

func (c stored) shown() Shown {
	return Shown{c.For, c.Session.Project, c.Session.Session, c.Agent, c.Label, c.ServerURL, c.Server.Issuer, c.Server.Scopes, c.Status, c.Reason}
}

// Show is what the page of a ticket says.
func (s *Service) Show(ctx context.Context, ticket string) (Shown, error) {
	n, data, err := s.find(ctx, s.ticketOf, ticket)
	switch {
	case err != nil:
		return Shown{}, err
	case data.ended():
		return data.shown(), nil
	case s.now() >= data.ExpiresAt:
		return Shown{}, unknown()
	}
	if _, err := s.waits(ctx, n, data); err != nil {
		return Shown{}, err
	}
	return data.shown(), nil
}

// find reads the consent that a ticket or a state names.
func (s *Service) find(ctx context.Context, read func(string) (name, error), text string) (name, stored, error) {
	n, err := read(text)
	if err != nil {
		return n, stored{}, err
	}
	d, err := s.cfg.Documents.GetDocument(ctx, key(n.Project, n.ID))
	if err != nil {
		return n, stored{}, missing(err)
	}
	data, _, err := s.read(d)
	return n, data, err
}

// waits refuses what nobody waits for any more: the session was deleted, its turn cancelled, the request denied.
func (s *Service) waits(ctx context.Context, n name, data stored) (policy.Request, error) {
	req, waits, err := s.cfg.Waits(ctx, data.Session, n.ID)
	if err == nil && !waits {
		err = unknown()
	}
	return req, err
}

// Way is a user's way to the authorization server.
type Way struct {
	URL     string
	Cookie  string // its name
	Browser string // what it must hold when they come back
	Lasts   time.Duration
}

// Begin sends a user on from the page. Of several ways the last one counts.
func (s *Service) Begin(ctx context.Context, ticket string) (Way, error) {
	n, data, err := s.find(ctx, s.ticketOf, ticket)
	if err != nil {
		return Way{}, err
	}
	if _, err := s.waits(ctx, n, data); err != nil {
		return Way{}, err
	}
	state, verifier, browser := secret(), secret(), secret()
	data, _, err = s.change(ctx, key(n.Project, n.ID), func(c *stored, p *private) error {
		if !c.open(s.now()) || !s.lent(*c) {
			return unknown()
		}
		c.Status, c.BegunAt = Begun, s.now()
		p.State, p.Verifier, p.Browser = state, verifier, browser
		return nil
	})
	if err != nil {
		return Way{}, missing(err)
	}
	token, err := s.state(name{n.Project, n.ID, state})
	if err != nil {
		return Way{}, err
	}
	u, err := data.Server.Ask(data.ClientID, s.Redirect(data.Server.Issuer), token, verifier)
	return Way{URL: u, Cookie: cookie(n.ID), Browser: browser, Lasts: BeginFor}, err
}

// Answer is what comes back from an authorization server, as the browser brings it.
type Answer struct {
	Tag    string // of the path
	State  string
	Code   string
	Error  string // a code of RFC 6749, 4.1.2.1; "": none
	Issuer string // iss; "": none
	Cookie func(name string) string
}

// Finish takes an answer, and tells the session. What is returned is for the page.
func (s *Service) Finish(ctx context.Context, a Answer) (Shown, error) {
	n, data, err := s.find(ctx, s.stateOf, a.State)
	if err != nil {
		return Shown{}, err
	}
	req, err := s.waits(ctx, n, data)
	if err != nil {
		return Shown{}, err
	}
	// The mark: from here on this answer, and no other, is taken.
	data, p, err := s.change(ctx, key(n.Project, n.ID), func(c *stored, p *private) error {
		if err := s.takes(n, a, *c, *p); err != nil {
			return err
		}
		c.Status, c.Until = Redeeming, s.now()+redeemFor.Milliseconds()
		p.State = ""
		return nil
	})
	if err != nil {
		return Shown{}, missing(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redeemFor) // the code is used up: a browser that goes away changes nothing
	defer cancel()
	status, reason := s.redeem(ctx, n, req, data, p, a)
	return s.end(ctx, n, data, status, reason)
}

// takes refuses an answer that is not the one to the question that was asked.
func (s *Service) takes(n name, a Answer, c stored, p private) error {
	switch {
	case c.Status != Begun || !same(p.State, n.Secret) || s.now() >= min(c.BegunAt+BeginFor.Milliseconds(), c.ExpiresAt):
		return unknown()
	case !same(p.Browser, a.Cookie(cookie(n.ID))):
		return stead.Errorf(stead.KindForbidden, "this answer belongs to another browser: open the link anew in this one")
	case a.Tag != Tag(c.Server.Issuer) || !c.Server.Answered(a.Issuer):
		return stead.Errorf(stead.KindForbidden, "this answer is not of the authorization server that was asked")
	case a.Code == "" && a.Error == "":
		return stead.Errorf(stead.KindInvalid, "the authorization server's answer has neither a code nor an error")
	}
	return nil
}

// redeem gets the tokens and stores them. reason is why that can't be, a sentence.
func (s *Service) redeem(ctx context.Context, n name, req policy.Request, c stored, p private, a Answer) (Status, string) {
	k := key(n.Project, n.ID)
	if a.Error != "" {
		s.record(ctx, req, c, policy.ConsentRefused)
		if a.Error == "access_denied" {
			return Refused, "The user did not allow it."
		}
		return Refused, "The authorization server refused."
	}
	if err := s.allow(ctx, req, c, policy.ConsentGiven); err != nil {
		return Refused, "A policy of this server does not allow it."
	}
	if !s.lent(c) {
		s.record(ctx, req, c, policy.ConsentRefused)
		return Refused, "The operator has taken back the client by which the user was asked."
	}
	to := vault.Refresh{ClientID: c.ClientID, Endpoint: c.Server.Token, ClientAuth: vault.ClientAuth(c.Method), Resource: c.Server.Resource}
	got, err := s.cfg.Vaults.Redeem(ctx, c.ServerURL, to, p.Secret, vault.Code{Text: a.Code, Verifier: p.Verifier, Redirect: s.Redirect(c.Server.Issuer)})
	if err != nil {
		s.cfg.Log.Warn("a consent can't be redeemed", "consent", k.ID, "session", c.Session.Session, "err", err)
		switch got.Refused {
		case "":
			return Again, "The authorization server could not be reached, and its code may be used up."
		case vault.RefusedClient:
			if !s.registeredItself(c) { // asking again would end here again, whatever the user says
				s.record(ctx, req, c, policy.ConsentRefused)
				return Refused, "The authorization server does not take the client by which it was asked, or its secret (invalid_client): that is for an operator of this server, below oauth.clients of the configuration."
			}
			s.forget(ctx, n.Project, c.Server.Issuer) // it was forgotten there: the next time we are registered anew
			return Again, "The authorization server does not know this server any more."
		}
		s.record(ctx, req, c, policy.ConsentRefused)
		return Refused, "The authorization server gave no token for the code that it had given (" + got.Refused + ")."
	}
	if aud, said := got.Audience(); said && !c.Server.Meant(aud, c.Audiences) {
		s.cfg.Log.Warn("the token of a consent is for another server than the tool server, which does not get it", "consent", k.ID, "session", c.Session.Session, "server", c.ServerURL, "aud", aud)
		s.record(ctx, req, c, policy.ConsentRefused)
		return Refused, "The authorization server gave a token that is for somebody else than the tool server (its aud): an operator who knows better names that in oauth.clients.audiences."
	}
	if err := s.keep(ctx, n, c, got); err != nil {
		s.cfg.Log.Error("the token of a consent is not stored", "consent", k.ID, "session", c.Session.Session, "err", err)
		return Again, "The token could not be stored, and its code is used up."
	}
	return Given, ""
}

// finish ends a consent: nothing of what is sealed is needed any more.
func (c *stored) finish(p *private, status Status, reason string, now int64) {
	c.Status, c.Reason, c.EndedAt = status, reason, now
	*p = private{}
}

// missing is the error for a document that is gone.
func missing(err error) error {
	if stead.KindOf(err) == stead.KindNotFound {
		return unknown()
	}
	return err
}
