package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/environment"
)

// TestDecideDriver: doctor says what a node would do.
func TestDecideDriver(t *testing.T) {
	shared := func(name string) driverReport {
		return driverReport{Driver: name, Usable: true, Isolation: string(environment.IsolationShared)}
	}
	strong := driverReport{Driver: config.DriverGVisor, Usable: true, Isolation: string(environment.IsolationStrong)}
	denied := driverReport{Driver: config.DriverNS, Problem: "user namespaces are denied here"}
	tests := []struct {
		name            string
		cfg             config.Environments
		drivers         []driverReport
		driver, verdict string
		detail          string
	}{
		{"the first that works", config.Environments{}, []driverReport{denied, shared("landlock"), strong}, "landlock", verdictOK, "first in the order"},
		{"the one that is named", config.Environments{Driver: config.DriverGVisor}, []driverReport{shared("ns"), strong}, "gvisor", verdictOK, "names it"},
		{"a kernel of its own", config.Environments{Isolation: config.IsolationStrong}, []driverReport{shared("ns"), strong}, "gvisor", verdictOK, "kernel of its own"},
		{"nothing works, nothing is asked for", config.Environments{}, []driverReport{denied}, "", verdictWarn, "none of the drivers works"},
		{"the one that is named does not work", config.Environments{Driver: config.DriverNS}, []driverReport{denied, shared("landlock")}, "", verdictFail, "ns: user namespaces are denied here"},
		{"nothing is strong", config.Environments{Isolation: config.IsolationStrong}, []driverReport{shared("ns")}, "", verdictFail, "ns: it shares this machine's kernel"},
		{"no driver of that name", config.Environments{Driver: "vm"}, []driverReport{shared("ns")}, "", verdictFail, `no driver "vm"`},
		{"none", config.Environments{Driver: config.DriverNone}, []driverReport{shared("ns")}, "", verdictOK, "none"},
		{"bare, by name alone", config.Environments{Driver: config.DriverBare}, nil, "bare", verdictWarn, "NOTHING"},
	}
	for _, tt := range tests {
		r := computerReport{Drivers: tt.drivers}
		f := decideDriver(tt.cfg, &r)
		if r.Driver != tt.driver || f.Verdict != tt.verdict || !strings.Contains(f.Detail, tt.detail) || r.Why == "" {
			t.Errorf("%s: driver %q, why %q, finding %+v", tt.name, r.Driver, r.Why, f)
		}
	}
}

// TestReportShowsTheRemedyForEachGap: of each driver, each remedy once; of the one in use, the gaps too.
func TestReportShowsTheRemedyForEachGap(t *testing.T) {
	r := computerReport{Driver: "ns", Drivers: []driverReport{
		{Driver: "ns", Usable: true, Isolation: string(environment.IsolationShared), Notes: []string{"A note."}, Controls: []controlReport{
			{Name: environment.ControlFiles, By: "mount namespace"},
			{Name: environment.ControlMemory, By: "RLIMIT_DATA", Gap: "Each process has its own.", Remedy: "Delegate a control group."},
			{Name: environment.ControlCPU, Gap: "Nothing limits it."},
			{Name: environment.ControlPIDs, Gap: "One for each process.", Remedy: "Delegate a control group."},
		}},
		{Driver: "landlock", Usable: true, Isolation: string(environment.IsolationShared), Controls: []controlReport{
			{Name: environment.ControlFiles, By: "Landlock", Gap: "A long story.", Remedy: "Use the ns driver."},
			{Name: environment.ControlCPU, Gap: "Nothing limits it.", Remedy: "Delegate a control group."},
			{Name: environment.ControlLayers, Gap: "Another.", Remedy: "Use the ns driver."},
		}},
		{Driver: "gvisor", Usable: true, Isolation: string(environment.IsolationStrong), Controls: []controlReport{{Name: environment.ControlFiles, By: "gVisor"}}},
		{Driver: "docker", Problem: "no engine", Remedy: "Start it."},
	}}
	var out strings.Builder
	r.write(&out)
	for _, want := range []string{
		"ns          is used, on this machine's kernel; what closes its gaps:\n", "✓ files       mount namespace\n",
		"! memory      RLIMIT_DATA. Each process has its own.\n", "! cpu         Nothing limits it.\n", "· A note.\n",
		"→ memory, pids: Delegate a control group.\n", "→ cpu: nothing that is known closes this gap.\n",
		"landlock    works, on this machine's kernel; what closes its gaps:\n                  → files, layers: Use the ns driver.\n                  → cpu: Delegate a control group.\n",
		"gvisor      works, with a kernel of its own; no gaps\n",
		"docker      does not work here: no engine\n", "→ Start it.\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestReportKeepsLinesShort: what is long goes on below where it began.
func TestReportKeepsLinesShort(t *testing.T) {
	var out strings.Builder
	entry(&out, "    ", "→ ", strings.Repeat("word ", 50)+strings.Repeat("x", 200))
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "    → word word") || !strings.HasPrefix(lines[1], "      word") || lines[3] != "      "+strings.Repeat("x", 200) {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
	for _, l := range lines[:3] {
		if n := utf8.RuneCountInString(l); n > reportWidth {
			t.Errorf("%d characters: %s", n, l)
		}
	}
}

// The list of models is asked for as each kind of provider wants it; it needs the key.
func TestDoctorAsksProviders(t *testing.T) {
	const key = "key-of-the-test"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/models" && r.Header.Get("X-Api-Key") == key && r.Header.Get("Anthropic-Version") != "",
			r.URL.Path == "/v1/models" && r.Header.Get("Authorization") == "Bearer "+key:
			_, _ = io.WriteString(w, `{"data":[{},{}]}`)
		case r.URL.Path == "/v1beta/models" && r.Header.Get("X-Goog-Api-Key") == key && r.URL.RawQuery == "":
			_, _ = io.WriteString(w, `{"models":[{},{}]}`)
		case r.URL.Path == "/v1beta/models":
			w.WriteHeader(http.StatusBadRequest)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer srv.Close()
	for _, p := range []config.Provider{
		{Name: "a", API: config.APIAnthropic, BaseURL: srv.URL}, {Name: "b", API: config.APIAnthropic, BaseURL: srv.URL + "/v1"},
		{Name: "c", API: config.APIGemini, BaseURL: srv.URL + "/v1beta"}, {Name: "d", API: config.APIResponses, BaseURL: srv.URL + "/v1"},
	} {
		p.APIKey = key
		if f := checkProvider(t.Context(), p); f.Verdict != verdictOK || !strings.Contains(f.Detail, "lists 2 models") {
			t.Errorf("%s at %s: %+v", p.API, p.BaseURL, f)
		}
		p.APIKey = "another"
		if f := checkProvider(t.Context(), p); f.Verdict != verdictFail || !strings.Contains(f.Detail, "refuses the key") {
			t.Errorf("%s with a wrong key: %+v", p.API, f)
		}
	}
}
