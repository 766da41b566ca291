package effect

import (
	"encoding/json"
	"net/http"
	"time"
)

// Phases of a call at the tool server, where a test can be told of it.
const (
	PhaseReceived = "received" // before the effect
	PhaseApplied  = "applied"  // after it, before the answer
	PhaseAnswered = "answered" // the answer is about to be written
)

// maxPhaseWait bounds how long a test may wait for a call to reach a phase.
const maxPhaseWait = 30 * time.Second

// waiter is a test that wants to know of the next call in a phase.
type waiter struct {
	reached chan struct{} // closed by the call
	hold    time.Duration // how long the call then stands still
}

// reach tells who waits for the phase, and stands still as long as they asked.
func (l *Ledger) reach(phase string) {
	l.mu.Lock()
	waiting := l.phases[phase]
	delete(l.phases, phase)
	l.mu.Unlock()
	var hold time.Duration
	for _, w := range waiting {
		close(w.reached)
		hold = max(hold, w.hold)
	}
	time.Sleep(hold)
}

// Control serves what a test asks of a tool server, beside its tools:
//
//	GET /outcome?key=K                waits until K is settled → {"applied": n, "result": text}
//	GET /phase?name=P&hold=50ms&wait=1s   waits for the next call in the phase → 200, or 408
func (l *Ledger) Control(mux *http.ServeMux) {
	mux.HandleFunc("GET /outcome", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(l.Settled(r.URL.Query().Get("key")))
	})
	mux.HandleFunc("GET /phase", func(w http.ResponseWriter, r *http.Request) {
		hold, err := time.ParseDuration(r.URL.Query().Get("hold"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		wt := &waiter{reached: make(chan struct{}), hold: hold}
		l.mu.Lock()
		name := r.URL.Query().Get("name")
		l.phases[name] = append(l.phases[name], wt)
		l.mu.Unlock()
		select {
		case <-wt.reached:
			w.WriteHeader(http.StatusOK)
		case <-time.After(min(wait, maxPhaseWait)):
			w.WriteHeader(http.StatusRequestTimeout)
		case <-r.Context().Done():
		}
	})
}
