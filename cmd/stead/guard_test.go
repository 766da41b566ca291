package main

import (
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// With authentication an agent can't have the server call what trusts its machine or its network: another's cloud
// credentials, a database without a password. The operator's own tool servers are where they are.
func TestAgentsNameNoServersOfTheOperatorsNetwork(t *testing.T) {
	shop, err := openShop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	at, err := url.Parse(shop.url)
	if err != nil {
		t.Fatal(err)
	}
	base := "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nproviders: [{name: sim, api: sim}]\nmcp_servers: [{label: shop, url: \"" + shop.url + "\"}]\n"
	for name, c := range map[string]struct {
		config, server string
		reached        bool
	}{
		"named":              {base, `"server_label":"x","transport":{"type":"http","server_url":"` + shop.url + `"}`, false},
		"named as localhost": {base, `"server_label":"x","transport":{"type":"http","server_url":"http://localhost:` + at.Port() + `/mcp"}`, false},
		"the operator's":     {base, `"server_label":"shop"`, true},
		"opened":             {base + "private_tool_servers: [127.0.0.1/32]\n", `"server_label":"x","transport":{"type":"http","server_url":"` + shop.url + `"}`, true},
		"nobody else's":      {strings.Replace(base, "{mode: keys}", "{mode: none}", 1), `"server_label":"x","transport":{"type":"http","server_url":"` + shop.url + `"}`, true},
	} {
		n := openConfigured(t, c.config, io.Discard)
		h := &house{t: t, base: n.base, root: n.rootKey}
		var s struct{ ID string }
		h.get(h.root, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim/sim","tools":[{"type":"mcp","require_approval":"never","required":true,`+c.server+`}]},"environment":{"type":"none"},"input":"hi"}`, &s)
		var turns struct {
			Data []struct {
				Status string
				Error  *struct{ Message string }
			}
		}
		for begin := time.Now(); len(turns.Data) == 0 || slices.Contains([]string{"queued", "in_progress"}, turns.Data[0].Status); time.Sleep(5 * time.Millisecond) {
			if time.Since(begin) > patience {
				t.Fatalf("%s: the turn does not end", name)
			}
			h.get(h.root, "GET", "/v1/agents/sessions/"+s.ID+"/turns", "", &turns)
		}
		last := turns.Data[0]
		if (last.Status == "completed") != c.reached {
			t.Errorf("%s: the turn is %s", name, last.Status)
		}
		if !c.reached && (last.Error == nil || !strings.Contains(last.Error.Message, "no address that may be reached")) {
			t.Errorf("%s: its error is %+v", name, last.Error)
		}
	}
}
