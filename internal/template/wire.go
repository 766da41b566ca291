package template

import (
	"encoding/json"

	"github.com/stead-dev/stead/internal/environment"
)

// wireHosted is an environment of a session as it is shown.
type wireHosted struct {
	Type        Type              `json:"type"`
	ID          string            `json:"id"`
	Directories []string          `json:"capability_directories"`
	Files       []json.RawMessage `json:"files"`
	Network     wireNetwork       `json:"network"`
	Packages    Packages          `json:"packages"`
	Plugins     []json.RawMessage `json:"plugins"`
	Skills      []json.RawMessage `json:"skills"`
	Size        environment.Size  `json:"container_size"`
	Desktop     wireDesktop       `json:"desktop"`
}

// wireSelf is a self-hosted one.
type wireSelf struct {
	Type        Type     `json:"type"`
	ID          string   `json:"id"`
	Directories []string `json:"capability_directories"`
	RemoteURL   string   `json:"remote_url"`
	Workspace   string   `json:"workspace_directory"`
}

// wireInfo is the safe metadata of an environment by itself.
type wireInfo struct {
	ID      string            `json:"id"`
	Files   []json.RawMessage `json:"files"`
	Object  string            `json:"object"` // "agent.environment"
	Plugins []json.RawMessage `json:"plugins"`
	Skills  []json.RawMessage `json:"skills"`
	Status  string            `json:"status"`
	Type    Type              `json:"type"`
}

// wireNetwork shows blocked domains too, which the contract's object leaves out: a policy that is
// shown in part is a policy that is misread.
type wireNetwork struct {
	Access  Access   `json:"access"`
	Allowed []string `json:"allowed_domains"`
	Blocked []string `json:"blocked_domains,omitempty"`
}

type wireDesktop struct {
	Enabled bool `json:"enabled"`
}

// WireEnvironment is the environment of a session: id is the environment's, remoteURL that of a
// self-hosted one. Its files have ids of their own, made of the environment's and their place.
func (p Public) WireEnvironment(id, remoteURL string) json.RawMessage {
	p = Config{Public: p}.Effective().Public
	switch p.Type {
	case TypeSelf:
		return encode(wireSelf{TypeSelf, id, p.Directories, remoteURL, p.Workspace})
	case TypeHosted:
		return encode(wireHosted{
			Type: TypeHosted, ID: id, Directories: p.Directories, Files: p.wireFiles(id), Network: p.Network.wire(),
			Packages: *p.Packages, Plugins: p.wirePlugins(), Skills: p.wireSkills(true), Size: p.Size,
		})
	default:
		return json.RawMessage(`{"type":"none"}`)
	}
}

// WireInfo is an environment by itself, with its status.
func (p Public) WireInfo(id, status string) json.RawMessage {
	p = Config{Public: p}.Effective().Public
	return encode(wireInfo{
		ID: id, Files: p.wireFiles(id), Object: "agent.environment", Plugins: p.wirePlugins(), Skills: p.wireSkills(true),
		Status: status, Type: p.Type,
	})
}

// wireFiles lists files; with the id of an environment they have ids, else they are a template's.
func (p Public) wireFiles(environment string) []json.RawMessage {
	out := make([]json.RawMessage, len(p.Files))
	for i, f := range p.Files {
		id := ""
		if environment != "" {
			id = FileID(environment, i)
		}
		out[i] = wireFile(id, f)
	}
	return out
}

func (p Public) wirePlugins() []json.RawMessage {
	out := make([]json.RawMessage, len(p.Plugins))
	for i, g := range p.Plugins {
		out[i] = encode(map[string]any{"type": kindInline, "name": g.Name, "description": g.Description})
	}
	return out
}

// wireSkills lists skills: references as they were resolved, or, of a template, as they were asked for.
func (p Public) wireSkills(resolved bool) []json.RawMessage {
	out := make([]json.RawMessage, len(p.Skills))
	for i, s := range p.Skills {
		fields := map[string]any{"type": kindInline, "name": s.Name, "description": s.Description}
		if s.SkillID != "" {
			fields = map[string]any{"type": kindReference, "skill_id": s.SkillID, "version": nullable(s.Version)}
			if resolved {
				fields["name"], fields["description"] = s.Name, s.Description
			}
		}
		out[i] = encode(fields)
	}
	return out
}

func (n *Network) wire() wireNetwork {
	return wireNetwork{n.Access, n.Allowed, n.Blocked}
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// encode makes JSON of what always can be: texts, numbers and lists of them.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}

// wireTemplate is a template as it is shown.
type wireTemplate struct {
	ID          string            `json:"id"`
	Directories []string          `json:"capability_directories"`
	CreatedAt   int64             `json:"created_at"` // Unix seconds
	Files       []json.RawMessage `json:"files"`
	Name        *string           `json:"name"`
	Network     wireNetwork       `json:"network"`
	Object      string            `json:"object"` // "agent.environment.template"
	Packages    Packages          `json:"packages"`
	Plugins     []json.RawMessage `json:"plugins"`
	Skills      []json.RawMessage `json:"skills"`
	UpdatedAt   int64             `json:"updated_at"` // Unix seconds
	Desktop     wireDesktop       `json:"desktop"`
}

// Wire is the template as it is shown.
func (t Template) Wire() json.RawMessage {
	p := Config{Public: t.Public}.Effective().Public
	const millis = 1000
	return encode(wireTemplate{
		ID: t.ID, Directories: p.Directories, CreatedAt: t.CreatedAt / millis, Files: p.wireFiles(""), Name: nullable(t.Name),
		Network: p.Network.wire(), Object: "agent.environment.template", Packages: *p.Packages, Plugins: p.wirePlugins(),
		Skills: p.wireSkills(false), UpdatedAt: t.UpdatedAt / millis,
	})
}
