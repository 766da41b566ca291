package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// rekeyed is a server whose seal keys change, with what is asked of it.
type rekeyed struct {
	*house
	n          *node
	file, data string
	more       string
	said       *syncBuffer
}

const keyConfig = "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nenvironments: {driver: bare}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n"

func (k *rekeyed) write(keys string) {
	k.t.Helper()
	if err := os.WriteFile(k.file, []byte(keyConfig+k.more+"seal_key: \""+keys+"\"\n"), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// start begins the server anew with other keys.
func (k *rekeyed) start(keys string) {
	k.t.Helper()
	if k.n != nil {
		k.n.stop()
	}
	k.write(keys)
	k.said = &syncBuffer{}
	k.n = openAt(k.t, k.file, k.data, k.said)
	k.house = &house{t: k.t, base: k.n.base, root: k.n.rootKey}
}

// reload has the server that runs take other keys.
func (k *rekeyed) reload(keys string) error {
	k.t.Helper()
	k.write(keys)
	return k.n.reload(k.t.Context(), func() (*config.Config, error) {
		return config.Load(config.Flags{Listen: k.n.cfg.Listen, Data: k.data, File: k.file}, func(string) (string, bool) { return "", false })
	})
}

// stead runs a command with the root key, and returns what it says and its exit code.
func (k *rekeyed) stead(args ...string) (string, int) {
	k.t.Helper()
	var out bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &out, env: func(name string) (string, bool) {
		return map[string]string{envKey: k.n.rootKey, "STEAD_SERVER": k.n.base}[name], name == envKey || name == "STEAD_SERVER"
	}}
	code := a.main(k.t.Context(), args)
	return out.String(), code
}

// The seal key of all projects is replaced while one server runs; what would be lost is refused; and where a key is missing all the same, the
// server says so in its log, its readiness, its figures and its lists, and doctor fails.
func TestTheSealKeyIsReplacedByReloads(t *testing.T) {
	for name, database := range map[string]func(*testing.T) string{
		"sqlite": func(*testing.T) string { return "" }, "postgres": func(t *testing.T) string { return "database: \"" + pgtest.URL(t) + "\"\n" },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			k := &rekeyed{house: &house{t: t}, file: filepath.Join(dir, "stead.yaml"), data: filepath.Join(dir, "data"), more: database(t)}
			old, fresh, third := strings.Repeat("A", 43)+"=", strings.Repeat("B", 42)+"A=", strings.Repeat("C", 42)+"A="
			k.start(old)
			var owner struct{ Secret string }
			session := ""
			for _, project := range []string{"default", "two"} {
				var made struct{ ID string }
				k.get(k.root, "POST", "/v1/api_keys", `{"role":"owner","project":"`+project+`"}`, &owner)
				k.get(owner.Secret, "POST", "/v1/vaults", `{"name":"v"}`, &made)
				k.get(owner.Secret, "POST", "/v1/vaults/"+made.ID+"/credentials", `{"name":"c","auth":{"type":"static_bearer","mcp_server_url":"https://mcp.example","token":"a-token-of-some-length"}}`, &struct{}{})
				k.get(owner.Secret, "POST", "/v1/agents/environments/templates", `{"name":"t","env":{"A":"b"}}`, &made)
				k.get(owner.Secret, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"environment"}]},"environment":{"type":"openai_hosted","env":{"TOLD":"hunter2"}}}`, &made)
				session = made.ID
			}
			// told says whether a session's commands have what was sealed for its environment.
			told := func(id string) bool {
				t.Helper()
				if status, got := k.call(owner.Secret, "POST", "/v1/agents/sessions/"+id+"/events", `{"events":[{"type":"agent.session.input.message","input":"Call shell with {\"command\": \"echo it is $TOLD\"}"}]}`); status != 202 {
					t.Fatalf("%d %s", status, got)
				}
				return strings.Contains(k.items(owner.Secret, id, "it is hunter2"), "it is hunter2")
			}
			state := func() string {
				t.Helper()
				var vaults struct{ Data []struct{ ID string } }
				k.get(owner.Secret, "GET", "/v1/vaults", "", &vaults)
				status, got := k.call(owner.Secret, "GET", "/v1/vaults/"+vaults.Data[0].ID+"/credentials", "")
				if status != 200 {
					t.Fatalf("%d %s", status, got)
				}
				return string(got)
			}

			for _, keys := range []string{old + "," + fresh, fresh + "," + old} {
				if err := k.reload(keys); err != nil {
					t.Fatal(err)
				}
			}
			if !strings.Contains(k.said.String(), "the keys that seal were read again") {
				t.Error("its log does not say that it has other keys")
			}
			if err := k.reload(fresh); err == nil || !strings.Contains(err.Error(), "default: 3, two: 3") {
				t.Errorf("to leave out a key that is needed: %v", err)
			}
			if status, got := k.call(owner.Secret, "POST", "/v1/vaults/rekey", `{"project":"*"}`); status != 403 || !strings.Contains(string(got), "root key") {
				t.Errorf("by an owner: %d %s", status, got)
			}
			if got, code := k.stead("vaults", "rekey", "--all-projects", "--dry-run"); code != 0 || !strings.Contains(got, "6 of 6 would be sealed anew (2 credentials, 2 templates, 2 environments, 0 others)") {
				t.Errorf("%d %s", code, got)
			}
			if got, code := k.stead("vaults", "rekey", "--all-projects"); code != 0 || !strings.Contains(got, "two: 3 of 3 were") || !strings.Contains(got, "6 of 6 were sealed anew") {
				t.Errorf("%d %s", code, got)
			}
			if err := k.reload(fresh); err != nil {
				t.Error(err)
			}
			if got, code := k.stead("doctor", "--config", k.file, "--data", k.data); code != 0 || !strings.Contains(got, "the keys open all 6 sealed things") {
				t.Errorf("doctor beside the server: %d %s", code, got)
			}
			if !told(session) {
				t.Error("a session's variables are gone with the key that sealed them")
			}
			var fork struct{ ID string }
			k.get(owner.Secret, "POST", "/v1/agents/sessions/"+session+"/fork", `{}`, &fork)
			if !told(fork.ID) {
				t.Error("the copy of a session has not its variables")
			}

			k.start(third)
			eventually(t, "an error in its log", func() bool { return strings.Contains(k.said.String(), "level=ERROR") })
			if said := k.said.String(); !strings.Contains(said, `in="default: 3, two: 4"`) {
				t.Errorf("its log: %s", said)
			}
			if _, got := k.call("", "GET", "/readyz", ""); !strings.Contains(string(got), "sealed by a key that this node does not have") {
				t.Errorf("its readiness: %s", got)
			}
			if _, got := k.call(k.root, "GET", "/metrics", ""); !strings.Contains(string(got), "stead_sealed_unreadable 7\n") {
				t.Errorf("its figures: %s", got)
			}
			if got := state(); !strings.Contains(got, `"seal_error":"sealed by an unknown key (`) {
				t.Errorf("its list: %s", got)
			}
			if got, code := k.stead("vaults", "rekey", "--all-projects"); code == 0 || !strings.Contains(got, "4 unreadable") {
				t.Errorf("%d %s", code, got)
			}
			k.stop(t)
			if got, code := k.stead("doctor", "--config", k.file, "--data", k.data); code == 0 || !strings.Contains(got, "7 of 7 are sealed by a key that is not configured") {
				t.Errorf("doctor: %d %s", code, got)
			}
			k.start(third + "," + fresh)
			if got := state(); !strings.Contains(got, `"seal_error":null`) {
				t.Errorf("with the key again: %s", got)
			}
			for _, id := range []string{session, fork.ID} {
				k.rests(owner.Secret, id)
				if status, got := k.call(owner.Secret, "DELETE", "/v1/agents/sessions/"+id, ""); status != 200 {
					t.Errorf("%d %s", status, got)
				}
			}
			if got, code := k.stead("vaults", "rekey", "--all-projects", "--dry-run"); code != 0 || !strings.Contains(got, "(2 credentials, 2 templates, 1 environments, 0 others)") {
				t.Errorf("with its sessions, what is kept for them goes: %d %s", code, got)
			}
		})
	}
}

func (k *rekeyed) stop(t *testing.T) {
	t.Helper()
	k.n.stop()
}
