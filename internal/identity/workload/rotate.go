package workload

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Key is what may be seen of a key.
type Key struct {
	ID        string // kid
	Algorithm string
	Status    string // one of those below
	Created   time.Time
	From      time.Time // it signs from here
	Until     time.Time // to here
	Published time.Time // and is published until here
}

// Statuses of a Key.
const (
	StatusNext    = "next"    // it is published, and does not sign yet
	StatusSigning = "signing" // by the configuration of this node
	StatusRetired = "retired" // it has signed, and is published on
)

// keysResource is what policies and the audit log call the keys of this package.
const keysResource = "workload"

// Rotate has another key sign from SignAfter on, on all nodes. Asked again before that it is the same key.
func (i *Issuer) Rotate(ctx context.Context, p stead.Principal) (Key, error) {
	if err := i.allow(ctx, p, policy.KeyWrite); err != nil {
		return Key{}, err
	}
	k, err := i.keys.rotate(ctx)
	if err != nil {
		return Key{}, err
	}
	return i.keys.seen(k), nil
}

// List returns the keys that are published, the oldest first.
func (i *Issuer) List(ctx context.Context, p stead.Principal) ([]Key, error) {
	if err := i.allow(ctx, p, policy.KeyRead); err != nil {
		return nil, err
	}
	i.keys.mu.Lock()
	defer i.keys.mu.Unlock()
	if err := i.keys.refresh(ctx); err != nil {
		return nil, err
	}
	out := []Key{}
	for _, k := range i.keys.keys {
		if seen := i.keys.seen(k); i.cfg.Now().Before(seen.Published) {
			out = append(out, seen)
		}
	}
	return out, nil
}

// allow asks about the keys, which are the server's and not a project's: an owner of any project is one of those whom they serve.
func (i *Issuer) allow(ctx context.Context, p stead.Principal, effect policy.Effect) error {
	_, err := policy.Check(ctx, i.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: keysResource})
	return err
}

func (s *keySet) seen(k kept) Key {
	now := s.cfg.Now().UnixMilli()
	status := StatusRetired
	switch {
	case now < k.From && k.From < k.end:
		status = StatusNext
	case k.From <= now && now < k.end && k.Algorithm == s.cfg.Algorithm:
		status = StatusSigning
	}
	return Key{
		ID: k.Public.KeyID, Algorithm: k.Algorithm, Status: status, Created: time.UnixMilli(k.created),
		From: time.UnixMilli(k.From), Until: time.UnixMilli(k.end), Published: time.UnixMilli(k.end).Add(KeptFor),
	}
}
