package executor_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/bare"
	"github.com/stead-dev/stead/internal/environment/executor"
)

// patience bounds every wait.
const patience = 30 * time.Second

// quick is a timing for tests: what takes seconds in production takes milliseconds.
func quick() executor.Timing {
	return executor.Timing{
		Heartbeat: 100 * time.Millisecond, Silence: 2 * time.Second, Handshake: 5 * time.Second, Write: 2 * time.Second,
		Grace: 20 * time.Second, BackoffMin: 5 * time.Millisecond, BackoffMax: 50 * time.Millisecond, KillGrace: 5 * time.Second,
	}
}

// rig is a server with a hub, and what it knows of its environments.
type rig struct {
	t       *testing.T
	hub     *executor.Hub
	server  *httptest.Server
	mu      sync.Mutex
	known   map[string]executor.Registration
	admits  func(token, environmentID string) (time.Time, error) // nil: no other token opens an environment
	changes []executor.Change
	shown   func() (executor.Certificate, error) // nil: no certificates are shown
}

func newRig(t *testing.T, timing executor.Timing) *rig {
	r := &rig{t: t, known: map[string]executor.Registration{}}
	r.start(timing)
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		id := strings.Split(q.URL.Path, "/")[4]
		r.mu.Lock()
		hub := r.hub
		r.mu.Unlock()
		if err := hub.ServeExecutor(w, q, id); err != nil {
			writeError(w, err)
		}
	}))
	t.Cleanup(func() {
		r.close()
		r.server.Close()
	})
	return r
}

func (r *rig) start(timing executor.Timing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hub = executor.NewHub(executor.HubConfig{
		Timing: timing, Log: slog.New(slog.NewTextHandler(r.t.Output(), nil)),
		Lookup: func(_ context.Context, id, _ string) (executor.Registration, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			found, ok := r.known[id]
			if !ok {
				return found, stead.NotFound("environment", id)
			}
			return found, nil
		},
		Admits: func(_ context.Context, token, id string) (time.Time, error) {
			if r.admits == nil {
				return time.Time{}, stead.Errorf(stead.KindUnauthenticated, "no")
			}
			return r.admits(token, id)
		},
		Shown: func(*http.Request) (executor.Certificate, error) {
			if r.shown == nil {
				return executor.Certificate{}, nil
			}
			return r.shown()
		},
		Changed: func(c executor.Change) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.changes = append(r.changes, c)
		},
	})
}

func (r *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.hub.Close(ctx); err != nil {
		r.t.Errorf("close the hub: %v", err)
	}
}

// writeError is what the door does, in short.
func writeError(w http.ResponseWriter, err error) {
	status, e := http.StatusServiceUnavailable, &stead.Error{}
	errors.As(err, &e)
	switch e.Kind {
	case stead.KindUnauthenticated:
		status = http.StatusUnauthorized
	case stead.KindNotFound:
		status = http.StatusNotFound
	case stead.KindInvalid:
		status = http.StatusBadRequest
	}
	w.WriteHeader(status)
	w.Write([]byte(`{"error":{"message":"` + e.Message + `","code":"` + e.Code + `"}}`))
}

// register makes an environment known, and returns its remote URL at a base.
func (r *rig) register(id, base string) string {
	token, digest := executor.NewToken()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[id] = executor.Registration{Digest: digest}
	return executor.RemoteURL(base, id, token)
}

// running is an executor that runs.
type running struct {
	dir    string
	stop   context.CancelFunc
	ended  chan struct{}
	err    error // once ended
	mu     sync.Mutex
	states []executor.State
}

func (r *rig) run(remote string, change func(*executor.Config)) *running {
	e := &running{dir: r.t.TempDir(), ended: make(chan struct{})}
	c := executor.Config{
		Remote: remote, Workspace: e.dir, Sandbox: bare.Provider{}, Seen: e.dir, Timing: quick(),
		Log: slog.New(slog.NewTextHandler(r.t.Output(), nil)),
		Told: func(s executor.State) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.states = append(e.states, s)
		},
	}
	if change != nil {
		change(&c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = cancel
	go func() {
		defer close(e.ended)
		e.err = executor.Run(ctx, c)
	}()
	r.t.Cleanup(func() {
		cancel()
		e.wait(r.t)
	})
	return e
}

func (e *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-e.ended:
	case <-time.After(patience):
		t.Fatal("the executor does not end")
	}
	return e.err
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) { // polls with a deadline
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// open waits for the executor and opens its environment.
func (r *rig) open(id string) environment.Environment {
	r.t.Helper()
	until(r.t, "the executor to connect", func() bool { return r.hub.Connected(id) })
	env, err := r.hub.Provider().Open(r.t.Context(), environment.Spec{ID: id, Env: map[string]string{"GIVEN": "yes"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return env
}

func shell(script string) environment.Command {
	return environment.Command{Args: []string{"sh", "-c", script}}
}

// output runs a command and returns what it printed.
func output(t *testing.T, env environment.Environment, c environment.Command) (string, environment.Exit) {
	t.Helper()
	var b strings.Builder
	x, err := env.Exec(t.Context(), c, func(p environment.Chunk) { b.Write(p.Data) })
	if err != nil {
		t.Fatalf("exec %q: %v", c.Args, err)
	}
	return b.String(), x
}

// listen is a listener of this host for tests.
func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
