package host

import (
	"net/http"
	"sync"
	"time"

	"github.com/stead-dev/stead"
)

// Bounds of what one environment asks of its session's tools. Each call is journaled, two or three times, and
// the journal is that of the session's commands as well: code that asks without end would delay those.
const (
	// MaxToolCalls is how many requests of an environment are under way at once.
	MaxToolCalls = 64
	// ToolCallsASecond is how many an environment may make on average, and ToolCallsBurst how many more at once
	// when it was quiet before.
	ToolCallsASecond = 50
	ToolCallsBurst   = 250
	// toolRetry is what a refused one is told to wait. An answer that refuses takes toolRefusal: a loop that
	// does not listen shall not cost the server more than one that does.
	toolRetry   = time.Second
	toolRefusal = 100 * time.Millisecond
)

// gate admits the requests of one environment.
type gate struct {
	now func() time.Time

	mu    sync.Mutex
	under int
	left  float64 // requests that may come at once
	at    time.Time
}

func newGate(now func() time.Time) *gate { return &gate{now: now, left: ToolCallsBurst, at: now()} }

// enter admits a request, which leaves when it is over; KindLimited: nothing has begun.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.left = min(g.left+max(now.Sub(g.at).Seconds(), 0)*ToolCallsASecond, ToolCallsBurst)
	g.at = now
	var e *stead.Error
	switch {
	case g.under >= MaxToolCalls:
		e = stead.Errorf(stead.KindLimited, "the call was not made: %d calls of this environment are under way, and more are not allowed at once; try again when one has ended", g.under)
	case g.left < 1:
		e = stead.Errorf(stead.KindLimited, "the call was not made: an environment may make %d calls a second, and %d at once after a pause; try again later", ToolCallsASecond, ToolCallsBurst)
	default:
		g.under++
		g.left--
		return nil
	}
	e.RetryAfter = toolRetry
	return e
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under--
}

// guard lets requests through that the gate admits.
func (g *gate) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.enter(); err != nil {
			time.Sleep(toolRefusal) // also when its client is gone: its connection counts
			refuse(w, err)
			return
		}
		defer g.leave()
		next.ServeHTTP(w, r)
	})
}
