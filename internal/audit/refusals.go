package audit

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/stead-dev/stead"
)

const (
	// RefusalWindow is how long refusals of one call of one caller are counted together after the first.
	RefusalWindow = time.Minute
	// MaxRefusalKinds is the most calls of a caller that have records of their own within a window; the rest of theirs are counted together.
	MaxRefusalKinds = 32
)

// Refusals records who was refused whatever they ask, without letting them fill the disk: the first of a caller, with a key, and a call before it is answered, those
// that follow within a window together, with their number. None is left out of the count; a crash loses a window's. It is safe for concurrent use.
type Refusals struct {
	log *Log
	now func() time.Time
	out *slog.Logger

	mu     sync.Mutex
	kinds  map[refusal]*refusals // of this window; nil: none is open
	of     map[refused]int       // how many kinds a caller has
	window *time.Timer
	closed bool
	work   sync.WaitGroup // a window's records that are being stored
}

// refused is a caller, and by what.
type refused struct {
	project stead.ProjectID
	kind    stead.PrincipalKind
	id, by  string
}

// refusal is what is counted together: a call with a key, or in a session. All three are "" for the rest of a caller's.
type refusal struct {
	refused
	act, key string
	session  stead.SessionID
}

type refusals struct {
	of     Record // the first
	count  int    // of those that were not recorded
	untold bool   // the next one is to have a record
}

// NewRefusals makes one. out is told what could not be stored.
func NewRefusals(log *Log, now func() time.Time, out *slog.Logger) *Refusals {
	return &Refusals{log: log, now: now, out: out}
}

// Refused records that a call was, by the first of the record's Policies: Detail is the call. The error says that it could not be stored.
func (s *Refusals) Refused(ctx context.Context, r Record) error {
	one, first := s.counted(r)
	if !first {
		return nil
	}
	err := s.log.Append(ctx, r)
	if err != nil && ctx.Err() == nil { // it is not stored, and not only too late for who asks: the next one is the first
		s.mu.Lock()
		one.untold = true
		s.mu.Unlock()
	}
	return err
}

// counted counts a refusal with others of its kind. first: it is to have a record of its own.
func (s *Refusals) counted(r Record) (one *refusals, first bool) {
	who := refused{r.Project, r.Principal.Kind, r.Principal.ID, ""}
	if len(r.Policies) > 0 {
		who.by = r.Policies[0]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &refusals{}, true
	}
	if s.kinds == nil {
		s.kinds, s.of = map[refusal]*refusals{}, map[refused]int{}
		s.window = time.AfterFunc(RefusalWindow, s.over)
	}
	k := refusal{who, r.Detail, r.Principal.Key, r.Session}
	if s.kinds[k] == nil && s.of[who] >= MaxRefusalKinds {
		k = refusal{refused: who}
	}
	one = s.kinds[k]
	if one == nil {
		one = &refusals{of: r, untold: k.act != ""}
		s.kinds[k] = one
		s.of[who]++
	}
	if one.untold {
		one.untold = false
		return one, true
	}
	one.count++
	return one, false
}

// over ends a window.
func (s *Refusals) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell()
}

// tell records what was counted, while nobody waits for it.
func (s *Refusals) tell() {
	if s.kinds == nil {
		return
	}
	s.window.Stop()
	var all []Record
	for k, one := range s.kinds {
		if one.count == 0 {
			continue
		}
		r := one.of
		r.At, r.Request, r.From = s.now().UnixMilli(), "", ""
		if r.Detail = fmt.Sprintf("%s, refused %d more times", k.act, one.count); k.act == "" {
			r.Session, r.Principal.Key, r.Detail = "", "", fmt.Sprintf("other calls, refused %d times", one.count)
		}
		all = append(all, r)
	}
	s.kinds, s.of, s.window = nil, nil, nil
	s.work.Go(func() {
		for _, r := range all {
			if err := s.log.Append(context.Background(), r); err != nil {
				s.out.Error("how often somebody was refused could not be recorded", "principal", r.Principal.ID, "detail", r.Detail, "err", err)
			}
		}
	})
}

// Close records what was counted, and waits for it.
func (s *Refusals) Close(context.Context) error {
	s.mu.Lock()
	s.tell()
	s.closed = true
	s.mu.Unlock()
	s.work.Wait()
	return nil
}
