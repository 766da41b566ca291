package config

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Database is an SQL database that is read, and never written: by semantic models that name it as a source, by agents with the tool sql, and by
// sources of vector stores. Each is granted for itself.
type Database struct {
	Name   string `yaml:"name"`
	Driver string `yaml:"driver"` // sqlite or postgres
	DSN    string `yaml:"dsn"`    // a file, or postgres://…
	// Uploads is what models that projects upload may read of it; nil: nothing.
	Uploads *SemanticUploads `yaml:"uploads"`
	// SQL are the projects whose agents may read it by statements of their own; nil: none.
	SQL *DatabaseGrant `yaml:"sql"`
	// Sources are the projects whose vector stores may have a source of what there is in it; nil: none.
	Sources *DatabaseSources `yaml:"sources"`
	// Hidden are tables and columns that neither is told of: hr.*, public.users.password, *.password.
	Hidden []string `yaml:"hidden"`
}

// DatabaseGrant grants projects a database.
type DatabaseGrant struct {
	Projects []string `yaml:"projects"`
}

// DatabaseSources grants projects sources of a database.
type DatabaseSources struct {
	Projects []string `yaml:"projects"`
	Samples  *int     `yaml:"samples"` // values of a column that are shown; nil: DefaultSamples; 0: none
	// Permissions say who of the database's roles is whom; nil: rules of sources alone say who may read what.
	Permissions *DatabasePermissions `yaml:"permissions"`
}

// DatabasePermissions say whom of Stead's the roles of a PostgreSQL database are.
type DatabasePermissions struct {
	Roles map[string][]string `yaml:"roles"` // "user:ID", "service:ID" or "role:NAME"
	// Others are whom a table is for that is granted to PUBLIC: "everyone" who may read the vector store, or "nobody", "" the same.
	Others string `yaml:"others"`
}

func (p *DatabasePermissions) check(at, driver string) error {
	if p == nil {
		return nil
	}
	if driver != DriverPostgres {
		return invalid(at, "Say by rules of sources who may read what.", "%s: SQLite has no roles and no grants", at)
	}
	if len(p.Roles) > MaxDatabaseRoles {
		return invalid(at+".roles", "Map roles that others are members of.", "%s.roles has %d, the limit is %d", at, len(p.Roles), MaxDatabaseRoles)
	}
	for role, are := range p.Roles {
		if field := at + ".roles." + role; role == "" || role == "public" {
			return invalid(field, "What is granted to PUBLIC is said by others: everyone.", "%s is no role", field)
		} else if err := checkReaders(field, are); err != nil {
			return err
		}
	}
	return checkOthers(at, p.Others)
}

// The drivers of a Database.
const (
	DriverSQLite   = "sqlite"
	DriverPostgres = "postgres"
)

const (
	// DefaultSamples is how many values of a column are shown unless the configuration says so.
	DefaultSamples = 5
	// MaxSamples is the most of them.
	MaxSamples = 20
	// MaxDatabaseRoles is how many roles are mapped: each table has at most as many documents.
	MaxDatabaseRoles = 32
	// MaxHidden is the most patterns of what is hidden.
	MaxHidden = 256
)

// Many is how many values of a column are shown.
func (s *DatabaseSources) Many() int {
	if s.Samples == nil {
		return DefaultSamples
	}
	return *s.Samples
}

// AllDatabases are those of databases and of semantic.databases, which are the same.
func (c *Config) AllDatabases() []Database { return slices.Concat(c.Databases, c.Semantic.Databases) }

func (c *Config) checkDatabases() error {
	seen := map[string]bool{}
	for i, d := range c.AllDatabases() {
		at := fmt.Sprintf("databases[%d]", i)
		if n := i - len(c.Databases); n >= 0 {
			at = fmt.Sprintf("semantic.databases[%d]", n)
		}
		switch {
		case !namePattern().MatchString(d.Name) || seen[d.Name]:
			return invalid(at+".name", "Names are small letters, digits, - and _, each once, in databases and semantic.databases together.", "%s.name is %q", at, d.Name)
		case d.Driver != DriverSQLite && d.Driver != DriverPostgres:
			return invalid(at+".driver", "It is sqlite or postgres.", "%s.driver is %q", at, d.Driver)
		case d.DSN == "": // which may hold a password: it is never repeated
			return invalid(at+".dsn", "Write the path of the file, or postgres://USER:${PASSWORD}@HOST/NAME.", "%s.dsn is empty", at)
		case d.Uploads != nil && (len(d.Uploads.Projects) == 0 || len(d.Uploads.Tables) == 0):
			return invalid(at+".uploads", `Write projects: [NAME] and tables: [NAME], or tables: ["*"].`, "%s.uploads grants nothing", at)
		}
		if err := c.checkGrants(at, d); err != nil {
			return err
		}
		seen[d.Name] = true
	}
	return nil
}

// checkGrants checks what of a database agents and sources get.
func (c *Config) checkGrants(at string, d Database) error {
	data := cmp.Or(c.Data, DefaultData)
	switch {
	case d.SQL != nil && len(d.SQL.Projects) == 0:
		return invalid(at+".sql", "Write projects: [NAME].", "%s.sql grants nothing", at)
	case d.Sources != nil && len(d.Sources.Projects) == 0:
		return invalid(at+".sources", "Write projects: [NAME].", "%s.sources grants nothing", at)
	case d.Sources != nil && (d.Sources.Many() < 0 || d.Sources.Many() > MaxSamples):
		return invalid(at+".sources.samples", fmt.Sprintf("From 0, none, to %d.", MaxSamples), "%s.sources.samples is %d", at, d.Sources.Many())
	case len(d.Hidden) > MaxHidden:
		return invalid(at+".hidden", "Remove some.", "%s.hidden has %d patterns, the limit is %d", at, len(d.Hidden), MaxHidden)
	case (d.SQL != nil || d.Sources != nil) && d.Driver == DriverSQLite && within(real(absolute(d.DSN)), real(absolute(data))):
		return invalid(at+".dsn", "Keep the database elsewhere.", "%s.dsn is a file of the server's own data", at)
	case (d.SQL != nil || d.Sources != nil) && d.Driver == DriverPostgres && d.DSN == c.Database:
		return invalid(at+".dsn", "Give agents a database of their own.", "%s.dsn is the server's own database", at)
	}
	if d.Sources != nil {
		if err := d.Sources.Permissions.check(at+".sources.permissions", d.Driver); err != nil {
			return err
		}
	}
	for i, p := range d.Hidden {
		if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "/") {
			return invalid(fmt.Sprintf("%s.hidden[%d]", at, i), "Such as hr.*, public.users.password or *.password.", "%s.hidden has %.80q, which is no pattern", at, p)
		}
	}
	return nil
}

func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}
