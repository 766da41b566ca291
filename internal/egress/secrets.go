package egress

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// secrets are the values that answers are searched for: of all credentials, from the proxy's first answer on,
// whoever sent them. A server may show a value that another environment sent, or this one before it was suspended,
// and also in an answer that began before the value was there: so the list is asked for anew with each piece.
type secrets struct {
	creds  []*credential
	now    func() time.Time
	latest atomic.Pointer[look] // never nil

	reading sync.Mutex // one reads the values at a time; taken before mu
	mu      sync.Mutex
	values  map[string][]string // placeholder → values, the newest last
}

// look is what was known of the values at a time. It is replaced, never changed.
type look struct {
	at      time.Time // zero: they have never been read
	changes uint64    // as it was before they were read
	list    []spelling
	err     error // why not all could be read
}

func newSecrets(creds []*credential, now func() time.Time) *secrets {
	s := &secrets{creds: creds, now: now, values: map[string][]string{}}
	s.latest.Store(&look{})
	return s
}

// known are the spellings to look for, the longest first, so that one which holds another wins.
func (s *secrets) known() []spelling { return s.latest.Load().list }

// changes grows with every change that this process knows of. It is a sum of counters that only grow.
func (s *secrets) changes() (n uint64) {
	for _, c := range s.creds {
		if c.Changes != nil {
			n += c.Changes()
		}
	}
	return n
}

func (s *secrets) stale(l *look) bool {
	return l.at.IsZero() || s.now().Sub(l.at) >= secretsAge || s.changes() != l.changes
}

// fresh is known, read anew if that is needed: when something was changed here, and every secretsAge for what was
// changed elsewhere. An error says that a value could not be read; the list then has what was known of it before.
func (s *secrets) fresh(ctx context.Context) ([]spelling, error) {
	if l := s.latest.Load(); !s.stale(l) {
		return l.list, l.err
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	if l := s.latest.Load(); !s.stale(l) {
		return l.list, l.err
	}
	next := look{at: s.now(), changes: s.changes()}
	found := make([]string, len(s.creds))
	for i, c := range s.creds {
		value, err := c.Mask(ctx)
		if err != nil {
			next.err = err
			continue
		}
		found[i] = value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for i, c := range s.creds {
		changed = s.add(c.Placeholder, found[i]) || changed
	}
	next.list = s.latest.Load().list
	if changed {
		next.list = s.spell()
	}
	s.latest.Store(&next)
	return next.list, next.err
}

// sent remembers a value that is about to be sent, which may be newer than those that were read.
func (s *secrets) sent(placeholder, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.add(placeholder, value) {
		next := *s.latest.Load()
		next.list = s.spell()
		s.latest.Store(&next)
	}
}

// add keeps the newest values of a credential. The inside decides neither how many there are nor what they hold.
func (s *secrets) add(placeholder, value string) bool {
	values := s.values[placeholder]
	if !sendable(value) || slices.Contains(values, value) {
		return false
	}
	if values = append(values, value); len(values) > MaxKeptSecrets {
		values = values[1:]
	}
	s.values[placeholder] = values
	return true
}

func (s *secrets) spell() []spelling {
	var list []spelling
	for placeholder, values := range s.values {
		for _, v := range values {
			for _, form := range forms(v) {
				list = append(list, spelling{form, placeholder})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b spelling) int { return len(b.secret) - len(a.secret) })
	return list
}

// sendable reports whether a value can stand in a header field, and can be looked for: no other is ever sent.
func sendable(value string) bool {
	return len(value) >= MinSecretBytes && len(value) <= MaxSecretBytes && !strings.ContainsFunc(value, notFieldValue)
}

func notFieldValue(r rune) bool { return r < ' ' || r == 0x7f }
