package mcp_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
)

// raw is a server that answers as a test wants it to, down to the bytes.
type raw struct {
	// answer gives the result of a request as JSON; it may also write to w itself and report false.
	answer func(w http.ResponseWriter, r *http.Request, m message) (result string, ok bool)

	mu   sync.Mutex
	seen map[string]int // HTTP method and JSON-RPC method → how often it came
}

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Cursor string         `json:"cursor"`
		Name   string         `json:"name"`
		Meta   map[string]any `json:"_meta"`
	} `json:"params"`
}

const (
	initialized = `{"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": true}}, "serverInfo": {"name": "raw", "version": "1"}}`
	oneTool     = `{"tools": [{"name": "do", "inputSchema": {"type": "object"}}]}`
	done        = `{"content": [{"type": "text", "text": "done"}]}`
)

// basics answers what every server answers.
func basics(m message) string {
	switch m.Method {
	case "initialize":
		return initialized
	case "tools/list":
		return oneTool
	case "tools/call":
		return done
	default:
		return "{}"
	}
}

func (s *raw) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[what]
}

func (s *raw) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var m message
	if len(body) > 0 {
		if err := json.Unmarshal(body, &m); err != nil {
			panic(err)
		}
	}
	s.mu.Lock()
	s.seen[r.Method+" "+m.Method]++
	s.mu.Unlock()
	if s.answer != nil {
		result, ok := s.answer(w, r, m)
		if !ok {
			return
		}
		if result != "" {
			reply(w, m, result)
			return
		}
	}
	switch {
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	default:
		reply(w, m, basics(m))
	}
}

func reply(w http.ResponseWriter, m message, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc": "2.0", "id": %s, "result": %s}`, m.ID, result)
}

// serveRaw starts a raw server and returns it with its URL.
func serveRaw(t *testing.T, answer func(http.ResponseWriter, *http.Request, message) (string, bool)) (*raw, string) {
	s := &raw{answer: answer, seen: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return s, server.URL
}

// serveLines is the same over stdin and stdout. onCall says what a tools/call does; it is not
// answered.
func serveLines(onCall func()) {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil || m.ID == nil {
			continue
		}
		if m.Method == "tools/call" {
			onCall()
			continue
		}
		fmt.Printf("{\"jsonrpc\": \"2.0\", \"id\": %s, \"result\": %s}\n", m.ID, basics(m))
	}
}
