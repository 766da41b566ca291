package openai_test

import (
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

var update = flag.Bool("update", false, "write what came out into testdata")

// TestWire replays byte-exact replies over HTTP. Each file of testdata is an archive:
//
//	what it shows, in a comment; then settings, a line each
//	status: 429                 (200 unless said)
//	header: Retry-After: 3
//	line-end: crlf              (cr, crlf; lf unless said)
//	abort: true                 (the connection is reset after the body)
//	-- reply --                 the body
//	-- want --                  deltas, a line each, as modeltest.Line writes them
func TestWire(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no wire scripts: %v", err)
	}
	for _, file := range files {
		api := filepath.Base(filepath.Dir(file))
		t.Run(api+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(ar.Files) == 0 || ar.Files[0].Name != "reply" {
				t.Fatal("the archive has no reply")
			}
			got := replay(t, api, settings(string(ar.Comment)), string(ar.Files[0].Data))
			if *update {
				ar.Files = append(ar.Files[:1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(ar.Files) != 2 {
				t.Fatal("the archive does not say what it wants")
			}
			if d := cmp.Diff(string(ar.Files[1].Data), got); d != "" {
				t.Errorf("deltas (-want +got):\n%s", d)
			}
		})
	}
}

func settings(comment string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(comment) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.Contains(k, " ") {
			out[k] = v
		}
	}
	return out
}

func replay(t *testing.T, api string, set map[string]string, body string) string {
	switch set["line-end"] {
	case "crlf":
		body = strings.ReplaceAll(body, "\n", "\r\n")
	case "cr":
		body = strings.ReplaceAll(body, "\n", "\r")
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if k, v, ok := strings.Cut(set["header"], ": "); ok {
			w.Header().Set(k, v)
		}
		status := http.StatusOK
		if s := set["status"]; s != "" {
			status, _ = strconv.Atoi(s)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		if set["abort"] == "true" {
			panic(http.ErrAbortHandler)
		}
	}))
	defer srv.Close()
	// call_old is taken: an upstream that repeats it is given another id.
	req := model.Request{Model: "m", Items: []stead.Item{modeltest.User("hi"),
		modeltest.Call("call_old", "f", "{}"), modeltest.Output("call_old", modeltest.Text("ok"))}}
	var lines []string
	for d, err := range provider(t, api, srv.URL).Generate(t.Context(), req) {
		if d.Kind == model.ItemDone && strings.HasPrefix(d.Item.CallID, "call_") && len(d.Item.CallID) == len("call_")+24 {
			d.Item.CallID = "call_MADE"
		}
		lines = append(lines, modeltest.Line(d, err))
		if err != nil {
			break
		}
	}
	// And once more for the contract of the stream.
	_, _ = modeltest.Gather(t, t.Context(), provider(t, api, srv.URL), req)
	return strings.Join(lines, "\n") + "\n"
}
