package trace

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// Begun folds events in which a root turn begins, and says how many spans began and how many ended, and whether the turn did.
func Begun(v *session.View, events []stead.Event, begin stead.Seq) (began, ended int, done bool, err error) {
	f := newFolder(v, begin)
	for _, e := range events[begin-1:] {
		if err := f.step(e); err != nil || f.done {
			return len(f.opened), len(f.spans) + int(f.dropped), f.done, err
		}
	}
	return len(f.opened), len(f.spans) + int(f.dropped), false, nil
}
