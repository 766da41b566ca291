package session_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// What another session sealed is in none of an import's events, nor in those of a copy of it, wherever that ends.
func TestAnImportHasNothingSealed(t *testing.T) {
	ada := stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada"}
	setup := environment.Setup{Type: session.EnvironmentHosted, Config: json.RawMessage(`{}`), Sealed: &stead.Text{Digest: "abc", Bytes: 3}, Owner: sessiontest.Key.Session}
	made := session.Created{Principal: ada, Agent: session.AgentPin{ID: "agent_1", Spec: agent.Spec{Model: "sim"}}, Environment: json.RawMessage(`{}`)}
	whole := made
	whole.Setup = &setup
	said := session.Message{Input: []session.InputMessage{{Content: stead.TextContent(stead.ContentInputText, "hi")}}, By: ada}
	for name, payloads := range map[string][]any{
		"with its session":   {session.KindSessionCreated, whole, session.KindInputMessage, said, session.KindTurnStarted, struct{}{}},
		"before its session": {session.KindEnvironmentCreated, session.EnvironmentCreated{Setup: setup, Object: json.RawMessage(`{}`), Principal: ada, VaultIDs: []string{"vault_1"}}, session.KindSessionCreated, made, session.KindInputMessage, said},
	} {
		var events []stead.Event
		for i := 0; i < len(payloads); i += 2 {
			e, err := session.NewEvent(1, payloads[i].(string), payloads[i+1])
			if err != nil {
				t.Fatal(err)
			}
			e.Seq = stead.Seq(i/2 + 1)
			events = append(events, e)
		}
		copied := func(events []stead.Event, key stead.SessionKey, item string, how string) []stead.Event {
			out, err := session.Fork(key, events, item, forkedAt, session.Origin{Session: key.Session, How: how}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		imported := copied(events, sessiontest.Key, "", session.OriginImport)
		at := stead.Seq(2)
		if name == "before its session" {
			at = 3
		}
		for what, got := range map[string][]stead.Event{
			"the import": imported, "a copy": copied(imported, forkKey, "", session.OriginFork),
			"a copy of its beginning": copied(imported, forkKey, stead.DerivedID("msg", forkKey.Session, at, 0), session.OriginFork),
		} {
			for _, e := range got {
				if bytes.Contains(e.Data, []byte(`"sealed"`)) || bytes.Contains(e.Data, []byte(`"owner"`)) || bytes.Contains(e.Data, []byte("vault_1")) {
					t.Errorf("%s, %s: %s %s", name, what, e.Kind, e.Data)
				}
			}
		}
		if own := copied(events, sessiontest.Key, "", session.OriginFork); !bytes.Contains(own[0].Data, []byte(`"sealed"`)) {
			t.Errorf("%s: a copy of one's own has nothing sealed: %s", name, own[0].Data)
		}
	}
}
