// Package template is what an agent's computer is made of: decoded from the wire, inherited,
// split into what may be seen and what may not, and turned into the commands of its set-up.
//
// Shape:
//
//	request ── Decode ──▶ Config ── Inherit(template's) ── Effective ──▶ Config
//	                        ├─ Public   JSON for the journal and the wire
//	                        ├─ Secret   values of variables, bodies of commands: only ever sealed
//	                        └─ Bytes    contents of inline files and archives, by digest: blobs
//	Config ── SetupScript ──▶ commands in order, each with a name that shows nothing
//
// Inheritance: a field that is omitted, or null, is the template's. A field that is there replaces
// the template's whole: a list is not added to a list, because then nobody could take an entry away
// or say what the environment holds without reading both. The network alone is compared: it may be
// narrower than the template's, and anything broader is refused.
//
// The network: the wire's default is this server's, and that is "disabled". What the network policy
// says is for the agent's commands; packages and set-up commands run before it applies, as the
// contract says.
//
// Errors: KindInvalid with the path of the field (environment.files[2].path); KindTooLarge with its
// limit; KindNotImplemented for a part of the contract that has not landed. A field that nobody
// reads is refused: a misspelt "network" must not become an open one.
//
// Source: npm openai 7.57.0, resources/beta/agents/agents.d.ts (EnvironmentParam),
// environments/environments.d.ts and templates.d.ts, lib/beta/agents/files.js for paths.
package template

import (
	"maps"
	"slices"

	"github.com/stead-dev/stead/internal/environment"
)

// Type says who hosts an environment.
type Type string

// The types. On the wire "hosted" is a synonym of "openai_hosted", which means: by this server.
const (
	TypeNone   Type = "none"
	TypeHosted Type = "openai_hosted"
	TypeSelf   Type = "self_hosted"
)

// Limits of a configuration.
const (
	MaxPackages     = 256       // of each kind
	MaxFiles        = 256       // files
	MaxInlineBytes  = 16 << 20  // of one inline file
	MaxVariables    = 256       // environment variables
	MaxEnvBytes     = 64 << 10  // names and values of all variables
	MaxCommands     = 64        // set-up commands
	MaxCommandBytes = 64 << 10  // of one
	MaxSetupBytes   = 512 << 10 // of all of them
	MaxSkills       = 32        // and as many plugins
	MaxDirectories  = 32        // capability directories
	MaxDomains      = 256       // of each list
	MaxNameRunes    = 256       // of a template
	maxPackageBytes = 214       // of one package with its version: npm's longest name
	maxVersionBytes = 20        // of a skill's version: a 64-bit number
	maxIDBytes      = 128       // of an id of ours
)

// Config is an environment as it was asked for. A nil field of Public was omitted; Effective fills
// them. The zero Config is no environment.
type Config struct {
	Public
	Secret
	// Bytes are the contents of inline files and archives, by SHA-256 in hex, as package blob names
	// them. They are there after Decode; once they are blobs they may be dropped.
	Bytes map[string][]byte
	// BaseVersion is the version of the template that it inherits from; 0: there is none.
	BaseVersion int64
}

// Public is what may be journaled and shown. It holds no contents, no values of variables and no
// bodies of commands.
type Public struct {
	Type          Type   `json:"type"`
	EnvironmentID string `json:"environment_id,omitempty"`          // a prewarmed one: nothing else is said
	TemplateID    string `json:"environment_template_id,omitempty"` // inherited from
	// TemplateVersion is the version of that of which the set-up is, all of it; 0: the request said something of it itself.
	TemplateVersion int64            `json:"template_version,omitempty"`
	Size            environment.Size `json:"container_size,omitempty"`
	Network         *Network         `json:"network,omitempty"`
	Packages        *Packages        `json:"packages,omitempty"`
	Files           []File           `json:"files,omitzero"`
	Variables       []string         `json:"variables,omitzero"` // names, sorted: the keys of Secret.Env
	Setup           []Setup          `json:"setup,omitzero"`     // one for each of Secret.Commands
	Skills          []Skill          `json:"skills,omitzero"`
	Plugins         []Plugin         `json:"plugins,omitzero"`
	Directories     []string         `json:"capability_directories,omitzero"`
	Workspace       string           `json:"workspace_directory,omitempty"` // of TypeSelf
}

// Secret is what is never shown.
type Secret struct {
	Env      map[string]string `json:"env,omitzero"`
	Commands []string          `json:"commands,omitzero"` // shell text, one for each of Public.Setup
}

// Access is what the network lets through.
type Access string

// The accesses, each broader than the one before.
const (
	AccessDisabled   Access = "disabled"
	AccessRestricted Access = "restricted"
	AccessEnabled    Access = "enabled"
)

// Network is the policy of an environment's network: package egress has the rules of the lists, and
// what an entry means. A request may fill one of the lists; what inherits may have both.
type Network struct {
	Access  Access   `json:"access"`
	Allowed []string `json:"allowed_domains"` // egress.Pattern, in lower case
	Blocked []string `json:"blocked_domains"` // the same; a name blocks every name below it too
}

// Packages are what package managers install, in the order of the request.
type Packages struct {
	NPM    []string `json:"npm"`
	Python []string `json:"python"`
	System []string `json:"system"`
}

// File is a file that is there before the agent starts: from the files API, or inline.
type File struct {
	Path   string `json:"path"`              // absolute, below environment.WorkspaceDir
	FileID string `json:"file_id,omitempty"` // "" for an inline one
	Digest string `json:"digest,omitempty"`  // of an inline one's contents
	Size   int64  `json:"size_bytes"`        // of a file_id: 0 until it was resolved
}

// Setup is the part of a set-up command that may be seen.
type Setup struct {
	Dir string `json:"cwd"` // absolute
}

// Skill is a skill by reference or inline.
type Skill struct {
	SkillID     string `json:"skill_id,omitempty"` // "" for an inline one
	Version     string `json:"version,omitempty"`  // of a reference: a number, "latest", "" for the default; resolved: a number
	Name        string `json:"name,omitempty"`     // of a reference: "" until it was resolved
	Description string `json:"description,omitempty"`
	Digest      string `json:"digest,omitempty"` // of an inline one's archive
}

// Plugin is an inline plugin.
type Plugin struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Digest      string `json:"digest"` // of its archive
}

// Effective fills what was omitted with the contract's defaults.
func (c Config) Effective() Config {
	if c.Type != TypeHosted {
		if c.Type == TypeSelf && c.Directories == nil {
			c.Directories = []string{}
		}
		return c
	}
	if c.Size == "" {
		c.Size = environment.SizeMedium
	}
	if c.Network == nil {
		c.Network = defaultNetwork()
	}
	if c.Packages == nil {
		c.Packages = &Packages{NPM: []string{}, Python: []string{}, System: []string{}}
	}
	empty(&c.Files)
	empty(&c.Variables)
	empty(&c.Setup)
	empty(&c.Skills)
	empty(&c.Plugins)
	empty(&c.Directories)
	return c
}

func empty[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}

func defaultNetwork() *Network {
	return &Network{Access: AccessDisabled, Allowed: []string{}, Blocked: []string{}}
}

// Digests lists the blobs that the configuration names, sorted, each once.
func (p Public) Digests() []string {
	found := map[string]bool{}
	for _, f := range p.Files {
		found[f.Digest] = true
	}
	for _, s := range p.Skills {
		found[s.Digest] = true
	}
	for _, g := range p.Plugins {
		found[g.Digest] = true
	}
	delete(found, "")
	return slices.Sorted(maps.Keys(found))
}

// Join puts a configuration together again from its stored parts. The bytes stay in their blobs.
func Join(p Public, s Secret) Config { return Config{Public: p, Secret: s} }
