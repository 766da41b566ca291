package mcp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/tool/tooltest"
)

// A server of some projects is not there for the others: what they are told is what they are told of any label that nobody has
// configured, and names none of it. A tool that a session has had is not called any more once its project has lost the server.
func TestServersAreThoseOfAProject(t *testing.T) {
	url := asker(t)
	m := open(t, mcp.Config{Servers: []mcp.Configured{{Label: "crm", URL: url, Projects: []stead.ProjectID{"one"}}, {Label: "all", URL: url}}})
	tools, err := m.Tools(t.Context(), tool.Server{Project: "one", Label: "crm"})
	if err != nil || len(tools) != 1 {
		t.Fatalf("its own project: %d tools, %v", len(tools), err)
	}
	_, hidden := m.Tools(t.Context(), tool.Server{Project: "two", Label: "crm"})
	_, unknown := m.Tools(t.Context(), tool.Server{Project: "two", Label: "none"})
	if stead.KindOf(hidden) != stead.KindInvalid || hidden.Error() != strings.Replace(unknown.Error(), `"none"`, `"crm"`, 1) {
		t.Errorf("another project is told %v, and of no server %v", hidden, unknown)
	}
	if e := hidden.(*stead.Error); !strings.HasSuffix(e.Hint, "configured are: all") {
		t.Errorf("the hint is %q", e.Hint)
	}
	if own, others := m.Labels("two"); !slices.Equal(own, []string{"all"}) || !slices.Equal(others, []string{"crm"}) {
		t.Errorf("it has %v, and not %v", own, others)
	}
	if _, err := m.Tools(t.Context(), tool.Server{Label: "crm"}); err == nil {
		t.Error("a server of one project is there for nobody's")
	}
	// Another server can't take the name either: policies of the operator go by it.
	if _, err := m.Tools(t.Context(), tool.Server{Project: "two", Label: "crm", URL: url}); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a stranger's server of that name: %v", err)
	}
	if m.Serves("two", "crm") || !m.Serves("one", "crm") {
		t.Error("the resources of a server are another project's")
	}
	if _, err := m.Resources(t.Context(), "two", "crm"); err == nil || err.Error() != hidden.Error() {
		t.Errorf("its resources: %v", err)
	}
}

// What is configured anew counts from then on: for whom a server is, where it is, and which there are.
func TestServersAreReplaced(t *testing.T) {
	one, two := asker(t), asker(t)
	m := open(t, mcp.Config{Servers: []mcp.Configured{{Label: "crm", URL: one, Projects: []stead.ProjectID{"one"}}}})
	has := func(project stead.ProjectID, want bool) {
		t.Helper()
		if _, err := m.Tools(t.Context(), tool.Server{Project: project, Label: "crm"}); (err == nil) != want {
			t.Errorf("%s: %v", project, err)
		}
	}
	has("one", true)
	m.Replace([]mcp.Configured{{Label: "crm", URL: one, Projects: []stead.ProjectID{"two"}}})
	has("one", false)
	has("two", true)
	m.Replace([]mcp.Configured{{Label: "crm", URL: "http://127.0.0.1:1/mcp"}})
	has("two", false) // what is there now is asked, not what was
	m.Replace([]mcp.Configured{{Label: "crm", URL: two}})
	has("one", true)
	m.Replace(nil)
	has("one", false)
}

// A call that is under way when its server is taken away gets its answer.
func TestACallOutlastsItsServersConfiguration(t *testing.T) {
	server, err := tooltest.Start(tooltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	m := open(t, mcp.Config{Servers: []mcp.Configured{{Label: "crm", URL: server.URL()}}})
	slow := find(t, m, tool.Server{Project: "one", Label: "crm"}, tooltest.Slow)
	type outcome struct {
		tool.Result
		err error
	}
	got := make(chan outcome, 1)
	go func() {
		r, err := slow.Call(t.Context(), tool.Call{Key: "k"})
		got <- outcome{r, err}
	}()
	<-server.Started()
	m.Replace(nil)
	if _, err := m.Tools(t.Context(), tool.Server{Project: "one", Label: "crm"}); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("it is there for new ones: %v", err)
	}
	server.Release()
	if o := <-got; o.err != nil || allText(o.Result) != "done at last" {
		t.Errorf("%+v", o)
	}
}
