package ns

import (
	"strconv"
	"sync"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// spareAfter is how long after a box was opened the next spare is made: not while its first command
// starts, which would be twice as slow.
const spareAfter = 50 * time.Millisecond

// spare keeps one cell ready for the box that is opened next: namespaces, a process and the start of
// its program take longer than all that is left to do then. It is made after a box was opened, and
// belongs to nobody until one takes it, once: no cell is used for a second box.
type spare struct {
	mu     sync.Mutex
	closed bool
	timer  *time.Timer // runs make; nil: never asked for
	made   int         // how many there were, for their names
	next   *making     // nil: none
}

// making is a cell that is ready, or about to be.
type making struct {
	done chan struct{} // closed when cell or err is set
	cell *cell
	err  error
}

// take returns the cell of a box: the spare one where it fits, else a new one.
func (s *spare) take(p *Provider, spec environment.Spec) (*cell, error) {
	limits := groupLimits(spec.Limits)
	if m := s.claim(!p.ids.own || !spec.AsRoot); m != nil {
		<-m.done // which is nearer than a new one's end
		if m.err == nil && m.cell.alive() {
			return m.cell, m.cell.group.Limit(limits)
		}
		_ = m.discard() // it died while it waited; a new one tells what is wrong
	}
	return p.newCell(spec.ID, limits, spec.AsRoot)
}

// claim takes the spare away from everybody else.
func (s *spare) claim(fits bool) *making {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.next
	if !fits || m == nil {
		return nil
	}
	s.next = nil
	return m
}

// refill has a spare made soon, where there is none.
func (s *spare) refill(p *Provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.next != nil:
	case s.timer == nil:
		s.timer = time.AfterFunc(spareAfter, func() { s.make(p) })
	default:
		s.timer.Reset(spareAfter) // boxes that are opened at once are not held up by it
	}
}

func (s *spare) make(p *Provider) {
	s.mu.Lock()
	if s.closed || s.next != nil {
		s.mu.Unlock()
		return
	}
	s.made++
	m, id := &making{done: make(chan struct{})}, "spare-"+strconv.Itoa(s.made)
	s.next = m
	s.mu.Unlock()
	defer close(m.done)
	m.cell, m.err = p.newCell(id, environment.Limits{}, false) // the box's own limits come with it
}

// close ends the spare, and lets no other be made.
func (s *spare) close() error {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop() // one that runs already has made next, or makes none
	}
	s.mu.Unlock()
	if m := s.claim(true); m != nil {
		return m.discard()
	}
	return nil
}

// discard ends what was made and not used.
func (m *making) discard() error {
	<-m.done
	if m.cell == nil {
		return nil
	}
	return m.cell.discard()
}
