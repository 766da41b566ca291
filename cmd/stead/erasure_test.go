package main

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
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
			if c := e.open(t); c.Bytes == nil || c.Bytes.Database != map[string]string{"sqlite": "truncated", "postgres": "vacuumed"}[name] {
				t.Errorf("of its bytes the certificate says %+v", c.Bytes)
			}
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

// TestMemoriesAreErasedWithProof: an entry, and a scope, with what was made of them and a certificate that names them; of a user also what it wrote itself
// where others read it. What others wrote stays, and whoever does not see all of a scope erases none of it.
func TestMemoriesAreErasedWithProof(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
		memories := "/v1/memory_stores/" + store + "/memories"
		add := func(body string) string { return idOf(must(t, n, "POST", memories, body)) }
		erased := func(body string) erasure.Certificate {
			t.Helper()
			id, e := idOf(must(t, n, "POST", "/v1/erasures", body)), wireErased{}
			got := comes(t, `"status":"completed"`, func() string { return must(t, n, "GET", "/v1/erasures/"+id, "") })
			if err := json.Unmarshal([]byte(got), &e); err != nil {
				t.Fatal(err)
			}
			c := e.open(t)
			if c.Bytes == nil || c.Digest == "" && len(c.Entries) > 0 {
				t.Errorf("the certificate says nothing of bytes, or has no digest: %+v", c)
			}
			return c
		}
		secret := add(`{"content":"Adas salary is ninety zorkmids."}`)
		session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"memory","memory_stores":[{"id":"`+store+`"}],"recall":{"mode":"always"}}]},"input":"What is the salary of Ada?"}`))
		idle(t, n, session)
		must(t, n, "POST", "/v1/memory_stores/"+store+"/ingest", `{"session_id":"`+session+`"}`)
		c := erased(`{"memory_store_id":"` + store + `","memory_id":"` + secret + `"}`)
		if c.Subject.Kind != erasure.OfMemory || len(c.Entries) != 1 || c.Entries[0] != store+"/"+secret || c.Erased.Entries != 1 || c.Erased.Memories < 2 {
			t.Errorf("of an entry: %+v", c)
		}
		has(t, "what the user asked", 200, must(t, n, "GET", memories, ""), "What is the salary of Ada?")
		talk := idOf(must(t, n, "POST", "/v1/conversations", `{"items":[{"role":"user","content":"The zeppelin is in hangar 7"}]}`)) // a conversation is a session, by its own name
		answer := idOf(must(t, n, "POST", "/v1/responses", `{"model":"mine","input":"The umbrella is in Oslo"}`))
		for _, id := range []string{talk, answer} {
			has(t, "taken in", 200, must(t, n, "POST", "/v1/memory_stores/"+store+"/ingest", `{"session_id":"`+id+`"}`), `"session_id":"sess_`)
		}
		has(t, "found by its conversation", 200, must(t, n, "POST", "/v1/memory_stores/"+store+"/search", `{"query":"zeppelin umbrella","filters":{"session_id":"`+talk+`"}}`), "hangar 7")
		has(t, "found of a response", 200, must(t, n, "GET", memories, ""), "umbrella is in Oslo")
		has(t, "forgotten by its conversation", 200, must(t, n, "POST", "/v1/memory_stores/forget", `{"filters":{"session_id":"`+talk+`"}}`), `"forgotten":1`)
		if c := erased(`{"session_id":"` + talk + `"}`); c.Erased.Sessions != 1 {
			t.Errorf("of a conversation: %+v", c)
		}
		for body, param := range map[string]string{`{"session_id":"` + session + `","item":"msg_1"}`: "item", `{"scope":{"type":"user","id":"ada"},"store_id":"` + store + `"}`: "store_id"} { // they would erase more than was meant
			if res, got := ask(t, n, "POST", "/v1/erasures", body); res.StatusCode != http.StatusBadRequest || !strings.Contains(got, `"param":"`+param+`"`) {
				t.Errorf("%s: %d %s", body, res.StatusCode, got)
			}
		}
		if res, got := ask(t, n, "POST", "/v1/erasures", `{"memory_store_id":"`+store+`","memory_id":"`+secret+`"}`); res.StatusCode != http.StatusNotFound {
			t.Errorf("an entry that is gone: %d %s", res.StatusCode, got)
		}

		blue, red := add(`{"content":"Blue meets on Monday.","scope":{"type":"team","id":"blue"}}`), add(`{"content":"Red meets on Friday.","scope":{"type":"team","id":"red"}}`)
		if c := erased(`{"scope":{"type":"team","id":"blue"}}`); c.Subject.ID != "team:blue" || len(c.Entries) != 1 || c.Entries[0] != store+"/"+blue {
			t.Errorf("of a scope: %+v", c)
		}
		has(t, "another scope", 200, must(t, n, "GET", memories+"/"+red, ""), "Red meets")
		if c := erased(`{"memory_store_id":"` + store + `","scope":{"type":"team","id":"red"}}`); c.Subject.ID != store+"/team:red" || c.Erased.Memories != 1 {
			t.Errorf("of a scope in a store: %+v", c)
		}
		for _, bad := range []string{`{"scope":{"type":"clan","id":"x"}}`, `{"scope":{"type":"team"}}`, `{"memory_id":"mem_1"}`, `{"user":"ada","scope":{"type":"project"}}`, `{"memory_store_id":"` + store + `"}`, `{"session_id":"` + session + `","memory_store_id":"` + store + `"}`} {
			if res, got := ask(t, n, "POST", "/v1/erasures", bad); res.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %d %s", bad, res.StatusCode, got)
			}
		}

		add(`{"content":"The office is in Hamburg.","source":{"author":"board"}}`)
		by := add(`{"content":"I, Ada, live at Wallaby street.","source":{"author":"ada"}}`)
		if got := must(t, n, "POST", "/v1/memory_stores/"+store+"/search", `{"query":"Wallaby office Hamburg","filters":{"written_by":"ada"}}`); !strings.Contains(got, by) || strings.Contains(got, "Hamburg") {
			t.Errorf("what ada wrote: %s", got)
		}
		if c := erased(`{"user":"ada"}`); c.Erased.Memories != 1 {
			t.Errorf("of a user: %+v", c)
		}
		left := must(t, n, "GET", memories, "")
		if has(t, "what others wrote", 200, left, "Hamburg"); strings.Contains(left, "Wallaby") {
			t.Errorf("what the user wrote is left: %s", left)
		}
		has(t, "a filter", 200, must(t, n, "POST", "/v1/memory_stores/forget", `{"filters":{"written_by":"board"}}`), `"forgotten":1`)
	})
}

// inData counts the files of a node's data directory that have a text in them, in whatever case.
func inData(t *testing.T, n *node, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(n.cfg.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // it went meanwhile
		}
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(bytes.ToLower(b), []byte(strings.ToLower(text))) {
			found = append(found, filepath.Base(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestWhatIsErasedIsInNoFile: behind the certificate of a session, and soon after memories, files and stores are forgotten, a look at all bytes of the data
// directory of the running server finds nothing of them.
func TestWhatIsErasedIsInNoFile(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	const mark = "kryptonmark"
	keyed := func(path, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", n.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", mark+"key"+path)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode >= 300 {
			t.Fatalf("%s: %d %s %v", path, res.StatusCode, b, err)
		}
		return string(b)
	}
	id := idOf(keyed("/v1/agents/sessions", `{"agent":{"model":"mine"},"environment":{"type":"none"},"metadata":{"of":"`+mark+`"},"input":"Say `+mark+strings.Repeat(" and more", 40_000)+`"}`))
	comes(t, `"status":"idle"`, func() string { return must(t, n, "GET", "/v1/agents/sessions/"+id, "") })
	if len(inData(t, n, mark)) < 2 {
		t.Fatal("the session is not in the files that are looked at")
	}
	res, body := ask(t, n, "DELETE", "/v1/agents/sessions/"+id, "")
	if res.StatusCode != http.StatusOK {
		t.Fatal(body)
	}
	comes(t, `"status":"`+erasure.Completed+`"`, func() string { return must(t, n, "GET", "/v1/erasures/"+res.Header.Get("Stead-Erasure"), "") })
	if found := inData(t, n, mark); len(found) > 0 {
		t.Errorf("a certificate was issued, and the session is in %q", found)
	}

	store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"m"}`))
	in := "/v1/memory_stores/" + store + "/memories"
	memory := idOf(keyed(in, `{"content":"`+mark+` old","metadata":{"of":"`+mark+`"}}`))
	must(t, n, "POST", in+"/"+memory, `{"content":"`+mark+` new"}`)
	vectors := stored(t, n, mark+".md", "# Shop\n\n"+mark)
	file := regexp.MustCompile(`file_[0-9a-f]+`).FindString(must(t, n, "GET", "/v1/files", ""))
	if len(inData(t, n, mark)) < 2 {
		t.Fatal("the memories are not in the files that are looked at")
	}
	must(t, n, "DELETE", "/v1/files/"+file, "")
	must(t, n, "DELETE", "/v1/vector_stores/"+vectors, "")
	must(t, n, "DELETE", in+"/"+memory, "")
	comes(t, "nothing", func() string {
		if found := inData(t, n, mark); len(found) > 0 {
			return strings.Join(found, ", ")
		}
		return "nothing"
	})
}
