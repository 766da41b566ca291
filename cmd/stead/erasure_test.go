package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

type wireErased struct {
	ID, Status            string
	Certificate, Verifier string
	SHA256                string
}

func (e wireErased) open(t *testing.T) erasure.Certificate {
	t.Helper()
	key, err := audit.ParseVerifier(e.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	c, err := erasure.Open(e.Certificate, []audit.Verifier{key})
	if err != nil {
		t.Fatalf("%v: %s", err, e.Certificate)
	}
	return c
}

// TestWhatIsErasedIsCertified: a session that is deleted, and all of a user, on both databases.
func TestWhatIsErasedIsCertified(t *testing.T) {
	for name, text := range map[string]string{"sqlite": registryConfig, "postgres": registryConfig + "\ndatabase: " + pgtest.URL(t) + "\n"} {
		t.Run(name, func(t *testing.T) {
			n := openConfigured(t, text, io.Discard)
			const made = `{"agent":{"model":"mine"},"environment":{"type":"none"},"input":"Say hi"}`
			session := func() string {
				id := idOf(must(t, n, "POST", "/v1/agents/sessions", made))
				for deadline := time.Now().Add(patience); !strings.Contains(must(t, n, "GET", "/v1/agents/sessions/"+id, ""), `"status":"idle"`); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("the turn does not end")
					}
				}
				return id
			}
			erasureOf := func(id string) (e wireErased) {
				t.Helper()
				for deadline := time.Now().Add(patience); e.Status != erasure.Completed; time.Sleep(10 * time.Millisecond) {
					if err := json.Unmarshal([]byte(must(t, n, "GET", "/v1/erasures/"+id, "")), &e); err != nil || time.Now().After(deadline) {
						t.Fatalf("%+v: %v", e, err)
					}
				}
				return e
			}
			first := session()
			res, body := ask(t, n, "DELETE", "/v1/agents/sessions/"+first, "")
			if res.StatusCode != http.StatusOK {
				t.Fatal(body)
			}
			e := erasureOf(res.Header.Get("Stead-Erasure"))
			if c := e.open(t); c.Erased.Sessions != 1 || c.Erased.Events < 4 || string(c.Sessions[0].Session) != first {
				t.Errorf("the certificate says %+v", c)
			}
			if log := must(t, n, "GET", "/v1/audit_records?action="+audit.ActErase, ""); !strings.Contains(log, e.SHA256) {
				t.Errorf("the audit log does not know the certificate: %s", log)
			}

			session()
			conversation := idOf(must(t, n, "POST", "/v1/conversations", `{}`))
			fork := idOf(must(t, n, "POST", "/v1/agents/sessions/"+session()+"/fork", `{}`))
			store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"m"}`))
			must(t, n, "POST", "/v1/memory_stores/"+store+"/memories", `{"content":"likes tea","scope":{"type":"user","id":"local"}}`)
			stored(t, n, "shop.md", "# Shop")
			files := must(t, n, "GET", "/v1/files", "")
			e = erasureOf(idOf(must(t, n, "POST", "/v1/erasures", `{"user":"local"}`)))
			c := e.open(t)
			if c.Erased.Sessions != 4 || c.Erased.Memories != 1 || c.Erased.Files != 1 || !strings.Contains(files, c.Files[0]) {
				t.Errorf("the certificate says %+v", c)
			}
			for _, path := range []string{"/v1/agents/sessions/" + fork, "/v1/conversations/" + conversation, "/v1/files/" + c.Files[0]} {
				if res, body := ask(t, n, "GET", path, ""); res.StatusCode != http.StatusNotFound {
					t.Errorf("%s is there: %d %s", path, res.StatusCode, body)
				}
			}
			if left := must(t, n, "GET", "/v1/memory_stores/"+store+"/memories", ""); strings.Contains(left, "tea") {
				t.Errorf("memories are left: %s", left)
			}
		})
	}
}
