package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// What whoever answers is shown of an effect: all that an approval is of.

// shownModel is what whoever answers is shown of a model call. What the model gets is said by its place in the journal: all of the
// session up to an event.
type shownModel struct {
	Model    string       `json:"model"` // as the agent names it
	Routes   []shownRoute `json:"routes"`
	Agent    string       `json:"agent"`
	Version  int          `json:"version"`
	Purpose  string       `json:"purpose,omitempty"`
	Input    shownInput   `json:"input"`
	Tools    []string     `json:"tools,omitempty"`
	Settings string       `json:"settings_sha256"` // of the agent as the session has it, and of what a response asks for
}

// shownRoute is where the call may go.
type shownRoute struct {
	Provider string `json:"provider"`
	Model    string `json:"model"` // as the provider knows it
	Region   string `json:"region,omitempty"`
}

type shownInput struct {
	Items int       `json:"items,omitempty"`
	Upto  stead.Seq `json:"upto"` // number of the session's last event of which the model gets something
}

// modelEffect is a model call as it is asked about. upto is for summaries, and for what is remembered: the last turn.
func (a *actor) modelEffect(purpose, name string, info model.Info, upto stead.Seq) session.EffectHeld {
	c := &a.state.Created
	out := shownModel{Model: name, Agent: string(c.Agent.ID), Version: c.Agent.Version, Purpose: purpose}
	out.Input.Upto = upto
	if purpose == session.PurposeCompact {
		out.Input.Items = len(a.state.Context.Items(upto))
	} else if purpose == session.PurposeStep {
		out.Input = shownInput{Items: len(a.state.Context.Entries) + len(a.state.Context.Held), Upto: a.state.Context.Last()}
	}
	for _, v := range info.Card.Versions {
		out.Routes = append(out.Routes, shownRoute{v.Provider, v.Model, v.Region})
	}
	if len(out.Routes) == 0 {
		out.Routes = []shownRoute{{info.Provider, info.Upstream, info.Region}}
	}
	for _, t := range c.Agent.Spec.Tools {
		switch {
		case t.ServerLabel != "":
			out.Tools = append(out.Tools, t.ServerLabel)
		case t.Name != "":
			out.Tools = append(out.Tools, t.Name)
		default:
			out.Tools = append(out.Tools, t.Type)
		}
	}
	settings := []any{c.Agent.Spec}
	if t := a.state.Turn; t != nil && t.Response != nil {
		settings = append(settings, t.Response.Ask)
	}
	out.Settings = sumOf(settings)
	return session.EffectHeld{Shown: encoded(out)}
}

func modelKey(purpose, name string) session.EffectKey {
	return session.EffectKey{Effect: policy.ModelCall, Of: name, Purpose: purpose}
}

// shownEnvironment is what whoever answers is shown of an environment that is to be set up or opened.
type shownEnvironment struct {
	Environment string          `json:"environment"`
	Agent       string          `json:"agent,omitempty"`
	Type        string          `json:"type"`
	Network     json.RawMessage `json:"network,omitempty"`
	Template    json.RawMessage `json:"template,omitempty"`
	Mounts      []shownMount    `json:"memory_stores,omitempty"` // that are files in it
	Vaults      []string        `json:"vault_ids,omitempty"`
	Setup       string          `json:"setup_sha256"` // of its whole configuration, what may not be shown too
}

type shownMount struct {
	Store  string `json:"id"`
	Path   string `json:"path"`
	Access string `json:"access"`
}

// environmentEffect is an action with the environment as it is asked about.
func (a *actor) environmentEffect(action session.Action) session.EffectHeld {
	c, setup := &a.state.Created, &a.state.Environment.Setup
	out := shownEnvironment{Environment: session.EnvironmentID(a.key.Session), Agent: string(c.Agent.ID), Type: setup.Type, Vaults: c.VaultIDs, Setup: sumOf(setup)}
	var config map[string]json.RawMessage
	if json.Unmarshal(setup.Config, &config) == nil {
		out.Network, out.Template = config["network"], config["environment_template_id"]
	}
	if m := c.Agent.Spec.Memory(); m != nil && action == session.ActionOpen {
		for _, s := range m.MemoryStores {
			if s.Path != "" {
				out.Mounts = append(out.Mounts, shownMount{s.ID, s.Path, s.Access})
			}
		}
	}
	return session.EffectHeld{Shown: encoded(out), Postponed: action == session.ActionPrepare && !a.state.EnvironmentNeeded()}
}

// shownMemory is what whoever answers is shown of memories that are looked up for a turn, or kept of turns.
type shownMemory struct {
	Store string      `json:"memory_store"`
	Agent string      `json:"agent"`
	Does  string      `json:"does"`
	Input *shownInput `json:"input,omitempty"` // what is looked up
	Turns []string    `json:"turns,omitempty"` // of which something is kept
	Found []string    `json:"found,omitempty"` // what
}

// recallEffect is the look at a memory store before a turn.
func (a *actor) recallEffect(store string) session.EffectHeld {
	out := shownMemory{Store: store, Agent: string(a.state.Created.Agent.ID), Does: "look up what is remembered about the turn's messages"}
	out.Input = &shownInput{Items: len(a.state.Context.Unread()), Upto: a.state.Context.Last()}
	return session.EffectHeld{Shown: encoded(out)}
}

func recallKey(store string) session.EffectKey {
	return session.EffectKey{Effect: policy.MemoryRead, Of: store, Purpose: session.PurposeRecall}
}

// keepEffect is a write of what was said in turns, or of what was taken out of it. What is written is not shown where it could be redacted.
func (a *actor) keepEffect(c session.KeepMemories, store string) session.EffectHeld {
	out := shownMemory{Store: store, Agent: string(a.state.Created.Agent.ID), Does: "write what was found worth remembering", Turns: a.turnIDs(c.Turns)}
	if c.Items {
		out.Does = "make the messages of turns searchable"
	} else if a.state.Learn.Extracted != nil {
		for _, f := range a.state.Learn.Extracted.Found {
			out.Found = append(out.Found, f.Kind)
		}
		out.Does += ", as " + session.KindMemoryExtracted + " of the journal has it"
	}
	return session.EffectHeld{Shown: encoded(out), Turns: c.Turns}
}

func keepKey(c session.KeepMemories, store string) session.EffectKey {
	key := session.EffectKey{Effect: policy.MemoryWrite, Of: store, Purpose: session.PurposeFound}
	if c.Items {
		key.Purpose = session.PurposeItems
	}
	return key
}

// rememberEffect is a call of a model that says what of turns is worth remembering.
func (a *actor) rememberEffect(name string, info model.Info, turns []stead.Seq) session.EffectHeld {
	what := a.modelEffect(session.PurposeRemember, name, info, turns[len(turns)-1])
	what.Turns = turns
	return what
}

func (a *actor) turnIDs(turns []stead.Seq) []string {
	out := make([]string, len(turns))
	for i, t := range turns {
		out[i] = session.TurnID(a.key.Session, t)
	}
	return out
}

// sumOf is the SHA-256 of a value as JSON, in hex.
func sumOf(v any) string {
	sum := sha256.Sum256(encoded(v))
	return hex.EncodeToString(sum[:])
}

// encoded is our own structs as JSON, which can't fail.
func encoded(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("runner: encode: " + err.Error())
	}
	return b
}
