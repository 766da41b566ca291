package audit

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/stead-dev/stead"
)

const (
	// ActAuthenticate is that somebody was turned away at the door, who had no valid key, token or certificate. Resource: the key that
	// the secret names, or the certificate, which need not be one; From: where they came from. It stands in the default project's log, since nobody
	// knows whose they are.
	ActAuthenticate = "authenticate"
	// StrangerWindow is how long those of a source and a reason are counted together after the first.
	StrangerWindow = time.Minute
	// MaxStrangerKinds is the most pairs of source and reason that have records of their own within a window: those of the
	// rest are counted together, so that a window writes at most twice as many records, and one a reason, whoever calls.
	MaxStrangerKinds = 32
	// maxReasons bounds the reasons that those of the rest are counted under.
	maxReasons = 16
)

// Strangers records who was turned away at the door, without letting them fill the disk: the first of a source and a reason at
// once, those that follow within a window together, with their number. None is left out of the count; a crash loses a window's.
// It is safe for concurrent use, and makes no caller wait.
type Strangers struct {
	log *Log
	now func() time.Time
	out *slog.Logger

	mu     sync.Mutex
	kinds  map[strangerKind]*strangers // of this window; nil: none is open
	window *time.Timer
	closed bool
	work   sync.WaitGroup // records that are being stored
}

// strangerKind is what is counted together. from is "" for those of the rest. The sentence is part of it, since a code stands for many: a
// forged token must not be counted as one of the wrong audience.
type strangerKind struct{ from, code, why string }

type strangers struct {
	of    Record // the first
	count int    // of those that were not recorded
}

// NewStrangers makes one. out is told what could not be stored.
func NewStrangers(log *Log, now func() time.Time, out *slog.Logger) *Strangers {
	return &Strangers{log: log, now: now, out: out}
}

// TurnedAway says that a call was. code is the reason in a word, why in a sentence; claimed is the key that its secret names.
func (s *Strangers) TurnedAway(c Call, code, why, claimed string) {
	r := Record{
		At: s.now().UnixMilli(), Project: stead.DefaultProject, Action: ActAuthenticate, Resource: claimed, Decision: Deny, By: "door", Reason: why,
		Request: c.Request, From: c.From, Detail: c.Act,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.kinds == nil {
		s.kinds = map[strangerKind]*strangers{}
		s.window = time.AfterFunc(StrangerWindow, s.over)
	}
	k := strangerKind{sourceOf(c.From), code, why}
	if one := s.kinds[k]; one != nil {
		one.count++
		return
	}
	if len(s.kinds) < MaxStrangerKinds {
		s.kinds[k] = &strangers{of: r}
		s.store(r)
		return
	}
	k.from = ""
	if s.kinds[k] == nil {
		if len(s.kinds) >= MaxStrangerKinds+maxReasons {
			k.code, k.why = "", ""
		}
		if s.kinds[k] == nil {
			s.kinds[k] = &strangers{of: Record{Reason: "turned away like others, from more places than are recorded by themselves"}}
		}
	}
	s.kinds[k].count++
}

// sourceOf is an address, or of IPv6 the network that one subscriber has.
func sourceOf(from string) string {
	const subscriber = 64 // bits, RFC 6177
	a, err := netip.ParseAddr(from)
	if err != nil || a.Unmap().Is4() {
		return from
	}
	p, err := a.Prefix(subscriber)
	if err != nil {
		return from
	}
	return p.String()
}

// over ends a window.
func (s *Strangers) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell()
}

// tell records what was counted.
func (s *Strangers) tell() {
	if s.kinds == nil {
		return
	}
	s.window.Stop()
	for k, one := range s.kinds {
		if one.count == 0 {
			continue
		}
		detail := fmt.Sprintf("turned away %d more times", one.count)
		if k.from == "" {
			detail = fmt.Sprintf("turned away %d times", one.count)
		}
		s.store(Record{
			At: s.now().UnixMilli(), Project: stead.DefaultProject, Action: ActAuthenticate, Decision: Deny, By: "door", Reason: one.of.Reason, From: k.from, Detail: detail,
		})
	}
	s.kinds, s.window = nil, nil
}

// store appends a record while nobody waits for it: a no stays a no.
func (s *Strangers) store(r Record) {
	s.work.Go(func() {
		if err := s.log.Append(context.Background(), r); err != nil {
			s.out.Warn("that somebody was turned away could not be recorded", "from", r.From, "reason", r.Reason, "err", err)
		}
	})
}

// Close records what was counted, and waits for it.
func (s *Strangers) Close(context.Context) error {
	s.mu.Lock()
	s.tell()
	s.closed = true
	s.mu.Unlock()
	s.work.Wait()
	return nil
}
