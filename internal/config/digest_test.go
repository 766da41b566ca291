package config

import (
	"strings"
	"testing"
)

// TestDigestsTellSectionsApart: by what is in them, secrets too, and nobody makes one without the key.
func TestDigestsTellSectionsApart(t *testing.T) {
	digest := func(c Config, key string, section string, files ...string) string {
		t.Helper()
		all, err := c.Digests([]byte(key), map[string][]string{section: files})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			if d.Section == section {
				return d.Digest
			}
		}
		return "not there"
	}
	with := func(secret string) Config {
		return Config{SealKey: "s", OAuth: OAuth{}, Servers: []Server{{Label: "crm", Headers: map[string]string{"a": "1", "Authorization": secret}}}}
	}
	one := digest(with("x"), "k", "mcp_servers")
	if len(one) != sectionDigits || one != digest(with("x"), "k", "mcp_servers") {
		t.Errorf("the digest of the same section is %q and another time another", one)
	}
	if one == digest(with("y"), "k", "mcp_servers") || one == digest(with("x"), "other", "mcp_servers") || one == digest(with("x"), "k", "mcp_servers", "of a file") {
		t.Error("another secret, key or file has the same digest")
	}
	if got := digest(with("x"), "k", "oauth"); got != "" {
		t.Errorf("a section that is left out has the digest %q", got)
	}
	if got := digest(with("x"), "k", "seal_key"); got != "not there" {
		t.Errorf("the seal's key has the digest %q", got)
	}
	if digest(Config{}, "k", "builtin_guardrails") == digest(Config{BuiltinGuardrails: []string{}}, "k", "builtin_guardrails") {
		t.Error("none and left out are the same")
	}
	before := []SectionDigest{{"listen", "1"}, {"budgets", "2"}, {"oauth", "3"}}
	now := InForce(before, []SectionDigest{{"listen", "9"}, {"budgets", "2"}, {"oauth", ""}})
	if got := Differences(before, now); got != "oauth left out" { // nothing listens elsewhere before a restart
		t.Errorf("the differences are %q", got)
	}
	if got := Differences(nil, now); !strings.HasPrefix(got, "listen 1, budgets 2") || strings.Contains(got, "oauth") {
		t.Errorf("at the start it is %q", got)
	}
}
