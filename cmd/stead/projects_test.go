package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
)

// The root key adds up, settles and verifies every project at once; nobody else may. What is settled at once is rounded
// once: in each of five projects somebody has less than half a cent, and together it is two cents.
func TestTheRootKeyAsksAboutEveryProject(t *testing.T) {
	n := openConfigured(t, `
auth: {mode: keys}
limits: {drain_seconds: 1}
providers: [{name: sim, api: sim}]
models: [{name: sim, routes: [{provider: sim, model: sim}], price: {input: 0, output: 4000}}]
settlement: {rest: operator, rules: [{name: r, match: {provider: sim}, shares: [{party: a, basis_points: 5000}, {party: b, basis_points: 5000}]}]}
`, io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey}
	var key struct{ Secret string }
	for i := range 5 {
		h.get(h.root, "POST", "/v1/api_keys", fmt.Sprintf(`{"role":"owner","project":"p%d"}`, i), &key)
		h.get(key.Secret, "POST", "/v1/responses", `{"model":"sim","input":"Say hi"}`, &struct{}{})
	}

	var report struct {
		Data []struct{ Key map[string]string }
	}
	h.get(h.root, "GET", "/v1/usage?group_by=project&project=*", "", &report)
	if len(report.Data) != 5 || report.Data[4].Key["project"] != "p4" {
		t.Errorf("reported %+v", report)
	}
	var verified struct {
		OK       bool
		Sessions int
	}
	h.get(h.root, "POST", "/v1/usage/verify", `{"project":"*"}`, &verified)
	if !verified.OK || verified.Sessions != 5 {
		t.Errorf("verified %+v", verified)
	}
	type statement struct {
		Parties []struct {
			Party string
			Cents int64
		}
		Total int64 `json:"total_cents"`
	}
	var one, every statement
	const span = "/v1/usage/statement?from=2020-01-01&to=2100-01-01"
	h.get(key.Secret, "GET", span, "", &one)
	h.get(h.root, "GET", span+"&project=*", "", &every)
	if one.Total != 0 || every.Total != 2 || fmt.Sprint(every.Parties) != "[{a 1} {b 1} {operator 0}]" {
		t.Errorf("one project: %+v; all of them: %+v", one, every)
	}

	for _, c := range []struct{ key, method, path, body string }{
		{key.Secret, "GET", "/v1/usage?project=*", ""}, {key.Secret, "GET", span + "&project=*", ""}, {key.Secret, "POST", "/v1/usage/verify", `{"project":"*"}`},
	} {
		if status, got := h.call(c.key, c.method, c.path, c.body); status != 403 || !strings.Contains(string(got), "root key") {
			t.Errorf("%s: %d %s", c.path, status, got)
		}
	}
	if status, got := h.call(h.root, "GET", "/v1/usage?project=p1", ""); status != 400 || !strings.Contains(string(got), "OpenAI-Project") {
		t.Errorf("%d %s", status, got)
	}

	cli := func(args ...string) string {
		t.Helper()
		var out, failed strings.Builder
		a := &app{in: strings.NewReader(""), out: &out, err: &failed, env: func(name string) (string, bool) { return n.rootKey, name == envKey }}
		if code := a.main(t.Context(), args); code != 0 {
			t.Errorf("%v: exit %d: %s", args, code, failed.String())
		}
		return out.String()
	}
	if got := cli("usage", "report", "--by", "project", "--all-projects", "--server", n.base, "-o", "json"); strings.Count(got, `"project":`) != 5 {
		t.Errorf("the command line reports %s", got)
	}
	var sums struct {
		Total struct{ Calls int64 }
	}
	if err := json.Unmarshal([]byte(cli("--project", "p3", "usage", "report", "--server", n.base, "-o", "json")), &sums); err != nil || sums.Total.Calls != 1 {
		t.Errorf("of one project: %v %+v", err, sums)
	}
}

// TestFiguresAreTheOperators: what /metrics says is of all tenants.
func TestFiguresAreTheOperators(t *testing.T) {
	h := openHouse(t)
	for what, c := range map[string]struct {
		params string
		status int
	}{"an auditor": {`{"role":"auditor"}`, 200}, "a developer": {`{"role":"developer"}`, 403}, "another project's owner": {`{"role":"owner","project":"ours"}`, 403}, "another project's auditor": {`{"role":"auditor","project":"ours"}`, 403}} {
		var key struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", c.params, &key)
		if status, body := h.call(key.Secret, "GET", "/metrics", ""); status != c.status {
			t.Errorf("%s: %d %.200s", what, status, body)
		}
	}
	if status, _ := h.call(h.root, "GET", "/metrics", ""); status != 200 {
		t.Errorf("root: %d", status)
	}
}
