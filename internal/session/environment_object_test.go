package session_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
)

// TestACopysEnvironmentHasAnAddressOfItsOwn: an executor that connects to it is not the original's.
func TestACopysEnvironmentHasAnAddressOfItsOwn(t *testing.T) {
	const source, target = stead.SessionID("sess_11111111111111111111111111111111"), stead.SessionID("sess_22222222222222222222222222222222")
	created, err := session.NewEvent(1, session.KindSessionCreated, session.Created{
		Agent: session.AgentPin{ID: "agent_1"}, Setup: &environment.Setup{Type: session.EnvironmentSelfHosted},
		Environment: json.RawMessage(`{"type":"self_hosted","id":"` + session.EnvironmentID(source) + `","remote_url":"http://host/v1/agents/environments/` + session.EnvironmentID(source) + `/executor#"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	created.Seq = 1
	for _, id := range []stead.SessionID{source, target} {
		v := session.NewView(stead.SessionKey{Project: "p", Session: id})
		if err := v.Apply(created); err != nil {
			t.Fatal(err)
		}
		var got struct {
			ID  string `json:"id"`
			URL string `json:"remote_url"`
		}
		if err := json.Unmarshal(v.Session().Environment, &got); err != nil {
			t.Fatal(err)
		}
		if own := session.EnvironmentID(id); got.ID != own || !strings.Contains(got.URL, "/"+own+"/executor") {
			t.Errorf("session %s shows %+v", id, got)
		}
	}
}
