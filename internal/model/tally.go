package model

import (
	"context"
	"sync"

	"github.com/stead-dev/stead"
)

// Tally is what is known of a call's use while it is made, for whoever ends it before it is whole: whether its upstream
// has it, and what that said so far. It is carried in the context of the call, as net/http/httptrace's hooks are, since
// the two who need it are far apart: the adapter that sends the request, and the meter. A nil Tally notes nothing.
// It is safe for concurrent use.
type Tally struct {
	mu   sync.Mutex
	sent bool
	told *stead.Usage
	of   *Tally // the attempt that stands for the call; nil: the call has but one
}

type tallyKey struct{}

// WithTally is a context whose calls are noted in t.
func WithTally(ctx context.Context, t *Tally) context.Context {
	return context.WithValue(ctx, tallyKey{}, t)
}

// TallyOf is the Tally of a call; nil: nobody asks.
func TallyOf(ctx context.Context) *Tally {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	return t
}

// Attempt is a context for one of several attempts of a call, with a Tally of its own, which stands for the call from
// now on.
func Attempt(ctx context.Context) (context.Context, *Tally) {
	own := &Tally{}
	TallyOf(ctx).Follow(own)
	return WithTally(ctx, own), own
}

// Follow makes an attempt stand for the call.
func (t *Tally) Follow(attempt *Tally) {
	if t == nil || t == attempt {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of = attempt
}

// Sent notes that the upstream has the whole request: it may charge for it from now on.
func (t *Tally) Sent() { t.note(func() { t.sent = true }) }

// Refused notes that the upstream did not take the request, and charges nothing.
func (t *Tally) Refused() { t.note(func() { t.sent, t.told = false, nil }) }

// Told notes what the upstream says that the call has used so far.
func (t *Tally) Told(u stead.Usage) { t.note(func() { t.told = Sane(u) }) }

func (t *Tally) note(change func()) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

// Used is what the upstream said so far, nil if nothing, and whether it may charge for the call.
func (t *Tally) Used() (told *stead.Usage, charged bool) {
	if t == nil {
		return nil, false
	}
	t.mu.Lock()
	of := t.of
	told, charged = t.told, t.sent || t.told != nil
	t.mu.Unlock()
	if of != nil {
		return of.Used()
	}
	return told, charged
}

// Used is what a call is taken to have used: what its upstream told, and a guess where that lacks something, as a call
// without input does. Of an answer that is not whole the upstream's figure is of an earlier moment: the greater one counts.
// guessed reports whether anything is by the guess.
func Used(told *stead.Usage, guess stead.Usage, whole bool) (used stead.Usage, guessed bool) {
	if told == nil {
		return guess, true
	}
	used = *told
	if used.InputTokens == 0 && guess.InputTokens > 0 {
		used.InputTokens, guessed = guess.InputTokens, true
	}
	if guess.OutputTokens > used.OutputTokens && (!whole || used.OutputTokens == 0) {
		used.OutputTokens, guessed = guess.OutputTokens, true
	}
	return used, guessed
}

// Said counts the bytes of an answer's texts and arguments, whether they come in pieces, whole, or both.
type Said struct {
	bytes int
	shown int // of the texts of the items that have not ended
}

// Delta takes note of a piece.
func (s *Said) Delta(d Delta) {
	s.bytes, s.shown = s.bytes+len(d.Text), s.shown+len(d.Text)
	if d.Kind == ItemDone { // with its whole text, of which some or all was in deltas
		n := len(d.Item.Arguments)
		for _, c := range d.Item.Content {
			n += c.Text.Bytes
		}
		for _, t := range d.Item.Summary {
			n += t.Bytes
		}
		s.bytes, s.shown = s.bytes+max(n-s.shown, 0), max(s.shown-n, 0)
	}
}

// Bytes is the sum.
func (s *Said) Bytes() int { return s.bytes }
