package catalog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

// registry has a model for everybody, one for project red, one for an agent, and a deprecated one.
func registry(t *testing.T) *Catalog {
	t.Helper()
	c, err := New(Config{
		Providers: []Provider{{Name: "a", Model: named("a"), Region: "eu"}, {Name: "b", Model: named("b")}},
		Models: []Entry{
			{Name: "open", Provider: "a", Model: "base"},
			{Name: "secret", Card: model.Card{Base: "base", Owner: "red team", Projects: []stead.ProjectID{"red"}}, Price: &model.Price{Input: 1, Output: 9}, Routes: []router.Route{
				{Provider: "a", Upstream: "ft-7", Version: "7", Weight: 95, Deployment: "d7"},
				{Provider: "b", Upstream: "ft-8", Version: "8", Weight: 5, Price: &model.Price{Input: 3, Output: 2}},
			}},
			{Name: "agents", Provider: "b", Model: "ft-9", Card: model.Card{Agents: []stead.AgentID{"agent_1"}}},
			{Name: "old", Provider: "a", Model: "base", Card: model.Card{Lifecycle: model.Deprecated, Successor: "open"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhoMayUseAModel(t *testing.T) {
	c := registry(t)
	red, blue := model.Caller{Project: "red"}, model.Caller{Project: "blue"}
	agent := model.Caller{Project: "blue", Agent: "agent_1"}
	for _, tc := range []struct {
		name string
		by   model.Caller
		may  bool
	}{
		{"open", blue, true}, {"secret", red, true}, {"secret", blue, false},
		{"agents", blue, false}, {"agents", agent, true},
		// The provider's own name is no way around.
		{"a/ft-7", red, true}, {"a/ft-7", blue, false}, {"b/ft-8", blue, false}, {"b/ft-9", agent, true}, {"b/ft-9", red, false},
		{"a/base", blue, true}, {"a/another", blue, true},
	} {
		_, _, err := c.Resolve(tc.name, tc.by)
		if (err == nil) != tc.may {
			t.Errorf("%s by %+v: %v", tc.name, tc.by, err)
		}
		if _, again := c.Explain(tc.name, tc.by); (again == nil) != tc.may {
			t.Errorf("explain %s by %+v: %v", tc.name, tc.by, again)
		}
	}
}

// To those who may not use a model it is not there: the error is that of a name which nobody has, and
// no hint tells of it.
func TestWhatNobodyLearns(t *testing.T) {
	c, blue := registry(t), model.Caller{Project: "blue"}
	said := func(name string) string {
		_, _, err := c.Resolve(name, blue)
		e, ok := err.(*stead.Error)
		if !ok || e.Kind != stead.KindNotFound || e.Code != "model_not_found" {
			t.Fatalf("%s: %#v", name, err)
		}
		return strings.ReplaceAll(e.Message+" "+e.Hint, name, "NAME")
	}
	if is, isNot := said("secret"), said("zecrez"); is != isNot || strings.Contains(said("secre"), "secret") {
		t.Errorf("a name that is there: %q; one that is not: %q; near: %q", is, isNot, said("secre"))
	}
	if is, isNot := said("a/ft-7"), said("c/ft-7"); strings.Contains(is, "secret") || isNot == "" {
		t.Errorf("%q", is)
	}
	var names []string
	for _, i := range c.List("blue") {
		names = append(names, i.Name)
	}
	if d := cmp.Diff([]string{"agents", "default", "old", "open"}, names); d != "" {
		t.Errorf("list of project blue (-want +got):\n%s", d)
	}
}

func TestCards(t *testing.T) {
	info, _, err := registry(t).Resolve("secret", model.Caller{Project: "red"})
	if err != nil {
		t.Fatal(err)
	}
	want := []model.Version{
		{Version: "7", Provider: "a", Model: "ft-7", Region: "eu", Deployment: "d7", Weight: 95},
		{Version: "8", Provider: "b", Model: "ft-8", Weight: 5, Price: &model.Price{Input: 3, Output: 2}},
	}
	if d := cmp.Diff(want, info.Card.Versions); d != "" || info.Card.Owner != "red team" {
		t.Errorf("%+v (-want +got):\n%s", info.Card, d)
	}
	if h := info.Highest; h.Input != 3 || h.Output != 9 {
		t.Errorf("budgets would reserve by %+v", h)
	}
}

func TestErrorsOfADeprecatedModelNameItsSuccessor(t *testing.T) {
	c, err := New(Config{
		Providers: []Provider{{Name: "a", Model: named("a")}},
		Models: []Entry{{Name: "old", Card: model.Card{Lifecycle: model.Deprecated, Successor: "new"}, Routes: []router.Route{
			{Provider: "a", Upstream: "x", When: router.Condition{Calls: router.CallsStateful}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, m, err := c.Resolve("old", model.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range m.Generate(t.Context(), model.Request{}) {
		if err == nil || !strings.Contains(err.Error(), "the model old is deprecated: use new") {
			t.Errorf("%v", err)
		}
	}
}
