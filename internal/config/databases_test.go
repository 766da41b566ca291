package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

func TestDatabasesAreChecked(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	load := func(text string) (*Config, error) {
		c := &Config{Data: data, Database: "postgres://own"}
		if err := c.parse([]byte(strings.ReplaceAll(text, "DATA", data)), func(string) (string, bool) { return "", false }); err != nil {
			return nil, err
		}
		return c, c.checkSemantic()
	}
	const one = "databases: [{name: a, driver: sqlite, dsn: /x.db, "
	const pg = "databases: [{name: a, driver: postgres, dsn: 'postgres://x', sources: {projects: [p], "
	if _, err := load(pg + "permissions: {roles: {staff: ['role:developer', 'user:ada']}, others: everyone}}}]\n"); err != nil {
		t.Error(err)
	}
	c, err := load(one + "sql: {projects: [p]}, sources: {projects: [p], samples: 0}, hidden: ['hr.*']}]\nsemantic: {databases: [{name: b, driver: postgres, dsn: 'postgres://x', sources: {projects: [p]}}, {name: c, driver: sqlite, dsn: DATA/c.db}]}\n")
	if err != nil {
		t.Fatal(err)
	}
	if all := c.AllDatabases(); len(all) != 3 || all[0].Sources.Many() != 0 || all[1].Sources.Many() != DefaultSamples {
		t.Errorf("databases: %+v", all)
	}
	for text, param := range map[string]string{
		one + "sql: {}}]":                                                                           "databases[0].sql",
		one + "sources: {samples: 3}}]":                                                             "databases[0].sources",
		one + "sources: {projects: [p], samples: -1}}]":                                             "databases[0].sources.samples",
		one + "sources: {projects: [p], samples: 21}}]":                                             "databases[0].sources.samples",
		one + "hidden: [a, '[']}]":                                                                  "databases[0].hidden[1]",
		one + "}]\nsemantic: {databases: [{name: a, driver: sqlite, dsn: /y.db}]}":                  "semantic.databases[0].name",
		one + "sources: {projects: [p], permissions: {roles: {staff: ['user:ada']}}}}]":             "databases[0].sources.permissions",
		pg + "permissions: {roles: {staff: [ada]}}}}]":                                              "databases[0].sources.permissions.roles.staff",
		pg + "permissions: {roles: {public: ['user:ada']}}}}]":                                      "databases[0].sources.permissions.roles.public",
		pg + "permissions: {others: all}}}]":                                                        "databases[0].sources.permissions.others",
		"databases: [{name: a, driver: mysql, dsn: secret}]":                                        "databases[0].driver",
		"databases: [{name: a, driver: sqlite, dsn: DATA/stead.db, sql: {projects: [p]}}]":          "databases[0].dsn",
		"databases: [{name: a, driver: postgres, dsn: 'postgres://own', sources: {projects: [p]}}]": "databases[0].dsn",
		"databases: [{name: a, driver: sqlite}]":                                                    "databases[0].dsn",
	} {
		_, err := load(text + "\n")
		if e, ok := err.(*stead.Error); !ok || e.Param != param || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want one about %s", text, err, param)
		}
	}
}
