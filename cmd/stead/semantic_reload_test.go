package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/config"
)

// TestSemanticModelsAreReadAgain: a reload takes models anew, what is wrong is refused whole, and a
// configuration that has lost the section takes nothing away.
func TestSemanticModelsAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	books := func(name string, orders int) string {
		file := filepath.Join(dir, name)
		db, err := sql.Open("sqlite", file)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for i := range orders {
			if _, err := db.Exec(fmt.Sprintf("CREATE TABLE IF NOT EXISTS orders (id TEXT); INSERT INTO orders VALUES ('%d')", i)); err != nil {
				t.Fatal(err)
			}
		}
		return file
	}
	first, second, file := books("one.db", 1), books("two.db", 2), filepath.Join(dir, "shop.yaml")
	model := func(metric string) {
		text := "name: shop\nversion: 1\nsources: {s: {database: books}}\nentities: {order: {table: orders, key: [id], attributes: {id: {type: text}}}}\nmetrics: {" + metric + ": {description: x, entity: order, aggregate: count}}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	section := func(db, more string) string {
		return fmt.Sprintf("semantic: {databases: [{name: books, driver: sqlite, dsn: %q%s}], models: [{file: %q}]}\n", db, more, file)
	}
	model("orders")
	var said syncBuffer
	n := openConfigured(t, section(first, "")+registryConfig, &said)
	reload := func(text string) error {
		file := filepath.Join(t.TempDir(), "stead.yaml")
		if err := os.WriteFile(file, []byte(text+registryConfig), 0o600); err != nil {
			t.Fatal(err)
		}
		return n.reload(t.Context(), func() (*config.Config, error) {
			return config.Load(config.Flags{Listen: n.cfg.Listen, Data: n.cfg.Data, File: file}, func(string) (string, bool) { return "", false })
		})
	}
	count := func(metric string) string {
		_, got := ask(t, n, "POST", "/v1/semantic_models/query", `{"metrics":["`+metric+`"]}`)
		return got
	}
	is := func(what, got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	is("at first", count("orders"), `"rows":[[1]]`)

	model("sales")
	is("a file that is not read again", count("orders"), `"rows":[[1]]`)
	if err := reload(section(first, "")); err != nil {
		t.Fatal(err)
	}
	is("a new metric", count("sales"), `"rows":[[1]]`)
	is("the old one", count("orders"), `there is no metric`)
	// Databases stay those of the start, and the log says so.
	if err := reload(section(second, ", uploads: {projects: [default], tables: [orders]}")); err != nil {
		t.Fatal(err)
	}
	is("another database", count("sales"), `"rows":[[1]]`)
	is("the log", said.String(), "semantic.databases")

	for what, text := range map[string]string{
		"no section":      "",
		"no file":         section(first, ""),
		"a broken driver": strings.Replace(section(first, ""), "sqlite", "oracle", 1),
	} {
		if what == "no file" {
			text = strings.Replace(text, "shop.yaml", "gone.yaml", 1)
		}
		if err := reload(text); err == nil {
			t.Errorf("%s was taken", what)
		}
		is("after "+what, count("sales"), `"rows":[[1]]`)
	}
	model("sales, 7")
	if err := reload(section(first, "")); err == nil {
		t.Error("a model that is wrong was taken")
	}
	is("after a wrong model", count("sales"), `"rows":[[1]]`)
	model("sales")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "database: books", "database: other", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := reload(section(first, "")); err == nil {
		t.Error("a model whose database the server has not was taken")
	}
	is("after a model without a database", count("sales"), `"rows":[[1]]`)
	if err := reload("semantic: {}\n"); err != nil {
		t.Error(err)
	}
	is("after it was taken away", count("sales"), `error`)
}
