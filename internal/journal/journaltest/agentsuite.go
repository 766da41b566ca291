package journaltest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// AgentSuite checks a store of agents against package agent's contract. open returns an empty one
// and sees to its end.
func AgentSuite(t *testing.T, open func(t *testing.T) agent.Store) {
	tests := map[string]func(*testing.T, *agentFixture){
		"stores versions":            agentVersions,
		"only newest plus one":       agentConflict,
		"not found":                  agentNotFound,
		"a key replays the creation": agentReplay,
		"lists newest in order":      agentList,
		"delete removes all":         agentDelete,
		"one concurrent update wins": agentConcurrent,
		"projects are apart":         agentProjects,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, &agentFixture{t, open(t), t.Context()}) })
	}
}

type agentFixture struct {
	t   *testing.T
	s   agent.Store
	ctx context.Context
}

func agentN(n, version int) agent.Agent {
	name := fmt.Sprintf("agent %d, version %d", n, version)
	return agent.Agent{
		ID: agentID(n), Version: version, CreatedAt: 1000, UpdatedAt: 1000 + int64(version),
		Spec: agent.Spec{
			Name: &name, Model: "m", Metadata: map[string]string{"k": "v"},
			Tools: []agent.Tool{{Type: agent.ToolFunction, Name: "f", Parameters: json.RawMessage(`{"type":"object"}`)}},
		},
	}
}

func agentID(n int) stead.AgentID { return stead.AgentID(fmt.Sprintf("agent_%032x", n)) }

func (f *agentFixture) put(p stead.ProjectID, a agent.Agent) {
	f.t.Helper()
	got, err := f.s.PutAgent(f.ctx, p, a, "", "")
	if err != nil {
		f.t.Fatalf("PutAgent: %v", err)
	}
	f.same(got, a)
}

func (f *agentFixture) fails(kind stead.Kind, err error) {
	f.t.Helper()
	if stead.KindOf(err) != kind {
		f.t.Fatalf("error = %v (kind %q), want kind %q", err, stead.KindOf(err), kind)
	}
}

func (f *agentFixture) same(got, want agent.Agent) {
	f.t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		f.t.Fatalf("agent\n%s, want\n%s", g, w)
	}
}

func (f *agentFixture) has(p stead.ProjectID, version int, want agent.Agent) {
	f.t.Helper()
	got, err := f.s.GetAgent(f.ctx, p, want.ID, version)
	if err != nil {
		f.t.Fatalf("GetAgent: %v", err)
	}
	f.same(got, want)
}

func agentVersions(t *testing.T, f *agentFixture) {
	for v := 1; v <= 3; v++ {
		f.put(project, agentN(1, v))
		f.has(project, 0, agentN(1, v))
	}
	for v := 1; v <= 3; v++ {
		f.has(project, v, agentN(1, v))
	}
}

func agentConflict(t *testing.T, f *agentFixture) {
	put := func(v int) error {
		_, err := f.s.PutAgent(f.ctx, project, agentN(1, v), "", "")
		return err
	}
	f.fails(stead.KindConflict, put(2))
	f.fails(stead.KindConflict, put(0))
	f.put(project, agentN(1, 1))
	f.fails(stead.KindConflict, put(1))
	f.fails(stead.KindConflict, put(3))
	f.put(project, agentN(1, 2))
	f.has(project, 0, agentN(1, 2))
}

func agentNotFound(t *testing.T, f *agentFixture) {
	_, err := f.s.GetAgent(f.ctx, project, agentID(1), 0)
	f.fails(stead.KindNotFound, err)
	f.put(project, agentN(1, 1))
	_, err = f.s.GetAgent(f.ctx, project, agentID(1), 2)
	f.fails(stead.KindNotFound, err)
	f.fails(stead.KindNotFound, f.s.DeleteAgent(f.ctx, project, agentID(2)))
}

func agentReplay(t *testing.T, f *agentFixture) {
	if _, err := f.s.PutAgent(f.ctx, project, agentN(1, 1), "k", "d"); err != nil {
		t.Fatal(err)
	}
	f.put(project, agentN(1, 2))                                     // it has moved on since
	got, err := f.s.PutAgent(f.ctx, project, agentN(2, 1), "k", "d") // a retry draws another id
	if err != nil {
		t.Fatal(err)
	}
	f.same(got, agentN(1, 1))
	_, err = f.s.GetAgent(f.ctx, project, agentID(2), 0)
	f.fails(stead.KindNotFound, err)
	_, err = f.s.PutAgent(f.ctx, project, agentN(3, 1), "k", "e")
	f.fails(stead.KindConflict, err)
	if _, err := f.s.PutAgent(f.ctx, "other", agentN(3, 1), "k", "e"); err != nil {
		t.Fatalf("a key crossed projects: %v", err)
	}
}

func agentList(t *testing.T, f *agentFixture) {
	for _, n := range []int{3, 1, 4, 2} {
		f.put(project, agentN(n, 1))
	}
	f.put(project, agentN(2, 2))
	f.list("[1.1 2.2 3.1 4.1]", "", false, 10)
	f.list("[4.1 3.1 2.2 1.1]", "", true, 10)
	f.list("[1.1 2.2]", "", false, 2)
	f.list("[3.1 4.1]", agentID(2), false, 10)
	f.list("[1.1]", agentID(2), true, 10)
	f.list("[]", agentID(4), false, 10)
}

func (f *agentFixture) list(want string, after stead.AgentID, desc bool, limit int) {
	f.t.Helper()
	all, err := f.s.ListAgents(f.ctx, project, after, desc, limit)
	if err != nil {
		f.t.Fatal(err)
	}
	got := []string{}
	for _, a := range all {
		var n int
		if _, err := fmt.Sscanf(string(a.ID), "agent_%x", &n); err != nil {
			f.t.Fatal(err)
		}
		f.same(a, agentN(n, a.Version))
		got = append(got, fmt.Sprintf("%d.%d", n, a.Version))
	}
	if fmt.Sprint(got) != want {
		f.t.Fatalf("ListAgents = %v, want %s", got, want)
	}
}

func agentDelete(t *testing.T, f *agentFixture) {
	if _, err := f.s.PutAgent(f.ctx, project, agentN(1, 1), "k", "d"); err != nil {
		t.Fatal(err)
	}
	f.put(project, agentN(1, 2))
	f.put(project, agentN(2, 1))
	if err := f.s.DeleteAgent(f.ctx, project, agentID(1)); err != nil {
		t.Fatal(err)
	}
	for v := range 3 {
		_, err := f.s.GetAgent(f.ctx, project, agentID(1), v)
		f.fails(stead.KindNotFound, err)
	}
	f.list("[2.1]", "", false, 10)
	if _, err := f.s.PutAgent(f.ctx, project, agentN(1, 1), "k", "other"); err != nil {
		t.Fatalf("the key outlived its agent: %v", err)
	}
}

func agentConcurrent(t *testing.T, f *agentFixture) {
	const callers = 16
	f.put(project, agentN(1, 1))
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { _, errs[i] = f.s.PutAgent(f.ctx, project, agentN(1, 2), "", "") })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			f.fails(stead.KindConflict, err)
		}
	}
	if won != 1 {
		t.Fatalf("%d updates to version 2 succeeded", won)
	}
}

func agentProjects(t *testing.T, f *agentFixture) {
	f.put(project, agentN(1, 1))
	_, err := f.s.GetAgent(f.ctx, "other", agentID(1), 0)
	f.fails(stead.KindNotFound, err)
	f.fails(stead.KindNotFound, f.s.DeleteAgent(f.ctx, "other", agentID(1)))
	f.has(project, 0, agentN(1, 1))
}
