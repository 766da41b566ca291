package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/config"
)

// TestWhatANodeIsConfiguredWithIsRecorded: at its start and at each reload, with the sections that are others than before, and
// nothing of what they say.
func TestWhatANodeIsConfiguredWithIsRecorded(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "shop.yaml")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	meaning := func(metric string) {
		write(model, "name: shop\nversion: 1\nsources: {s: {database: books}}\nentities: {order: {table: orders, key: [id], attributes: {id: {type: text}}}}\nmetrics: {"+metric+": {description: x, entity: order, aggregate: count}}\n")
	}
	text := func(header, more string) string {
		return fmt.Sprintf("mcp_servers: [{label: crm, url: \"https://crm.example/mcp\", headers: {Authorization: %q}}]\nsemantic: {databases: [{name: books, driver: sqlite, dsn: %q}], models: [{file: %q}]}\n%s%s",
			header, filepath.Join(dir, "books.db"), model, more, registryConfig)
	}
	meaning("orders")
	file, data := filepath.Join(dir, "stead.yaml"), filepath.Join(dir, "data")
	write(filepath.Join(dir, "books.db"), "")
	write(file, text("Bearer hunter2", ""))
	n := openAt(t, file, data, io.Discard)
	reload := func(text string) error {
		write(file, text)
		return n.reload(t.Context(), func() (*config.Config, error) {
			return config.Load(config.Flags{Listen: n.cfg.Listen, Data: data, File: file}, func(string) (string, bool) { return "", false })
		})
	}
	type record struct{ Version, Detail string }
	recorded := func() (out []record) {
		t.Helper()
		body := must(t, n, "GET", "/v1/audit_records?action=configuration.load&order=asc&limit=100", "")
		if strings.Contains(body, "hunter2") || strings.Contains(body, "crm.example") {
			t.Errorf("a record says what is configured: %s", body)
		}
		var l struct{ Data []struct{ Record record } }
		if err := json.Unmarshal([]byte(body), &l); err != nil {
			t.Fatal(err)
		}
		for _, d := range l.Data {
			out = append(out, d.Record)
		}
		return out
	}
	all := recorded()
	if len(all) != 1 || !regexp.MustCompile(`(^|, )mcp_servers [0-9a-f]{16}(, |$)`).MatchString(all[0].Detail) || !strings.Contains(all[0].Detail, "semantic ") || strings.Contains(all[0].Detail, "oauth") {
		t.Fatalf("at the start %+v is recorded", all)
	}
	for _, c := range []struct {
		what, text, want string
		before           func()
	}{
		{what: "the same again", text: text("Bearer hunter2", ""), want: `^nothing has changed$`},
		{what: "another secret", text: text("Bearer hunter3", ""), want: `^mcp_servers [0-9a-f]{16}$`},
		{what: "a file that a section names", text: text("Bearer hunter3", ""), want: `^semantic [0-9a-f]{16}$`, before: func() { meaning("sales") }},
		{what: "a new section", text: text("Bearer hunter3", "budgets: [{name: all, scope: project, limit: {tokens: 5}}]\n"), want: `^budgets [0-9a-f]{16}$`},
		{what: "one that is gone, and one that a reload does not take", text: text("Bearer hunter3", "budgets: []\npublic_url: https://stead.example\n"), want: `^budgets [0-9a-f]{16}$`},
		{what: "two at once", text: text("Bearer hunter2", "budgets: []\n"), want: `^mcp_servers [0-9a-f]{16}, semantic [0-9a-f]{16}$`, before: func() { meaning("orders") }},
	} {
		if c.before != nil {
			c.before()
		}
		if err := reload(c.text); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		was := all[len(all)-1]
		all = append(all, recorded()[len(all):]...)
		now := all[len(all)-1]
		if !regexp.MustCompile(c.want).MatchString(now.Detail) || (now.Version == was.Version) != (now.Detail == "nothing has changed") {
			t.Errorf("%s: recorded is %+v after %+v, want %s", c.what, now, was, c.want)
		}
	}
	if err := reload("models: [1]"); err == nil || len(recorded()) != len(all) {
		t.Errorf("a configuration that is refused was recorded (%v)", err)
	}
	n.stop()
	write(file, text("Bearer hunter2", ""))
	n = openAt(t, file, data, io.Discard)
	if now := recorded(); len(now) != len(all)+1 || now[len(all)].Version != now[0].Version || now[len(all)].Detail != all[0].Detail {
		t.Errorf("a node with the same configuration records %+v, and it did %+v", now[len(now)-1], all[0])
	}
}
