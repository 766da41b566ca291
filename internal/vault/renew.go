package vault

import (
	"context"
	"errors"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// Times of renewing a token.
const (
	// RenewBefore is how long before its end a token is renewed.
	RenewBefore = time.Minute
	// RenewTimeout bounds one call of a token endpoint.
	RenewTimeout = 20 * time.Second
	// leaseTime is how long nobody else begins while somebody renews: longer than that takes, also where clocks differ.
	leaseTime = 2 * RenewTimeout
	// leasePoll is how often those who wait for it look.
	leasePoll = 25 * time.Millisecond
)

// lease says that somebody renews a token, until when nobody else begins: many calls on many nodes, and one renewal,
// since a token endpoint may take a refresh token once.
type lease struct {
	By    string `json:"by"`
	Until int64  `json:"until"` // Unix milliseconds
}

// spent reports whether a token must be renewed: it ends soon, or the server has just refused it.
func (s *Service) spent(data storedCredential, secret Secret, refused string) bool {
	if refused != "" && secret.Value == refused {
		return true
	}
	at := data.RenewAt
	if at == 0 && data.Auth.ExpiresAt > 0 {
		at = data.Auth.ExpiresAt - RenewBefore.Milliseconds()
	}
	return at > 0 && s.cfg.Now().UnixMilli() >= at
}

// valid reports whether a token that is to be renewed can still be sent.
func (s *Service) valid(data storedCredential, secret Secret, refused string) bool {
	return secret.Value != refused && (data.Auth.ExpiresAt == 0 || s.cfg.Now().UnixMilli() < data.Auth.ExpiresAt)
}

// token is the token to send. refused is one that the server has just refused; "" for none.
func (s *Service) token(ctx context.Context, c found, ask Ask, d document.Document, data storedCredential, refused string) (string, error) {
	secret, err := s.open(d.Key, data)
	if err != nil || !s.spent(data, secret, refused) {
		return secret.Value, err
	}
	if data.Auth.Refresh == nil || data.Refused != "" {
		return s.last(d, data, secret, refused)
	}
	return s.renew(ctx, c, ask, refused)
}

// errSpent is the cause of the error of a token that is of no use any more, until somebody authorizes anew.
var errSpent = errors.New("the token is spent")

// last is the token that can't be renewed, for as long as it is taken.
func (s *Service) last(d document.Document, data storedCredential, secret Secret, refused string) (string, error) {
	if s.valid(data, secret, refused) {
		return secret.Value, nil
	}
	e := unusable(stead.KindForbidden, "the tool server refused the credential %s", d.ID)
	e.Err = errSpent
	e.Hint = "Rotate it: stead credentials rotate " + d.Tag + " " + d.ID
	switch {
	case data.Refused != "":
		e.Message = "the credential " + d.ID + " needs to be authorized anew: " + data.Refused
	case refused == "":
		e.Message = "the token of credential " + d.ID + " has expired, and it can't be renewed"
	}
	return "", e
}

// renew gets a new token, or waits for who does.
func (s *Service) renew(ctx context.Context, c found, ask Ask, refused string) (string, error) {
	for {
		d, data, err := s.current(ctx, c)
		if err != nil {
			return "", err
		}
		secret, err := s.open(d.Key, data)
		if err != nil || !s.spent(data, secret, refused) {
			return secret.Value, err
		}
		if data.Auth.Refresh == nil || data.Refused != "" {
			return s.last(d, data, secret, refused)
		}
		if l := data.Lease; l != nil && l.Until > s.cfg.Now().UnixMilli() {
			if err := pause(ctx, leasePoll); err != nil {
				return "", err
			}
			continue
		}
		data.Lease = &lease{By: document.NewID(""), Until: s.cfg.Now().Add(leaseTime).UnixMilli()}
		if d, err = s.put(ctx, d, data); err == nil {
			return s.hold(ctx, c, ask, d, data, secret, refused)
		}
		if stead.KindOf(err) != stead.KindConflict {
			return "", err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the token of a credential was not renewed in time")
	}
}

// hold renews under a lease, which ends with it. Others wait for the outcome, so that it does not end with the call that
// happened to be first.
func (s *Service) hold(ctx context.Context, c found, ask Ask, d document.Document, data storedCredential, secret Secret, refused string) (string, error) {
	ctx = context.WithoutCancel(ctx)
	got, err := grant{}, s.decide(ctx, c, stead.HostPort(data.Auth.Refresh.Endpoint), ask)
	if err == nil {
		got, err = s.exchange(ctx, *data.Auth.Refresh, secret)
	}
	stored := s.settle(ctx, d, data.Lease.By, secret.RefreshToken, func(data *storedCredential, own *Secret) {
		switch {
		case err == nil:
			own.Value, data.Auth.ExpiresAt, data.RenewAt = got.token, got.expires, got.renew
			if got.refresh != "" {
				own.RefreshToken = got.refresh
			}
		case got.refused != "":
			data.Refused = got.refused
		}
	})
	switch {
	case stored != nil:
		return "", stored // what was not stored is not used
	case err == nil:
		return got.token, nil
	case got.refused != "":
		data.Refused = got.refused
		return s.last(d, data, secret, refused)
	case s.valid(data, secret, refused):
		s.cfg.Log.Warn("the token of a credential could not be renewed; it is sent for as long as it is valid", "credential", d.ID, "err", err)
		return secret.Value, nil
	}
	return "", err
}

// settle stores an outcome and ends the lease, over whatever else of the credential was changed meanwhile. If its refresh
// token was, somebody rotated it, and what was got with the old one is dropped.
func (s *Service) settle(ctx context.Context, d document.Document, by, with string, outcome func(*storedCredential, *Secret)) error {
	return retried(func() error {
		d, err := s.cfg.Documents.GetDocument(ctx, d.Key)
		if stead.KindOf(err) == stead.KindNotFound {
			return unusable(stead.KindForbidden, "the credential %s was deleted", d.ID)
		}
		if err != nil {
			return err
		}
		_, data, err := credentialOf(d)
		if err != nil {
			return err
		}
		secret, err := s.open(d.Key, data)
		if err != nil {
			return err
		}
		if secret.RefreshToken != with || data.Lease == nil || data.Lease.By != by {
			return stead.Errorf(stead.KindUnavailable, "the credential %s was changed while its token was renewed; try again", d.ID)
		}
		outcome(&data, &secret)
		data.Lease = nil
		if err := s.seal(d.Key, &data, secret); err != nil {
			return err
		}
		_, err = s.store(ctx, d, data)
		return err
	})
}
