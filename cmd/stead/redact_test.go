package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestWhatAnItemSaidIsGone: from the session and its copy, from what was remembered of it, from the stream as it is replayed, and
// from the data directory.
func TestWhatAnItemSaidIsGone(t *testing.T) {
	const word = "Kilimanjaro"
	for name, database := range map[string]string{"SQLite": "", "PostgreSQL": pgtest.URL(t)} {
		t.Run(name, func(t *testing.T) {
			n := openOn(t, database)
			store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"m"}`))
			const made = `{"environment":{"type":"none"},"input":"My favourite mountain is ` + word + `.","agent":{"model":"mine","tools":[
				{"type":"memory","memory_stores":[{"id":"STORE","access":"read_write"}],"recall":{"mode":"always"},"extraction":{"strategies":["fact","preference","episode"]}}]}}`
			id := idOf(must(t, n, "POST", "/v1/agents/sessions", strings.ReplaceAll(made, "STORE", store)))
			idle(t, n, id)
			comes(t, `"kind":"episode"`, func() string { return must(t, n, "GET", "/v1/memory_stores/"+store+"/memories?limit=100", "") })
			fork := idOf(must(t, n, "POST", "/v1/agents/sessions/"+id+"/fork", `{}`))
			before := replayed(t, n, id)
			var items struct {
				Data []struct{ ID string }
			}
			if err := json.Unmarshal([]byte(itemsOf(t, n, id)), &items); err != nil || len(items.Data) < 2 {
				t.Fatalf("%+v, %v", items, err)
			}
			for _, item := range items.Data {
				redactItem(t, n, id, item.ID)
			}
			for _, path := range []string{
				"/v1/agents/sessions/" + id + "/items?limit=100", "/v1/agents/sessions/" + fork + "/items?limit=100",
				"/v1/agents/sessions/" + id + "/export", "/v1/agents/sessions/" + fork + "/export", "/v1/memory_stores/" + store + "/memories?limit=100",
			} {
				if got := must(t, n, "GET", path, ""); strings.Contains(got, word) {
					t.Errorf("%s: %s", path, got)
				}
			}
			after := replayed(t, n, id)
			if strings.Contains(after, word) || strings.Count(after, "\nid: ") != strings.Count(before, "\nid: ") {
				t.Errorf("the stream says\n%s\nand said\n%s", after, before)
			}
			n.stop()
			nowhere(t, n.cfg.Data, word)
		})
	}
}

// redactItem redacts an item, and its copies, to the certificate.
func redactItem(t *testing.T, n *node, session, item string) {
	t.Helper()
	e := wireErased{ID: idOf(comes(t, `"object":"erasure"`, func() string { // what is being remembered is refused: try again in a moment
		_, body := ask(t, n, "POST", "/v1/erasures", `{"session_id":"`+session+`","item_id":"`+item+`","forks":true}`)
		return body
	}))}
	done := comes(t, `"status":"`+erasure.Completed+`"`, func() string { return must(t, n, "GET", "/v1/erasures/"+e.ID, "") })
	if err := json.Unmarshal([]byte(done), &e); err != nil {
		t.Fatal(err)
	}
	if c := e.open(t); c.Erased.Items != 2 || c.Erased.Sessions != 0 || len(c.Items) != 2 {
		t.Errorf("the certificate says %+v", c)
	}
	if log := must(t, n, "GET", "/v1/audit_records?limit=100", ""); !strings.Contains(log, e.SHA256) || !strings.Contains(log, item) {
		t.Errorf("the audit log does not know who redacted %s, or the certificate: %s", item, log)
	}
}

// replayed is the stream of a session from its beginning, as far as it has come.
func replayed(t *testing.T, n *node, id string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.base+"/v1/agents/sessions/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", "0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out bytes.Buffer
	for buf := make([]byte, 64<<10); !bytes.Contains(out.Bytes(), []byte("agent.session.idle")); {
		k, err := res.Body.Read(buf)
		out.Write(buf[:k])
		if err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	return out.String()
}

// nowhere fails the test where a file below a directory has the word.
func nowhere(t *testing.T, dir, word string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if files++; bytes.Contains(data, []byte(word)) {
			t.Errorf("%s has it", path)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}
