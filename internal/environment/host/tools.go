package host

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	_ "embed" // the client for Python

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/tool"
)

// Limits of the socket at which code calls tools.
const (
	// MaxToolRequestBytes is the largest body of a call.
	MaxToolRequestBytes = 1 << 20
	// maxToolConnections is how many connections an environment may have at once: of calls that are under way,
	// and of those that are being refused.
	maxToolConnections = 2 * MaxToolCalls
	toolHeaderTime     = 10 * time.Second
)

//go:embed stead_tools.py
var pythonClient []byte

// Where the client for Python is, and the variables that say so.
const (
	pythonDir     = "python"
	pythonFile    = "stead_tools.py"
	toolsVariable = "STEAD_TOOLS"
	pythonPath    = "PYTHONPATH"
)

// openTools serves the session's tools to code inside.
func (h *Host) openTools(b *box, tools environment.Caller, spec *environment.Spec) error {
	if tools == nil {
		return nil
	}
	dir := filepath.Join(b.place.services(), pythonDir)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // for every user of the environment
		return unavailable(err, "make the services of an environment")
	}
	if err := os.WriteFile(filepath.Join(dir, pythonFile), pythonClient, 0o644); err != nil { //nolint:gosec // for every user of the environment
		return unavailable(err, "make the services of an environment")
	}
	l, err := listenIn(b.place.services(), environment.ToolsSocket)
	if err != nil {
		return err
	}
	env := maps.Clone(spec.Env)
	env[toolsVariable] = environment.ServicesDir + "/" + environment.ToolsSocket
	if env[pythonPath] == "" {
		env[pythonPath] = environment.ServicesDir + "/" + pythonDir
	}
	spec.Env = env
	b.tools = &http.Server{Handler: newGate(time.Now).guard(toolsHandler(tools)), ReadHeaderTimeout: toolHeaderTime, MaxHeaderBytes: 16 << 10}
	go func() {
		if err := b.tools.Serve(&limited{Listener: l, free: make(chan struct{}, maxToolConnections)}); !errors.Is(err, http.ErrServerClosed) {
			h.log.Error("the tools of an environment ended", "session", b.key.Session, "err", err)
		}
	}()
	return nil
}

func toolsHandler(tools environment.Caller) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tools", func(w http.ResponseWriter, r *http.Request) {
		specs, err := tools.List(r.Context())
		if err != nil {
			refuse(w, err)
			return
		}
		type shown struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Parameters  json.RawMessage `json:"parameters"`
		}
		out := []shown{}
		for _, s := range specs {
			out = append(out, shown{s.Name, s.Description, s.Parameters})
		}
		answer(w, http.StatusOK, map[string]any{"tools": out})
	})
	mux.HandleFunc("POST /tools/{name}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxToolRequestBytes))
		if err != nil {
			refuse(w, stead.Errorf(stead.KindTooLarge, "the arguments can't be read: at most %d bytes", MaxToolRequestBytes))
			return
		}
		result, err := tools.Call(r.Context(), r.PathValue("name"), body)
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, outcome(result))
	})
	return mux
}

// outcome is a result as code gets it: the text, and whether the tool failed.
func outcome(r tool.Result) map[string]any {
	text := ""
	for _, c := range r.Content {
		if c.Type != stead.ContentInputImage {
			text += c.Text.Inline
		}
	}
	if r.IsError {
		return map[string]any{"output": nil, "error": text}
	}
	return map[string]any{"output": text, "error": nil}
}

func refuse(w http.ResponseWriter, err error) {
	status, message := http.StatusServiceUnavailable, "the tools can't be reached now"
	if e, ok := errors.AsType[*stead.Error](err); ok {
		message = e.Message
		switch e.Kind {
		case stead.KindTooLarge:
			status = http.StatusRequestEntityTooLarge
		case stead.KindLimited:
			status = http.StatusTooManyRequests
			w.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter.Seconds())))
		}
	}
	answer(w, status, map[string]any{"output": nil, "error": message})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who hung up does not want it
}

// limited is a listener that has at most so many connections open.
type limited struct {
	net.Listener
	free chan struct{}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{Conn: c, free: l.free}, nil
}

type counted struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

// Close implements net.Conn. net/http closes each connection once, or twice.
func (c *counted) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}

// closeTools ends the calls that code waits for.
func (b *box) closeTools() {
	if b.tools != nil {
		_ = b.tools.Close() // nobody listens to how
	}
}
