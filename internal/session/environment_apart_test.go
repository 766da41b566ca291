package session_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// TestBlobsOfWhatIsStoredApart: no copy, export or import takes them, a sweep keeps them while somebody is asked and no longer, and once they are the session's the event that says so
// names them all. An erasure knows of them in any case.
func TestBlobsOfWhatIsStoredApart(t *testing.T) {
	yes := policy.Decision{Allow: true}
	ask := policy.Decision{Needs: &policy.Needs{Roles: []stead.Role{"approver"}}}
	blobs := []stead.Text{{Digest: "d1", Bytes: 1}}
	outputs := []environment.Published{{Path: "/workspace/outputs/a", Size: 1, Digest: "a", Parts: []stead.Text{{Digest: "d2", Bytes: 1}}}}
	apart := session.EnvironmentSuspended{Call: 8, Upto: 8, Checkpoint: environment.Checkpoint{Digest: "d1"}, Blobs: blobs, Apart: true, Artifacts: outputs}
	held := session.EffectHeld{EffectKey: session.EffectKey{Effect: policy.EnvironmentSave, Of: "env"}, Shown: []byte("{}"), Decision: ask}
	for name, c := range map[string]struct {
		then         []any
		named, waits []string
	}{
		"asked":  {nil, nil, []string{"d1", "d2"}},
		"denied": {[]any{session.EffectResult{Asked: 10, Decision: session.DecisionDeny}}, nil, nil},
		"lapsed": {[]any{session.EffectLapsed{Asked: 10}}, nil, nil},
		"kept": {[]any{session.EffectResult{Asked: 10, Decision: session.DecisionApprove, By: stead.Principal{Role: "approver"}}, session.EnvironmentCalled{Action: session.ActionSave, Keep: true, Decision: yes},
			session.EnvironmentCheckpointed{Call: 12, Upto: 8, Checkpoint: apart.Checkpoint, Blobs: blobs, Artifacts: outputs, Kept: 9}}, []string{"d1", "d2"}, nil},
		"expiring": {[]any{session.EnvironmentCalled{Action: session.ActionExpire, Decision: yes}}, nil, nil},
		"expired":  {[]any{session.EnvironmentCalled{Action: session.ActionExpire, Decision: yes}, session.EnvironmentExpired{Call: 11}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			j := &events{t: t}
			j.add(session.KindSessionCreated, session.Created{Setup: &environment.Setup{Type: session.EnvironmentHosted}})
			for range 2 { // the numbers of what follows are those above
				j.add(session.KindSessionPaused, struct{}{})
			}
			j.add(session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionPrepare, Decision: yes})
			j.add(session.KindEnvironmentPrepared, session.EnvironmentPrepared{Call: 4, Checkpoint: environment.Checkpoint{Digest: "d0"}})
			j.add(session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionOpen, Decision: yes})
			j.add(session.KindEnvironmentConnected, session.EnvironmentConnected{Call: 6, Node: "n"})
			j.add(session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionSuspend, Apart: true, Decision: ask})
			j.add(session.KindEnvironmentSuspended, apart)
			j.add(session.KindEffectHeld, held)
			for _, p := range c.then {
				j.add(kindOf(p), p)
			}
			waits, err := session.StoredApart(sessiontest.Key, j.list)
			if err != nil || !slices.Equal(waits, c.waits) {
				t.Errorf("kept while it waits: %q, %v", waits, err)
			}
			if got := slices.Sorted(slices.Values(session.Digests(j.list))); !slices.Equal(got, c.named) {
				t.Errorf("the session's are %q", got)
			}
			if got := session.EveryDigest(j.list); !slices.Contains(got, "d2") || slices.Contains(got, "d1") == strings.HasPrefix(name, "expir") {
				t.Errorf("there are %q", got)
			}
			v := session.NewView(sessiontest.Key)
			for _, e := range j.list {
				if err := v.Apply(e); err != nil {
					t.Fatal(err)
				}
			}
			if got := v.Environment.Opens(); name == "asked" && got != "d1" || name == "denied" && got != "d0" {
				t.Errorf("it opens with %q", got)
			}
		})
	}
}

// events is a journal in the making.
type events struct {
	t    *testing.T
	list []stead.Event
}

func (j *events) add(kind string, payload any) {
	j.t.Helper()
	e, err := session.NewEvent(1, kind, payload)
	if err != nil {
		j.t.Fatal(err)
	}
	e.Seq = stead.Seq(len(j.list) + 1)
	j.list = append(j.list, e)
}

// kindOf is the kind of an event with that payload.
func kindOf(p any) string {
	switch p.(type) {
	case session.EffectResult:
		return session.KindInputEffect
	case session.EffectLapsed:
		return session.KindEffectLapsed
	case session.EnvironmentCalled:
		return session.KindEnvironmentCalled
	case session.EnvironmentExpired:
		return session.KindEnvironmentExpired
	}
	return session.KindEnvironmentCheckpointed
}
