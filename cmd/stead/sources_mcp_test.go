package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead/internal/tool/tooltest"
)

// library is a real MCP server whose resources a test changes; it counts what is read.
type library struct {
	*sdk.Server
	url  string
	down atomic.Bool

	mu   sync.Mutex
	read map[string]int
	says map[string]*sdk.ResourceContents
}

func newLibrary(t *testing.T) *library {
	l := &library{Server: sdk.NewServer(&sdk.Implementation{Name: "library", Version: "1"}, &sdk.ServerOptions{PageSize: 2}), read: map[string]int{}, says: map[string]*sdk.ResourceContents{}}
	inner := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return l.Server }, nil)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	l.url = s.URL
	return l
}

func (l *library) put(uri, modified string, c sdk.ResourceContents) {
	c.URI = uri
	l.mu.Lock()
	l.says[uri] = &c
	l.mu.Unlock()
	r := &sdk.Resource{URI: uri, Name: uri, MIMEType: c.MIMEType, Size: int64(len(c.Text) + len(c.Blob))}
	if modified != "" {
		r.Annotations = &sdk.Annotations{LastModified: modified}
	}
	l.AddResource(r, func(_ context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.read[req.Params.URI]++
		one := l.says[req.Params.URI]
		if one.Text == "GONE" {
			return nil, sdk.ResourceNotFoundError(req.Params.URI)
		}
		if one.Text == "BROKEN" {
			return nil, fmt.Errorf("the shelf is locked")
		}
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{one}}, nil
	})
}

func (l *library) reads(uri string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read[uri]
}

// synced is a source as tests look at it.
type synced struct {
	ID, Status string
	Sync       struct {
		Number    int
		Documents struct{ Added, Changed, Removed, Unchanged, Failed int }
		Failures  []struct{ Path, Code, Message string }
		EndedAt   *int64 `json:"ended_at"`
	} `json:"last_sync"`
	Error *struct{ Code, Message string } `json:"last_error"`
}

// syncOnce has a source synchronised once more, or waits for the number of its first one, 1, and waits until it was.
func syncOnce(t *testing.T, h *house, key, at string, number int) synced {
	t.Helper()
	var s synced
	if number > 1 {
		h.get(key, "POST", at+"/sync", "", &s)
	}
	for until := time.Now().Add(30 * time.Second); s.Sync.Number < number || s.Status == "syncing" || s.Status == "waiting"; time.Sleep(10 * time.Millisecond) {
		s = synced{}
		if h.get(key, "GET", at, "", &s); time.Now().After(until) {
			t.Fatalf("it does not end: %+v", s)
		}
	}
	return s
}

// Resources of an MCP server become documents, page by page: by when they were modified or by what they say, cited by their
// URIs. What is no longer listed goes; a server that is away takes nothing with it.
func TestSourcesOfAnMCPServer(t *testing.T) {
	l := newLibrary(t)
	const old = "2026-01-02T03:04:05Z"
	l.put("shop://manual/refunds", old, sdk.ResourceContents{MIMEType: "text/markdown", Text: "# Refunds\n\nAustria pays back in thirty days.\n"})
	l.put("shop://manual/untimed", "", sdk.ResourceContents{MIMEType: "text/plain", Text: "Austria has untimed rules."})
	l.put("file:///letters/vienna.docx", old, sdk.ResourceContents{MIMEType: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", Blob: []byte(docx(t, "Letters to Austria weigh 20 grams."))})
	l.put("shop://picture", old, sdk.ResourceContents{MIMEType: "image/png", Blob: []byte{0x89, 'P', 'N', 'G', 0, 1}})
	l.put("shop://drafts/plan", old, sdk.ResourceContents{MIMEType: "text/plain", Text: "Austria: a draft."})
	l.AddResourceTemplate(&sdk.ResourceTemplate{URITemplate: "shop://order/{id}", Name: "order"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		t.Error("a template was filled in")
		return nil, fmt.Errorf("no")
	})
	bare, err := tooltest.Start(tooltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bare.Stop() })
	n := openConfigured(t, `
auth: {mode: keys}
limits: {drain_seconds: 1}
providers: [{name: sim, api: sim}]
models: [{name: sim, routes: [{provider: sim, model: sim}]}]
mcp_servers: [{label: library, url: "`+l.url+`"}, {label: bare, url: "`+bare.URL()+`"}]
sources: {servers: [{label: library, projects: [one]}, {label: bare}]}
`, io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey}
	key := func(project string) string {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"owner","project":"`+project+`","principal":{"kind":"user","id":"olga"}}`, &made)
		return made.Secret
	}
	one, two := key("one"), key("two")
	var made struct{ ID string }
	h.get(two, "POST", "/v1/vector_stores", `{}`, &made)
	if status, body := h.call(two, "POST", "/v1/vector_stores/"+made.ID+"/sources", `{"type":"mcp","server":"library"}`); status != 400 || !strings.Contains(string(body), `"param":"server"`) {
		t.Errorf("a server of another project: %d %s", status, body)
	}
	h.get(two, "POST", "/v1/vector_stores/"+made.ID+"/sources", `{"type":"mcp","server":"bare"}`, &made)
	h.get(one, "POST", "/v1/vector_stores", `{}`, &made)
	store := "/v1/vector_stores/" + made.ID
	h.get(one, "POST", store+"/sources", `{"type":"mcp","server":"library","exclude":["shop://drafts/**"],"access":[{"paths":["file:///letters/**"],"labels":["letter"]}]}`, &made)
	at := store + "/sources/" + made.ID

	found := func() string {
		t.Helper()
		_, body := h.call(one, "POST", store+"/search", `{"query":"Austria","max_num_results":50}`)
		return string(body)
	}
	s := syncOnce(t, h, one, at, 1)
	if d := s.Sync.Documents; s.Error != nil || d.Added != 3 || d.Failed != 1 || s.Sync.Failures[0].Path != "shop://picture" || s.Sync.Failures[0].Code != "unsupported_file" {
		t.Fatalf("first: %+v", s)
	}
	body := found()
	for _, want := range []string{"thirty days", "untimed rules", "20 grams", `"uri":"shop://manual/refunds"`, `"version":"sha256:`, `"heading":"Refunds"`, `"type":"mcp"`, `"letter"`, `"untrusted"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the search has no %s: %s", want, body)
		}
	}
	if strings.Contains(body, "draft") {
		t.Errorf("what was left out is found: %s", body)
	}

	s = syncOnce(t, h, one, at, 2)
	if d := s.Sync.Documents; d.Unchanged != 3 || d.Failed != 1 || l.reads("shop://manual/refunds") != 1 || l.reads("shop://manual/untimed") != 2 || l.reads("shop://picture") != 1 {
		t.Errorf("again: %+v; read %v", s.Sync, l.read)
	}

	l.down.Store(true)
	if s = syncOnce(t, h, one, at, 3); s.Error == nil || s.Error.Code != "unavailable" || s.Sync.Documents.Removed != 0 || !strings.Contains(found(), "thirty days") {
		t.Errorf("a server that is away: %+v", s)
	}
	l.down.Store(false)

	l.RemoveResources("file:///letters/vienna.docx")
	l.put("shop://manual/refunds", "2026-02-02T03:04:05Z", sdk.ResourceContents{MIMEType: "text/markdown", Text: "# Refunds\n\nAustria pays back in sixty days.\n"})
	l.put("shop://manual/untimed", "", sdk.ResourceContents{Text: "BROKEN"})
	s = syncOnce(t, h, one, at, 4)
	body = found()
	if d := s.Sync.Documents; s.Error != nil || d.Changed != 1 || d.Removed != 1 || d.Failed != 2 || strings.Contains(body, "20 grams") || strings.Contains(body, "thirty") || !strings.Contains(body, "sixty") || !strings.Contains(body, "untimed rules") {
		t.Errorf("changed: %+v %s", s, body)
	}
	l.put("shop://manual/untimed", "", sdk.ResourceContents{Text: "GONE"})
	if s = syncOnce(t, h, one, at, 5); s.Sync.Documents.Removed != 1 || strings.Contains(found(), "untimed rules") {
		t.Errorf("gone: %+v", s)
	}

	// Where the default is deny, what no rule opens is there for nobody: a draft, which the first source left out.
	closed := struct{ ID string }{}
	h.get(one, "POST", "/v1/vector_stores", `{}`, &closed)
	store = "/v1/vector_stores/" + closed.ID
	_, opened := h.call(one, "POST", store+"/sources", `{"type":"mcp","server":"library","access_default":"deny","access":[{"paths":["shop://manual/refunds"],"everyone":true}]}`)
	if !strings.Contains(string(opened), `"access_default":"deny"`) || !strings.Contains(string(opened), `"everyone":true`) {
		t.Errorf("the source is shown as %s", opened)
	}
	s = syncOnce(t, h, one, store+"/sources/"+idOf(string(opened)), 1)
	if body = found(); s.Sync.Documents.Added < 2 || !strings.Contains(body, "sixty") || strings.Contains(body, "draft") || !strings.Contains(fmt.Sprint(s.Sync.Failures), "access_closed") {
		t.Errorf("closed by default: %+v %s", s, body)
	}

	// A server that has no resources is a source that can't be read.
	_, list := h.call(two, "GET", "/v1/vector_stores", "")
	var stores struct{ Data []struct{ ID string } }
	if err := json.Unmarshal(list, &stores); err != nil || len(stores.Data) != 1 {
		t.Fatal(err, string(list))
	}
	_, list = h.call(two, "GET", "/v1/vector_stores/"+stores.Data[0].ID+"/sources", "")
	if !strings.Contains(string(list), "has no resources") {
		t.Errorf("a server without resources: %s", list)
	}
}
