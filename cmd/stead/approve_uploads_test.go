package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// uploaded sends a form with a file, in boundaries of its own each time, as SDKs do.
func uploaded(t *testing.T, n *node, path, field, name, text string, fields ...string) (int, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile(field, name)
	if err == nil {
		_, err = io.WriteString(part, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", n.base+path, &b)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(got)
}

// TestUploadsWaitForApproval: uploads of files and skills, and imports of sessions, are asked about by what they bring, whose names, sizes and digests are
// shown; nothing of them is there before they are approved; the same again passes once, and something else does not.
func TestUploadsWaitForApproval(t *testing.T) {
	for _, driver := range []string{"sqlite", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			text := `
policies:
  inline: |
    @id("uploads") @approval("owner") forbid(principal, action in [Action::"file.write", Action::"skill.write"], resource);
    @id("imports") @approval("owner") forbid(principal, action == Action::"session.create", resource) when { context.model == "" };
` + "providers: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n"
			if driver == "postgres" {
				text += "database: " + pgtest.URL(t) + "\n"
			}
			n := openConfigured(t, text, io.Discard)
			exported := map[string]string{} // by variant
			for _, variant := range []string{"", "\n"} {
				session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`))
				idle(t, n, session)
				exported[variant] = must(t, n, "GET", "/v1/agents/sessions/"+session+"/export", "")
			}
			const skill = "---\nname: greet\ndescription: Greets people.\n---\nSay hello.\n"
			for what, c := range map[string]struct {
				list string // what is there of it
				send func(variant string) (int, string)
				hold string // what is sent, of the variant ""
			}{
				"a file": {"/v1/files", func(variant string) (int, string) {
					return uploaded(t, n, "/v1/files", "file", "notes.txt", "the notes"+variant, "purpose", "user_data")
				}, "the notes"},
				"a skill": {"/v1/skills", func(variant string) (int, string) {
					return uploaded(t, n, "/v1/skills", "files", "greet/SKILL.md", skill+variant)
				}, skill},
				"an import": {"/v1/agents/sessions", func(variant string) (int, string) {
					res, got := ask(t, n, "POST", "/v1/agents/sessions/import", exported[variant])
					return res.StatusCode, got
				}, exported[""]},
			} {
				t.Run(what, func(t *testing.T) {
					there := func() int { return strings.Count(must(t, n, "GET", c.list, ""), `"created_at"`) }
					before := there()
					held := func(variant string) (id string) {
						t.Helper()
						status, got := c.send(variant)
						var said struct {
							Error struct {
								Code     string
								Approval struct{ ID string }
							}
						}
						if err := json.Unmarshal([]byte(got), &said); err != nil || status != http.StatusForbidden || said.Error.Code != "approval_required" {
							t.Fatalf("%d %s", status, got)
						}
						return said.Error.Approval.ID
					}
					id := held("")
					if again := held(""); again != id {
						t.Errorf("the same is asked about twice: %s, %s", id, again)
					}
					if now := there(); now != before {
						t.Errorf("it is there before anybody approved it: %d, %d", before, now)
					}
					digest := sha256.Sum256([]byte(c.hold))
					if shown := must(t, n, "GET", "/v1/approvals/"+id, ""); !strings.Contains(shown, hex.EncodeToString(digest[:])) {
						t.Errorf("shown is %s", shown)
					}
					if res, got := ask(t, n, "POST", "/v1/approvals/"+id, `{"decision":"approve"}`); res.StatusCode >= 300 {
						t.Fatalf("%d %s", res.StatusCode, got)
					}
					if other := held("\n"); other == id {
						t.Error("something else is taken for it")
					}
					if status, got := c.send(""); status != http.StatusOK {
						t.Errorf("approved: %d %s", status, got)
					}
					if now := there(); now != before+1 {
						t.Errorf("there are %d, and were %d", now, before)
					}
					if next := held(""); next == id {
						t.Error("an approval counts twice")
					}
				})
			}
		})
	}
}
