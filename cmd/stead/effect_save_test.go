package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// saver is a server whose agents store no file before somebody approves that.
type saver struct {
	*testing.T
	n    *node
	text string // its configuration
}

// saveAction is the question that a session waits with.
type saveAction struct {
	RequestID string `json:"request_id"`
	Request   struct {
		Name, Digest string
		Arguments    struct {
			Checkpoint string
			Files      int
			Changes    struct {
				Total int
				Files []struct{ Path, What, SHA256 string }
			}
			Artifacts []struct{ Path, SHA256 string }
		}
	}
}

// asked waits until the session asks, and nobody else.
func (s *saver) asked(id string) saveAction {
	s.Helper()
	got := comes(s.T, `"status":"requires_action"`, func() string { return must(s.T, s.n, "GET", "/v1/agents/sessions/"+id, "") })
	var all struct {
		RequiredActions []saveAction `json:"required_actions"`
	}
	if err := json.Unmarshal([]byte(got), &all); err != nil || len(all.RequiredActions) != 1 || all.RequiredActions[0].Request.Name != "environment.save" {
		s.Fatalf("%v %s", err, got)
	}
	return all.RequiredActions[0]
}

func (s *saver) answer(a saveAction, decision string) {
	s.Helper()
	if res, said := ask(s.T, s.n, "POST", "/v1/approvals/"+a.RequestID, `{"decision":"`+decision+`","reason":"so","digest":"`+a.Request.Digest+`"}`); res.StatusCode >= 300 {
		s.Fatalf("%d %s", res.StatusCode, said)
	}
}

// reads is what can be read of a session's files while its environment is not resident, and what is the session's for good: its artifacts, the files of a copy and the
// blobs of an export.
func (s *saver) reads(id string) (files, kept string) {
	s.Helper()
	env := "/v1/agents/environments/env_"
	comes(s.T, `"status":"suspended"`, func() string { return must(s.T, s.n, "GET", env+strings.TrimPrefix(id, "sess_"), "") })
	files = must(s.T, s.n, "GET", env+strings.TrimPrefix(id, "sess_")+"/files", "")
	fork := idOf(must(s.T, s.n, "POST", "/v1/agents/sessions/"+id+"/fork", `{}`))
	kept = must(s.T, s.n, "GET", env+strings.TrimPrefix(fork, "sess_")+"/files", "") + must(s.T, s.n, "GET", "/v1/agents/sessions/"+fork+"/artifacts", "") + must(s.T, s.n, "GET", "/v1/agents/sessions/"+id+"/artifacts", "")
	for line := range strings.SplitSeq(must(s.T, s.n, "GET", "/v1/agents/sessions/"+id+"/export", ""), "\n") {
		if strings.HasPrefix(line, `{"blob"`) {
			kept += line
		}
	}
	return files, kept
}

// moves has the server stop, and another one, on whose disk no workspace is, go on.
func (s *saver) moves() {
	s.Helper()
	s.n.stop()
	if err := os.RemoveAll(filepath.Join(s.n.cfg.Data, "environments")); err != nil {
		s.Fatal(err)
	}
	s.n = openAgain(s.T, s.n, s.text)
}

// TestFilesWaitForApproval: what commands left is nobody's before it is approved, and is there then though the machine that had it is gone; exactly what was
// shown. What is denied is in no file, artifact, copy and export.
func TestFilesWaitForApproval(t *testing.T) {
	needComputer(t)
	for name, database := range map[string]string{"SQLite": "", "PostgreSQL": pgtest.URL(t)} {
		t.Run(name, func(t *testing.T) {
			const made = "Quetzalcoatlus"
			s := &saver{T: t, text: "limits: {drain_seconds: 1}\npolicies:\n  inline: |\n    @id(\"files\") @approval(\"owner\") forbid(principal, action == Action::\"environment.save\", resource);\n" + registryConfig}
			if database != "" {
				s.text += "database: " + database + "\n"
			}
			s.n = openConfigured(t, s.text, io.Discard)
			begin := func() string {
				return idOf(must(t, s.n, "POST", "/v1/agents/sessions", `{"environment":{"type":"openai_hosted"},"agent":{"model":"mine","tools":[{"type":"environment"}]},
					"input":"Call shell with {\"command\": \"mkdir -p outputs sub; printf Quetzal > a; printf coatlus >> a; cp a outputs/Quetzal''coatlus.txt; ln -s ../a sub/l\"}\nSay ok"}`))
			}
			id := begin()
			a := s.asked(id)
			of := a.Request.Arguments
			if len(of.Changes.Files) != 3 || of.Changes.Total != 3 || of.Changes.Files[0].Path != "/workspace/a" || of.Changes.Files[0].What != "added" || len(of.Artifacts) != 1 || of.Changes.Files[0].SHA256 != of.Artifacts[0].SHA256 {
				t.Errorf("shown is %+v", of)
			}
			files, kept := s.reads(id)
			if !strings.Contains(files, made) || strings.Contains(kept, made) || strings.Contains(kept, of.Checkpoint) {
				t.Errorf("before it is approved there is %s%s", files, kept)
			}
			s.moves()
			if b := s.asked(id); b.RequestID != a.RequestID || b.Request.Digest != a.Request.Digest {
				t.Fatalf("it asks %+v after %+v", b, a)
			}
			s.answer(a, "approve")
			idle(t, s.n, id)
			if files, kept = s.reads(id); !strings.Contains(files, made) || strings.Count(kept, made) < 3 || !strings.Contains(kept, of.Checkpoint) {
				t.Errorf("it is not stored: %s%s", files, kept)
			}
			said := func(text, want string) {
				t.Helper()
				ask(t, s.n, "POST", "/v1/agents/sessions/"+id+"/events", `{"events":[{"type":"agent.session.input.message","input":"`+text+`"}]}`)
				comes(t, want, func() string { return itemsOf(t, s.n, id) })
			}
			said(`Call shell with {\"command\": \"cat sub/l; echo; rm a; echo more > b\"}\nSay zebra`, `"text":"zebra"`)
			if got := itemsOf(t, s.n, id); !strings.Contains(got, made+`\n`) {
				t.Errorf("the next turn has not what was stored: %s", got)
			}
			c := s.asked(id)
			if of := c.Request.Arguments; len(of.Changes.Files) != 2 || of.Changes.Files[0].What != "removed" || of.Changes.Files[1].Path != "/workspace/b" || len(of.Artifacts) != 0 {
				t.Errorf("then shown is %+v", of)
			}
			s.answer(c, "deny")
			idle(t, s.n, id)
			if _, kept := s.reads(id); strings.Contains(kept, `/workspace/b"`) || !strings.Contains(kept, "/workspace/a") || strings.Contains(kept, c.Request.Arguments.Checkpoint) {
				t.Errorf("what was denied is stored: %s", kept)
			}
			s.moves() // where what was denied is not
			said(`Call shell with {\"command\": \"ls\"}\nSay okapi`, `"text":"okapi"`)
			if got := itemsOf(t, s.n, id); !strings.Contains(got, `a\noutputs\nsub\n`) || strings.Contains(got, `a\nb\n`) {
				t.Errorf("what was denied is back: %s", got)
			}
			records := must(t, s.n, "GET", "/v1/audit_records?action=environment.save&limit=100&order=asc", "")
			if strings.Count(records, `"require_approval"`) < 2 || strings.Count(records, `"allow"`) != 1 {
				t.Errorf("the audit log has %s", records)
			}
		})
	}
}
