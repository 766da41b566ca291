package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/config"
)

// The keys of providers are nowhere but in the requests to them. A provider that echoes all that it is
// sent, in errors of every class, is called through every door; then everything that the server has
// said, logged and stored is searched for the keys.

// keysOf are the secrets under test, by the name of their provider. They have characters that JSON,
// URLs and shells write otherwise.
func keysOf() map[string]string {
	out := map[string]string{}
	for _, name := range []string{"responses", "chat", "anthropic", "gemini", "azure", "bedrock", "aws", "entra", "granted", "token", "header"} {
		out[name] = "sk-live/" + name + "+Key&0123<4567>=" + strings.ToUpper(name)
	}
	return out
}

// echo is a provider that quotes the call, as its scenario has it.
type echo struct {
	scenario atomic.Pointer[scenario]
	granted  atomic.Int64 // how often a token was asked for
	mu       sync.Mutex
	seen     map[string]int // key → calls that brought it
	keys     map[string]string
}

// scenario is one way to fail.
type scenario struct {
	name   string
	answer func(w http.ResponseWriter, quoted string)
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what cannot be read is not quoted
	var head bytes.Buffer
	_ = r.Header.Write(&head) // a buffer takes everything
	e.mu.Lock()
	for name, key := range e.keys {
		if strings.Contains(head.String()+string(body), key) || strings.Contains(string(body), url.QueryEscape(key)) {
			e.seen[name]++
		}
	}
	e.mu.Unlock()
	quoted := "You sent " + strings.ReplaceAll(head.String(), "\r\n", "; ")
	for name, key := range e.keys {
		if strings.HasPrefix(r.URL.Path, "/"+name+"/") || name == "header" && r.Header.Get("X-Extra") != "" || name == "token" && strings.HasPrefix(r.URL.Path, "/aws/") {
			quoted += " your key is " + key + " or " + url.QueryEscape(key) // also those that only sign
		}
	}
	if strings.HasSuffix(r.URL.Path, "/token") && e.granted.Add(1)%2 == 0 { // of Entra
		fmt.Fprintf(w, `{"access_token": %q, "expires_in": 60}`, e.keys["granted"])
		return
	}
	w.Header().Set("X-Echo", r.Header.Get("Authorization"))
	w.Header().Set("X-Request-Id", r.Header.Get("X-Extra"))
	e.scenario.Load().answer(w, quoted)
}

// fault is an error in the words of every provider at once.
func fault(quoted string) string {
	f := map[string]any{"message": quoted, "type": quoted, "code": quoted, "param": quoted, "status": quoted}
	b, _ := json.Marshal(map[string]any{"error": f, "message": quoted, "__type": quoted, "detail": quoted, "error_description": quoted, "type": "error", "sequence_number": 1}) // it is a map of texts
	return string(b)
}

func failing(status int) scenario {
	return scenario{fmt.Sprint(status), func(w http.ResponseWriter, quoted string) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", quoted)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, fault(quoted)) // the server reads what it wants
	}}
}

func saying(name, contentType, before string) scenario {
	return scenario{name, func(w http.ResponseWriter, quoted string) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, before)
		w.(http.Flusher).Flush()
		half := fault(quoted)
		if strings.Contains(contentType, "event-stream") {
			half = "event: error\ndata: " + half + "\n\n"
		}
		for _, part := range []string{half[:len(half)/2], half[len(half)/2:]} { // a key may lie across two reads
			_, _ = io.WriteString(w, part)
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	}}
}

func scenarios() []scenario {
	var all []scenario
	for _, status := range []int{400, 401, 403, 404, 408, 429, 500, 529} {
		all = append(all, failing(status))
	}
	const begun = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"so\"}}]}\n\n"
	return append(all,
		saying("a stream of errors", "text/event-stream", ""), saying("a stream that fails", "text/event-stream", begun),
		saying("an error that is a success", "application/json", ""), saying("half an answer", "application/json", `{"id": "x`), saying("a page", "text/html", "<html>"),
		scenario{"a redirect", func(w http.ResponseWriter, quoted string) {
			w.Header().Set("Location", "http://127.0.0.1:1/?key="+quoted)
			w.WriteHeader(http.StatusTemporaryRedirect)
			_, _ = io.WriteString(w, quoted)
		}},
		scenario{"a lost connection", func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }},
	)
}

func TestKeysOfProvidersAreNowhere(t *testing.T) {
	keys := keysOf()
	provider := &echo{keys: keys, seen: map[string]int{}}
	all := scenarios()
	provider.scenario.Store(&all[0])
	upstream := httptest.NewServer(provider)
	t.Cleanup(upstream.Close)
	var log syncBuffer
	n, data := openSecretive(t, upstream.URL, keys, &log)

	said := &log // what the server answers is searched with the log
	for i := range all {
		provider.scenario.Store(&all[i])
		for _, model := range []string{"responses", "chat", "anthropic", "gemini", "azure", "entra", "bedrock", "aws"} {
			for call, body := range doors(model + "/m") {
				method, path, _ := strings.Cut(strings.TrimSpace(call), " ")
				if i%4 != 0 && (strings.HasPrefix(path, "/v1/responses/") || path == "/v1/embeddings" || method == "GET") {
					continue // they say what the others do
				}
				if i%2 != 0 && strings.HasSuffix(path, "/sessions") { // a turn fails as the turn of a response does
					continue
				}
				if path == "/v1/responses" && !strings.Contains(body, "store") {
					body = strings.TrimSuffix(body, "}") + `,"background":true}`
				}
				saidAll(t, n, said, method, path, body)
				if strings.HasPrefix(path, "/v1/chat") || strings.Contains(body, `"store":false`) {
					saidAll(t, n, said, method, path, strings.TrimSuffix(body, "}")+`,"stream":true}`)
				}
			}
		}
	}
	var list struct{ Data []struct{ ID string } }
	_, got := ask(t, n, "GET", "/v1/agents/sessions?limit=30", "")
	if err := json.Unmarshal([]byte(got), &list); err != nil || len(list.Data) == 0 {
		t.Fatalf("no sessions: %s", got)
	}
	for _, s := range list.Data {
		saidAll(t, n, said, "GET", "/v1/agents/sessions/"+s.ID+"/export", "")
		saidAll(t, n, said, "GET", "/v1/agents/sessions/"+s.ID+"/turns", "")
	}
	for _, path := range []string{"/v1/usage_records", "/v1/models", "/v1/capacity", "/metrics", "/v1/routes?model=chat/m"} {
		saidAll(t, n, said, "GET", path, "")
	}
	n.stop()

	provider.mu.Lock()
	defer provider.mu.Unlock()
	for _, name := range []string{"responses", "chat", "anthropic", "gemini", "azure", "entra", "granted", "bedrock", "token", "header"} {
		if provider.seen[name] == 0 {
			t.Errorf("the key of %s never reached its provider: the test proves nothing of it", name)
		}
	}
	if !strings.Contains(log.String(), "model call failed") {
		t.Error("no failed call was logged: the test proves nothing of the log")
	}
	search(t, keys, "the log and the answers", []byte(log.String()))
	err := filepath.WalkDir(data, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		search(t, keys, name, b)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// openSecretive is a server whose providers have keys from the environment, from files and from the
// configuration itself. It logs everything.
func openSecretive(t *testing.T, upstream string, keys map[string]string, log io.Writer) (*node, string) {
	t.Helper()
	dir := t.TempDir()
	file, data, secret := filepath.Join(dir, "stead.yaml"), filepath.Join(dir, "data"), filepath.Join(dir, "secret")
	text := "providers:\n"
	for _, api := range []string{"responses", "chat", "anthropic", "gemini"} {
		text += fmt.Sprintf("  - {name: %s, api: %s, base_url: %s/%s, api_key: '${KEY_%s}', headers: {X-Extra: '%s'}}\n", api, api, upstream, api, api, keys["header"])
	}
	text += fmt.Sprintf("  - {name: azure, api: azure, base_url: %s/azure, api_key: '${file:%s}'}\n", upstream, secret) +
		fmt.Sprintf("  - {name: entra, api: azure, base_url: %s/entra, entra: {tenant: t, client_id: c, client_secret: '%s', authority: %s/entra}}\n", upstream, keys["entra"], upstream) +
		fmt.Sprintf("  - {name: bedrock, api: bedrock, region: eu, base_url: %s/bedrock, api_key: '%s'}\n", upstream, keys["bedrock"]) +
		fmt.Sprintf("  - {name: aws, api: bedrock, region: eu, base_url: %s/aws, access_key: AKIA, secret_key: '%s', session_token: '%s'}\n", upstream, keys["aws"], keys["token"])
	for name, content := range map[string]string{file: text, secret: keys["azure"] + "\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(config.Flags{Listen: "127.0.0.1:0", Data: data, File: file}, func(name string) (string, bool) {
		key, ok := keys[strings.TrimPrefix(name, "KEY_")]
		return key, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Limits.DrainSeconds = 1
	n, err := openNode(t.Context(), cfg, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n, data
}

// saidAll makes a call and keeps the whole answer, its header and its end included.
func saidAll(t *testing.T, n *node, into io.Writer, method, path, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	fmt.Fprintf(into, "\n>>> %s %s %s\n<<< %d ", method, path, body, res.StatusCode)
	_ = res.Header.Write(into)     // a buffer takes everything
	_, _ = io.Copy(into, res.Body) // an answer that breaks off is one as well
}

// search looks for a key as it is, and as JSON and URLs write it.
func search(t *testing.T, keys map[string]string, where string, b []byte) {
	t.Helper()
	for name, key := range keys {
		quoted, _ := json.Marshal(key) // a text always marshals
		for _, form := range []string{key, strings.Trim(string(quoted), `"`), strings.ReplaceAll(key, "/", `\/`), url.QueryEscape(key)} {
			if at := bytes.Index(b, []byte(form)); at >= 0 {
				t.Errorf("the key of %s is in %s: …%q…", name, where, b[max(0, at-300):min(len(b), at+60)])
				break
			}
		}
	}
}

// syncBuffer is a buffer that many write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
