package cedar

import (
	_ "embed"
	"reflect"
	"slices"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"

	"github.com/stead-dev/stead"
)

//go:embed schema.cedarschema
var schemaText string

// SchemaText is the published schema, in Cedar's schema language.
func SchemaText() string { return schemaText }

// published parses the schema once a process.
var published = sync.OnceValues(func() (*resolved.Schema, error) {
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar([]byte(schemaText)); err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "the built-in schema can't be read")
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "the built-in schema can't be resolved")
	}
	return r, nil
})

// publishedActions are the schema's, without what they apply to.
var publishedActions = sync.OnceValue(func() map[types.EntityUID]types.Entity {
	out := map[types.EntityUID]types.Entity{}
	if known, err := published(); err == nil {
		for uid, a := range known.Actions {
			out[uid] = a.Entity
		}
	}
	return out
})

// publishedSchemes are what is known of the requests of each action: of several actions with the same context the same one.
var publishedSchemes = sync.OnceValue(func() map[types.EntityUID]*scheme {
	known, err := published()
	if err != nil {
		return nil
	}
	return schemesOf(known)
})

func schemesOf(known *resolved.Schema) map[types.EntityUID]*scheme {
	out := map[types.EntityUID]*scheme{}
	var all []*scheme
	for uid, a := range known.Actions {
		if a.AppliesTo == nil {
			continue
		}
		i := slices.IndexFunc(all, func(s *scheme) bool { return reflect.DeepEqual(s.context, a.AppliesTo.Context) })
		if i < 0 {
			i, all = len(all), append(all, &scheme{a.AppliesTo.Context})
		}
		out[uid] = all[i]
	}
	return out
}

// The entity types that requests are made of.
const (
	typeAction      = types.EntityType("Action")
	typeAgent       = types.EntityType("Agent")
	typeArguments   = types.EntityType("Arguments")
	typeBudget      = types.EntityType("Budget")
	typeCredential  = types.EntityType("Credential")
	typeEnvironment = types.EntityType("Environment")
	typeHost        = types.EntityType("Host")
	typeFile        = types.EntityType("File")
	typeLabels      = types.EntityType("Labels")
	typeMemoryStore = types.EntityType("MemoryStore")
	typeModel       = types.EntityType("Model")
	typeNode        = types.EntityType("Node")
	typeNumbers     = types.EntityType("Numbers")
	typeProject     = types.EntityType("Project")
	typeRole        = types.EntityType("Role")
	typeSemantic    = types.EntityType("SemanticModel")
	typeServer      = types.EntityType("Server")
	typeService     = types.EntityType("Service")
	typeSession     = types.EntityType("Session")
	typeSkill       = types.EntityType("Skill")
	typeTemplate    = types.EntityType("Template")
	typeTool        = types.EntityType("Tool")
	typeVectorStore = types.EntityType("VectorStore")
	typeVault       = types.EntityType("Vault")
	typeUser        = types.EntityType("User")
)
