package config

// Semantic are the semantic models that agents may be given. Databases are more of Config.Databases, where they stood first.
type Semantic struct {
	Databases []Database      `yaml:"databases"`
	Models    []SemanticModel `yaml:"models"`
}

// SemanticUploads grants projects tables, as models name them; "*" is all tables but the database's own.
type SemanticUploads struct {
	Projects []string `yaml:"projects"`
	Tables   []string `yaml:"tables"`
}

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
	if n := len(c.AllDatabases()); n > MaxSemanticDatabases || len(s.Models) > MaxSemanticModels {
		return invalid("semantic", "Remove some.", "there are %d databases and %d models: at most %d and %d", n, len(s.Models), MaxSemanticDatabases, MaxSemanticModels)
	}
	if err := c.checkDatabases(); err != nil {
		return err
	}
	for i, m := range s.Models {
		if m.File == "" {
			return invalid("semantic.models", "Write file: PATH.", "semantic.models[%d] names no file", i)
		}
	}
	return nil
}
