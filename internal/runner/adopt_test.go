package runner_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// gate keeps what it is asked, and refuses what a rule is about.
type gate struct {
	mu    sync.Mutex
	asked []policy.Request
	no    func(policy.Request) bool
}

func (g *gate) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, r)
	if g.no != nil && g.no(r) {
		return policy.Decision{By: "test", Version: "v1", Reason: "a rule says so"}, nil
	}
	return policy.Decision{Allow: true, By: "test", Version: "v1"}, nil
}

// refuse sets the rule, and forgets what was asked.
func (g *gate) refuse(no func(policy.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked, g.no = nil, no
}

// of is what was asked about an effect.
func (g *gate) of(effect policy.Effect) (out []policy.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.asked {
		if r.Effect == effect {
			out = append(out, r)
		}
	}
	return out
}

// created is what was asked last about making a session.
func (g *gate) created(t *testing.T) policy.Request {
	t.Helper()
	asked := g.of(policy.SessionCreate)
	if len(asked) == 0 {
		t.Fatal("nobody was asked about making a session")
	}
	return asked[len(asked)-1]
}

// payroll is a saved agent, and a session of it that rests.
func (n *node) payroll() (agent.Agent, stead.SessionID) {
	n.t.Helper()
	ctx := context.Background()
	a, err := n.CreateAgent(ctx, me, agent.Spec{Model: "sim", Name: new("payroll")}, "", "")
	if err != nil {
		n.t.Fatal(err)
	}
	s, err := n.Create(ctx, me, session.CreateRequest{AgentID: a.ID, Input: message("Say hi"), Metadata: map[string]string{"department": "pay"}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.idle(s.ID)
	return a, s.ID
}

// TestACopyIsMadeByWhoMayMakeOne: policies are asked about the agent and the model that a copy will run, with what it is labelled.
func TestACopyIsMadeByWhoMayMakeOne(t *testing.T) {
	g := &gate{}
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		a, id := n.payroll()
		other := "sim2"
		if _, err := n.Update(ctx, me, id, session.Updated{Model: &other}); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := n.Export(ctx, me, id, &file); err != nil {
			t.Fatal(err)
		}
		copies := map[string]func() (session.Session, error){
			"fork":   func() (session.Session, error) { return n.Fork(ctx, me, id, session.ForkRequest{}) },
			"import": func() (session.Session, error) { return n.Import(ctx, me, bytes.NewReader(file.Bytes())) },
		}
		blobs := n.cfg.Blobs.(*memBlobs).count()
		for name, make := range copies {
			g.refuse(nil)
			s, err := make()
			if err != nil {
				t.Fatal(err)
			}
			asked := g.created(t)
			if asked.Model != other || !asked.Labels.Has("department", "pay") || asked.Agent != s.Agent.ID || !asked.Carried || (name == "fork") != (asked.Agent == a.ID) {
				t.Errorf("%s: it was asked %+v", name, asked)
			}
			if made := payloads[session.Created](t, n, s.ID, session.KindSessionCreated)[0]; made.Decision == nil || made.Agent.ID != asked.Agent {
				t.Errorf("%s: made is %+v", name, made)
			}
			if err := n.Delete(ctx, me, s.ID); err != nil {
				t.Fatal(err)
			}
			g.refuse(func(r policy.Request) bool { return r.Effect == policy.SessionCreate && r.Model == other })
			_, err = make()
			isKind(t, err, stead.KindForbidden)
			if got := n.cfg.Blobs.(*memBlobs).count(); got != blobs {
				t.Errorf("%s: %d blobs after a refusal, %d before", name, got, blobs)
			}
		}
		page, err := n.List(ctx, me, session.ListQuery{PageQuery: session.PageQuery{Limit: 10}})
		if err != nil || len(page.Data) != 1 {
			t.Errorf("%d sessions after refusals, %v", len(page.Data), err)
		}
	}, withPolicy(g))
}

// TestAnImportProvesItsAgent: it has the name of one of the project's only as the very same version of it.
func TestAnImportProvesItsAgent(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		a, id := n.payroll()
		export := func(id stead.SessionID) []byte {
			t.Helper()
			var file bytes.Buffer
			if err := n.Export(ctx, me, id, &file); err != nil {
				t.Fatal(err)
			}
			return file.Bytes()
		}
		changed, err := n.Create(ctx, me, session.CreateRequest{AgentID: a.ID, Override: func(s *agent.Spec) error { s.Instructions = new("Pay me."); return nil }, Input: message("Say hi")})
		if err != nil {
			t.Fatal(err)
		}
		n.idle(changed.ID)
		inline := n.create("Say hi")
		n.idle(inline.ID)
		if _, err := n.UpdateAgent(ctx, me, a.ID, func(s *agent.Spec) error { s.Instructions = new("Newer."); return nil }); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			file []byte
			by   stead.Principal
			same bool
			of   stead.AgentID
		}{
			"the same version":    {export(id), me, true, a.ID},
			"changed":             {export(changed.ID), me, false, a.ID},
			"in another project":  {export(id), stead.Principal{Project: "other", Kind: stead.PrincipalUser, ID: me.ID}, false, a.ID},
			"of an inline agent":  {export(inline.ID), me, false, inline.Agent.ID},
			"a version of nobody": {bytes.ReplaceAll(export(id), []byte(`"version":1,"spec"`), []byte(`"version":7,"spec"`)), me, false, a.ID},
		} {
			s, err := n.Import(ctx, c.by, bytes.NewReader(resealed(t, c.file)))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if (s.Agent.ID == c.of) != c.same || (s.Agent.Version == 1) != c.same {
				t.Errorf("%s: it is agent %s, version %d", name, s.Agent.ID, s.Agent.Version)
			}
		}
	})
}

// TestAResponseBesideAsksForItsModel: a response in a copy of its session is made by who may make a session on the model of the response.
func TestAResponseBesideAsksForItsModel(t *testing.T) {
	g := &gate{}
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		respond := func(previous, model string) (session.Response, error) {
			return n.Respond(ctx, me, asks(previous, []stead.Item{inputOf(stead.RoleUser, "Say hi")}, func(r *session.RespondRequest) { r.Ask.Spec.Model = model }))
		}
		first, err := respond("", "sim")
		if err != nil {
			t.Fatal(err)
		}
		n.idle(first.Session)
		if _, err := respond(first.ID(), "sim"); err != nil {
			t.Fatal(err)
		}
		n.idle(first.Session)
		g.refuse(func(r policy.Request) bool { return r.Effect == policy.SessionCreate && r.Model == "sim2" })
		_, err = respond(first.ID(), "sim2")
		isKind(t, err, stead.KindForbidden)
		if _, err := respond(first.ID(), "sim"); err != nil {
			t.Errorf("on the other model: %v", err)
		}
	}, withPolicy(g))
}

// resealed is an export whose end fits what was changed in it.
func resealed(t *testing.T, file []byte) []byte {
	t.Helper()
	body, end, ok := bytes.Cut(bytes.TrimSuffix(file, []byte("\n")), []byte(`{"end":`))
	if !ok {
		t.Fatalf("an export without an end: %.200s", file)
	}
	var e map[string]any
	if err := json.Unmarshal(bytes.TrimSuffix(end, []byte("}")), &e); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	e["sha256"] = hex.EncodeToString(sum[:])
	line, err := json.Marshal(map[string]any{"end": e})
	if err != nil {
		t.Fatal(err)
	}
	return append(append(bytes.Clone(body), line...), '\n')
}
