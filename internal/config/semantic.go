package config

import "fmt"

// Semantic are the semantic models that agents may be given, and the databases that these read.
type Semantic struct {
	Databases []SemanticDatabase `yaml:"databases"`
	Models    []SemanticModel    `yaml:"models"`
}

// SemanticDatabase is a database that models name as a source.
type SemanticDatabase struct {
	Name   string `yaml:"name"`
	Driver string `yaml:"driver"` // sqlite or postgres
	DSN    string `yaml:"dsn"`    // a file, or postgres://…
	// Uploads is what models that projects upload may read of it; nil: nothing.
	Uploads *SemanticUploads `yaml:"uploads"`
}

// SemanticUploads grants projects tables, as models name them; "*" is all tables but the database's own.
type SemanticUploads struct {
	Projects []string `yaml:"projects"`
	Tables   []string `yaml:"tables"`
}

// The drivers of a SemanticDatabase.
const (
	DriverSQLite   = "sqlite"
	DriverPostgres = "postgres"
)

// SemanticModel is a model in a file of its own.
type SemanticModel struct {
	File     string   `yaml:"file"`     // from the working directory
	Projects []string `yaml:"projects"` // that have it; none: all
}

// Limits of Semantic.
const (
	MaxSemanticDatabases = 64
	MaxSemanticModels    = 256
)

func (c *Config) checkSemantic() error {
	s := c.Semantic
	if len(s.Databases) > MaxSemanticDatabases || len(s.Models) > MaxSemanticModels {
		return invalid("semantic", "Remove some.", "semantic has %d databases and %d models: at most %d and %d", len(s.Databases), len(s.Models), MaxSemanticDatabases, MaxSemanticModels)
	}
	seen := map[string]bool{}
	for i, d := range s.Databases {
		at := fmt.Sprintf("semantic.databases[%d]", i)
		switch {
		case !namePattern().MatchString(d.Name) || seen[d.Name]:
			return invalid(at+".name", "Names are small letters, digits, - and _, each once.", "%s.name is %q", at, d.Name)
		case d.Driver != DriverSQLite && d.Driver != DriverPostgres:
			return invalid(at+".driver", "It is sqlite or postgres.", "%s.driver is %q", at, d.Driver)
		case d.DSN == "": // which may hold a password: it is never repeated
			return invalid(at+".dsn", "Write the path of the file, or postgres://USER:${PASSWORD}@HOST/NAME.", "%s.dsn is empty", at)
		case d.Uploads != nil && (len(d.Uploads.Projects) == 0 || len(d.Uploads.Tables) == 0):
			return invalid(at+".uploads", `Write projects: [NAME] and tables: [NAME], or tables: ["*"].`, "%s.uploads grants nothing", at)
		}
		seen[d.Name] = true
	}
	for i, m := range s.Models {
		if m.File == "" {
			return invalid("semantic.models", "Write file: PATH.", "semantic.models[%d] names no file", i)
		}
	}
	return nil
}
