package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

const reasonsConfig = registryConfig + `
environments: {driver: bare}
policies:
  inline: |
    @id("calls") @approval("approver") forbid(principal, action == Action::"tool.call", resource);
    @id("vaults") @approval("approver") forbid(principal, action == Action::"vault.write", resource);
`

// TestReasonsGoWithWhomTheyAreAbout: what people wrote when they denied, handed on and stopped is in the audit log with its record; an erasure takes
// it out of that and of the data directory, and the log is verified as before. On both databases.
func TestReasonsGoWithWhomTheyAreAbout(t *testing.T) {
	for name, text := range map[string]string{"sqlite": reasonsConfig, "postgres": reasonsConfig + "\ndatabase: " + pgtest.URL(t) + "\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := openConfigured(t, text, io.Discard)
			l := &reasons{t: t, n: n}
			const denied, other, stopped, handed, refused = "Mr. John Miller, SSN 123-45-6789, is a fraud", "the Okapi case", "Quagga left the house", "Thylacine is on leave", "Dodo does not pay"

			session, kept := makesShellCall(t, n, "true"), makesShellCall(t, n, "true")
			decide(t, n, sessionAsks(t, n, session, ""), `{"decision":"deny","reason":"`+denied+`"}`)
			decide(t, n, sessionAsks(t, n, kept, ""), `{"decision":"deny","reason":"`+other+`"}`)
			question := vaultAsked(t, n, "v")
			decide(t, n, question, `{"decision":"delegate","to":{"kind":"user","id":"local"},"reason":"`+handed+`"}`)
			decide(t, n, question, `{"decision":"deny","reason":"`+refused+`"}`)
			if _, body := ask(t, n, "POST", "/v1/vaults", `{"name":"v"}`); !strings.Contains(body, refused) {
				t.Fatalf("who is refused is not told why: %s", body)
			}
			sw := idOf(must(t, n, "POST", "/v1/kill_switches", `{"scope":"user","of":"mallory","unknown":true,"reason":"`+stopped+`"}`))
			must(t, n, "DELETE", "/v1/kill_switches/"+sw, "")
			l.has(map[string]int{denied: 1, other: 1, handed: 1, refused: 2, stopped: 2}, 7, 0)

			idle(t, n, session)
			if c := l.erase(`{"session_id":"` + session + `"}`); c.Erased.Texts != 1 || c.Erased.Sessions != 1 {
				t.Errorf("of the session the certificate says %+v", c.Erased)
			}
			l.has(map[string]int{denied: 0, other: 1, handed: 1, refused: 2, stopped: 2}, 6, 1)
			if c := l.erase(`{"user":"mallory"}`); c.Erased.Texts != 2 {
				t.Errorf("of the user the certificate says %+v", c.Erased)
			}
			l.has(map[string]int{denied: 0, other: 1, handed: 1, refused: 2, stopped: 0}, 4, 3)

			idle(t, n, kept)
			call := regexp.MustCompile(`cmd_[0-9a-f_]+`).FindString(itemsOf(t, n, kept))
			if c := l.erase(`{"session_id":"` + kept + `","item_id":"` + call + `"}`); c.Erased.Items != 1 || c.Erased.Texts != 1 {
				t.Errorf("of the item the certificate says %+v", c.Erased)
			}
			l.has(map[string]int{other: 0, handed: 1, refused: 2}, 3, 4)

			if c := l.erase(`{"user":"local"}`); c.Erased.Texts != 3 {
				t.Errorf("of who answered the certificate says %+v", c.Erased)
			}
			l.has(map[string]int{handed: 0, refused: 0}, 0, 7)
			for _, text := range []string{denied, other, stopped, handed, refused} {
				if found := inData(t, n, text); len(found) > 0 {
					t.Errorf("%q is in %q", text, found)
				}
			}
		})
	}
}

// reasons is a node whose audit log is looked at.
type reasons struct {
	t *testing.T
	n *node
}

// has counts texts in the log as the API shows it, of which none is in what is hashed, and verifies an export.
func (l *reasons) has(want map[string]int, texts, erased int) {
	l.t.Helper()
	body := must(l.t, l.n, "GET", "/v1/audit_records?limit=100", "")
	var list struct {
		Data []struct{ Record json.RawMessage }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		l.t.Fatal(err)
	}
	for text, times := range want {
		if got := strings.Count(body, text); got != times {
			l.t.Errorf("%q is in the log %d times, want %d: %s", text, got, times, body)
		}
		for _, one := range list.Data {
			if bytes.Contains(one.Record, []byte(text)) {
				l.t.Errorf("%q is in what is hashed: %s", text, one.Record)
			}
		}
	}
	export := l.cli("export")
	if v, err := audit.Verify(strings.NewReader(export), nil, nil); err != nil || v.Texts != texts || v.Erased != erased {
		l.t.Errorf("the export is verified as %+v, want %d texts and %d erased: %v", v, texts, erased, err)
	}
	file := filepath.Join(l.t.TempDir(), "export.jsonl")
	if err := os.WriteFile(file, []byte(export), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if said, want := l.cli("verify", file), fmt.Sprintf("%d reasons that people gave are not in it", erased); strings.Contains(said, want) != (erased > 0) {
		l.t.Errorf("verify says %s", said)
	}
	events, shown := l.cli("export", "--format", "ocsf"), l.cli("list", "-o", "json", "--limit", "0")
	for text, times := range want {
		for what, got := range map[string]string{"export": export, "OCSF": events, "list": shown} {
			if strings.Count(got, text) != times {
				l.t.Errorf("%q is in the %s %d times, want %d", text, what, strings.Count(got, text), times)
			}
		}
	}
}

// cli is what the command line says.
func (l *reasons) cli(args ...string) string {
	l.t.Helper()
	var out, failed bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &failed, env: func(string) (string, bool) { return "", false }}
	if code := a.main(l.t.Context(), append([]string{"--server", l.n.base, "audit"}, args...)); code != 0 {
		l.t.Fatalf("%q: %s", args, failed.String())
	}
	return out.String()
}

// erase erases to the certificate.
func (l *reasons) erase(what string) erasure.Certificate {
	l.t.Helper()
	e := wireErased{ID: idOf(must(l.t, l.n, "POST", "/v1/erasures", what))}
	if err := json.Unmarshal([]byte(comes(l.t, `"status":"`+erasure.Completed+`"`, func() string { return must(l.t, l.n, "GET", "/v1/erasures/"+e.ID, "") })), &e); err != nil {
		l.t.Fatal(err)
	}
	return e.open(l.t)
}
