package vault

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// Rekeyed says what sealing anew has done.
type Rekeyed struct {
	Credentials int // of the project
	Resealed    int // that an older key had sealed
	Unreadable  int // that no key of this node opens: they stay as they are
}

// Rekey wraps the data keys of a project's credentials with the key that seals now, where an older one did: no secret is opened. Nothing waits
// for it: both keys open meanwhile. It may be interrupted and run again; what is done already is passed over.
func (s *Service) Rekey(ctx context.Context, p stead.Principal) (Rekeyed, error) {
	var out Rekeyed
	if err := s.allow(ctx, p, policy.VaultWrite, ""); err != nil {
		return out, err
	}
	if p.Bound {
		return out, stead.Errorf(stead.KindForbidden, "a key that is bound to its own sessions seals nothing of the project anew")
	}
	err := s.each(ctx, document.Query{Project: p.Project, Kind: kindCredential}, func(d document.Document) (bool, error) {
		out.Credentials++
		done, err := s.reseal(ctx, d.Key)
		switch {
		case err == nil && done:
			out.Resealed++
		case stead.KindOf(err) == stead.KindNotFound: // it was deleted meanwhile
			out.Credentials--
		case err != nil && ctx.Err() == nil && !s.opens(d):
			out.Unreadable++
		default:
			return err == nil, err
		}
		return true, nil
	})
	return out, err
}

// reseal seals one anew, and reports whether it had to.
func (s *Service) reseal(ctx context.Context, k document.Key) (done bool, err error) {
	err = retried(func() error {
		d, err := s.cfg.Documents.GetDocument(ctx, k)
		if err != nil {
			return err
		}
		_, data, err := credentialOf(d)
		if err != nil || s.cfg.Keys.Current(data.Sealed) {
			return err
		}
		if data.Sealed, err = s.cfg.Keys.Rewrap(label(k), data.Sealed); err != nil {
			return err
		}
		_, err = s.put(ctx, d, data)
		done = err == nil
		return err
	})
	return done, err
}

// opens reports whether a key of this node opens a credential.
func (s *Service) opens(d document.Document) bool {
	_, data, err := credentialOf(d)
	if err == nil {
		_, err = s.open(d.Key, data)
	}
	return err == nil
}
