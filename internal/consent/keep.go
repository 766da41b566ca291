package consent

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/vault"
)

// Redeeming takes as long as an authorization server likes. Meanwhile the turn may be cancelled, the session deleted, the user erased:
// whoever does that looks for tokens once, and finds none yet. So whether somebody waits is asked before tokens are stored, and again
// behind that (end): then either they were there to be found, or it is seen here that nobody waits.

// keep stores tokens that somebody waits for. A database that is away for a moment loses none.
func (s *Service) keep(ctx context.Context, n name, c stored, got vault.Tokens) error {
	k := key(n.Project, n.ID)
	label := c.Label[:min(len(c.Label), vault.MaxNameBytes)]
	to := vault.Consented{ID: credential(k), Name: label, Vault: c.Vault, For: vault.Holder(c.For)}
	var err error
	for i := range keepTries {
		if _, err = s.waits(ctx, n, c); err == nil {
			_, err = s.cfg.Vaults.Keep(ctx, k.Project, to, got)
		}
		if stead.KindOf(err) != stead.KindUnavailable {
			return err
		}
		select {
		case <-time.After(keepPause << i):
		case <-ctx.Done():
			return err
		}
	}
	return err
}

// credential is the id of the one that a consent makes.
func credential(k document.Key) string { return vault.CredentialPrefix + k.ID[len(idPrefix):] }

// end stores how a consent ended, and tells the session, and others that wait for the same. What nobody waits for any more is taken
// out of the vault again, also where the node that stored it is dead: Sweep comes here.
func (s *Service) end(ctx context.Context, n name, c stored, status Status, reason string) (Shown, error) {
	k := key(n.Project, n.ID)
	req, err := s.waits(ctx, n, c)
	nobody := stead.KindOf(err) == stead.KindNotFound
	switch {
	case nobody:
		if err := s.cfg.Vaults.Withdraw(ctx, k.Project, c.Vault, credential(k)); err != nil {
			return Shown{}, err
		}
		status, reason = Refused, "Nobody waits for it any more."
	case err != nil: // it is not known: Sweep ends it
		return Shown{}, err
	case status == Given:
		s.record(ctx, req, c, policy.ConsentKept)
	}
	data, _, err := s.change(ctx, k, func(c *stored, p *private) error {
		if c.Status != Redeeming {
			return unknown()
		}
		c.finish(p, status, reason, s.now())
		return nil
	})
	if err != nil {
		return Shown{}, missing(err)
	}
	s.tell(ctx, k, data)
	if nobody {
		return Shown{}, unknown()
	}
	if status == Given {
		s.share(ctx, k, data)
	}
	return data.shown(), nil
}
