package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

func TestSourcesAreChecked(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(filepath.Join(data, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(data, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	load := func(text string) error {
		c := &Config{Listen: DefaultListen, Data: data, Auth: Auth{Mode: AuthNone}, Servers: []Server{{Label: "crm"}, {Label: "asks", Auth: "workload"}}}
		if err := c.parse([]byte("sources: "+strings.ReplaceAll(text, "DIR", dir)), func(string) (string, bool) { return "", false }); err != nil {
			return err
		}
		return c.checkSources()
	}
	if err := load(`{directories: [{name: handbook, path: DIR/docs, projects: [a]}, {name: shared, path: DIR/docs, permissions: {users: {root: ["user:ada"], 1002: ["service:ci"]}, groups: {"20": ["role:staff"]}, others: everyone}}], repositories: [{name: code, path: DIR/code.git}, {name: shop, url: "https://git.example.com/shop.git", token: t}], servers: [{label: crm, projects: [a]}]}`); err != nil {
		t.Error(err)
	}
	for text, param := range map[string]string{
		`{directories: [{name: "", path: DIR/docs}]}`:                                                           "sources.directories[0].name",
		`{directories: [{name: A/b, path: DIR/docs}]}`:                                                          "sources.directories[0].name",
		`{directories: [{name: a, path: DIR/docs}, {name: a, path: DIR/more}]}`:                                 "sources.directories[1].name",
		`{directories: [{name: a, path: docs}]}`:                                                                "sources.directories[0].path",
		`{directories: [{name: a, path: DIR/docs, permissions: {users: {nobody-of-that-name: ["user:ada"]}}}]}`: "sources.directories[0].permissions.users.nobody-of-that-name",
		`{directories: [{name: a, path: DIR/docs, permissions: {groups: {"7": ["ada"]}}}]}`:                     "sources.directories[0].permissions.groups.7",
		`{directories: [{name: a, path: DIR/docs, permissions: {groups: {"7": []}}}]}`:                          "sources.directories[0].permissions.groups.7",
		`{directories: [{name: a, path: DIR/docs, permissions: {others: all}}]}`:                                "sources.directories[0].permissions.others",
		`{directories: [{name: a, path: DIR}]}`:                                                                 "sources.directories[0].path", // the data lie in it
		`{directories: [{name: a, path: DIR/data/sub}]}`:                                                        "sources.directories[0].path", // it lies in the data
		`{directories: [{name: a, path: DIR/link}]}`:                                                            "sources.directories[0].path", // it is the data
		`{sites: [{name: a}]}`:                                                        "sources.sites[0].urls",
		`{sites: [{name: A, urls: ["https://x/"]}]}`:                                  "sources.sites[0].name",
		`{sites: [{name: a, urls: ["https://x/"]}, {name: a, urls: ["https://y/"]}]}`: "sources.sites[1].name",
		`{sites: [{name: a, urls: ["https://x/"], headers: {Host: y}}]}`:              "sources.sites[0].headers",
		`{sites: [{name: a, urls: ["https://x/"], headers: {X-A: "secret\n"}}]}`:      "sources.sites[0].headers",
		`{repositories: [{name: a}]}`:                                                 "sources.repositories[0]",
		`{repositories: [{name: a, path: /x, url: "https://x/y"}]}`:                   "sources.repositories[0]",
		`{repositories: [{name: a, url: "ssh://git@example.com/x"}]}`:                 "sources.repositories[0].url",
		`{repositories: [{name: a, url: "https://me:secret@example.com/x"}]}`:         "sources.repositories[0].url",
		`{repositories: [{name: a, path: /x, token: t}]}`:                             "sources.repositories[0].path",
		`{repositories: [{name: a, path: /x}, {name: a, path: /y}]}`:                  "sources.repositories[1].name",
		`{servers: [{label: nobody}]}`:                                                "sources.servers[0].label",
		`{servers: [{label: crm}, {label: crm}]}`:                                     "sources.servers[1].label",
		`{servers: [{label: asks}]}`:                                                  "sources.servers[0].label",
	} {
		err := load(text)
		if e, ok := err.(*stead.Error); !ok || e.Param != param || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want one about %s", text, err, param)
		}
	}
}
