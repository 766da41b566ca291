package agent

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// MemoryStore attaches a memory store to an agent.
type MemoryStore struct {
	ID     string `json:"id"`
	Access string `json:"access"` // "read_only", "read_write"
	// Path is a directory of the environment's workspace in which the store is files; "": it is not.
	Path string `json:"path,omitempty"`
}

// Access of a MemoryStore, and how many an agent may have.
const (
	MemoryReadOnly  = "read_only"
	MemoryReadWrite = "read_write"
	MaxMemoryStores = 16
)

// Recall says what is looked up in the memory stores before each turn, without the model's asking.
type Recall struct {
	Mode        string `json:"mode"`            // "off", "budgeted", "always"
	TokenBudget int    `json:"token_budget"`    // of all entries together
	MaxResults  int    `json:"max_num_results"` // entries
	Context     int    `json:"context"`         // entries before and after each in its conversation, as far as the budget has room
}

// Modes of Recall.
const (
	RecallOff      = "off"
	RecallBudgeted = "budgeted" // only what fits the message well, within a small budget
	RecallAlways   = "always"   // the best there is, however little it fits
)

// Limits and defaults of Recall.
const (
	MaxRecallTokens       = 16_000
	MaxRecallResults      = 50
	defaultBudgetedTokens = 1_000
	defaultAlwaysTokens   = 4_000
	defaultRecallResults  = 8
	// MaxRecallContext is the most entries on each side of one that is recalled.
	MaxRecallContext     = 10
	defaultRecallContext = 1
	// MaxTeams is how many teams an agent may remember with, and maxTeamBytes the longest id of one.
	MaxTeams     = 16
	maxTeamBytes = 256
)

// On reports whether anything is recalled.
func (r *Recall) On() bool { return r != nil && r.Mode != RecallOff && r.Mode != "" }

// Memory is the attachment of memory stores; nil: there is none.
func (s *Spec) Memory() *Tool {
	for i := range s.Tools {
		if s.Tools[i].Type == ToolMemory {
			return &s.Tools[i]
		}
	}
	return nil
}

// memoryTool reads which memory stores the agent has, and what is done with them by itself.
func (r Rules) memoryTool(o param.Object) (Tool, error) {
	t := Tool{Type: ToolMemory, ServerLabel: ToolMemory}
	err := only(o, "memory_stores", "recall", "extraction", "teams", "scope", "scopes", "allowed_tools")
	if err != nil {
		return Tool{}, err
	}
	if t.MemoryStores, err = r.memoryStores(o); err != nil {
		return Tool{}, err
	}
	if t.Recall, err = recall(o); err != nil {
		return Tool{}, err
	}
	if t.Teams, err = teams(o); err != nil {
		return Tool{}, err
	}
	if t.Extraction, err = extraction(o, t.MemoryStores, t.Teams); err != nil {
		return Tool{}, err
	}
	if t.Scope, err = memoryScope(o, t.Teams); err != nil {
		return Tool{}, err
	}
	if t.Scopes, _, err = o.Enum("scopes", MemoryScopesSession, MemoryScopesAll); err != nil {
		return Tool{}, err
	}
	if t.AllowedTools, _, err = o.Strings("allowed_tools"); err != nil {
		return Tool{}, err
	}
	return t, governance(o, &t)
}

// Whose memories an agent makes by its tools and files: those of the session's user (or of the project, where a session serves no user), its own,
// the project's, or those of one of its teams, as MemoryScopeTeam and its id.
const (
	MemoryScopeDefault = "default" // on the wire: MemoryScopeUser where there is a user, else MemoryScopeProject; kept as ""
	MemoryScopeUser    = "user"
	MemoryScopeAgent   = "agent"
	MemoryScopeProject = "project"
	MemoryScopeTeam    = "team:"
)

// memoryScope reads the scope of what the agent remembers.
func memoryScope(o param.Object, teams []string) (string, error) {
	scope, has, err := o.String("scope")
	if err != nil || !has || scope == MemoryScopeDefault {
		return "", err
	}
	team, ofTeam := strings.CutPrefix(scope, MemoryScopeTeam)
	if ofTeam && slices.Contains(teams, team) || slices.Contains([]string{MemoryScopeUser, MemoryScopeAgent, MemoryScopeProject}, scope) {
		return scope, nil
	}
	at := o.Path("scope")
	return "", stead.Invalid(at, "%s must be default, user, agent, project or team: with one of teams, not %.80q", at, scope)
}

// Whose memories the tools reach, in the stores that they are over.
const (
	MemoryScopesSession = "session" // those that the session is shown by recall: its user's, its agent's, its teams' and the project's
	MemoryScopesAll     = "all"
)

func (r Rules) memoryStores(o param.Object) ([]MemoryStore, error) {
	list, err := param.Need(o.List("memory_stores"))(o.Path("memory_stores"))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > MaxMemoryStores {
		return nil, stead.Invalid(o.Path("memory_stores"), "%s must have 1 to %d entries", o.Path("memory_stores"), MaxMemoryStores)
	}
	var out []MemoryStore
	for i, raw := range list {
		entry, err := param.Parse(param.Index(o.Path("memory_stores"), i), raw)
		if err != nil {
			return nil, err
		}
		if err := entry.Only("a memory store of a tool", "id", "access", "path"); err != nil {
			return nil, err
		}
		var s MemoryStore
		if s.ID, err = param.Need(entry.String("id"))(entry.Path("id")); err != nil {
			return nil, err
		}
		if r.MemoryStore != nil && !r.MemoryStore(s.ID) {
			return nil, stead.Invalid(entry.Path("id"), "there is no memory store %.80q", s.ID)
		}
		access, has, err := entry.Enum("access", MemoryReadOnly, MemoryReadWrite)
		if err != nil {
			return nil, err
		}
		if s.Access = access; !has {
			s.Access = MemoryReadOnly
		}
		if s.Path, err = mountPath(entry, out); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// workspaceDir is where an environment has its workspace: see package environment.
const workspaceDir = "/workspace"

// outputsDir is where files become artifacts, which are kept by themselves: no memory is one.
const outputsDir = "outputs"

// maxMountPath is the longest path of a MemoryStore.
const maxMountPath = 255

// mountPath reads the directory of a store that is files: below the workspace, and of this store alone.
func mountPath(entry param.Object, others []MemoryStore) (string, error) {
	dir, has, err := entry.String("path")
	if err != nil || !has {
		return "", err
	}
	at := entry.Path("path")
	dir = strings.TrimPrefix(dir, workspaceDir+"/")
	if dir == "" || len(dir) > maxMountPath || !utf8.ValidString(dir) || strings.ContainsAny(dir, "\x00\n") || !filepath.IsLocal(dir) || path.Clean(dir) != dir || dir == "." {
		return "", stead.Invalid(at, "%s must be a directory below %s, of at most %d bytes, such as memory/team", at, workspaceDir, maxMountPath)
	}
	if dir == outputsDir || strings.HasPrefix(dir, outputsDir+"/") {
		return "", stead.Invalid(at, "%s is in %s/%s, whose files become artifacts", at, workspaceDir, outputsDir)
	}
	for _, o := range others {
		if o.Path != "" && (o.Path == dir || strings.HasPrefix(o.Path, dir+"/") || strings.HasPrefix(dir, o.Path+"/")) {
			return "", stead.Invalid(at, "%s is, or is in, the directory of another memory store", at)
		}
	}
	return dir, nil
}

// recall reads what is recalled before a turn. It is kept whole, so that defaults that change later
// change no agent that was made before.
func recall(o param.Object) (*Recall, error) {
	sub, ok, err := o.Object("recall")
	if !ok || err != nil {
		return nil, err
	}
	if err := sub.Only("recall", "mode", "token_budget", "max_num_results", "context"); err != nil {
		return nil, err
	}
	r := &Recall{}
	if r.Mode, err = param.Need(sub.Enum("mode", RecallOff, RecallBudgeted, RecallAlways))(sub.Path("mode")); err != nil {
		return nil, err
	}
	tokens, has, err := sub.Int("token_budget", 1, MaxRecallTokens)
	switch {
	case err != nil:
		return nil, err
	case !has && r.Mode == RecallAlways:
		tokens = defaultAlwaysTokens
	case !has:
		tokens = defaultBudgetedTokens
	}
	results, has, err := sub.Int("max_num_results", 1, MaxRecallResults)
	if !has {
		results = defaultRecallResults
	}
	if err != nil {
		return nil, err
	}
	around, has, err := sub.Int("context", 0, MaxRecallContext)
	if !has {
		around = defaultRecallContext
	}
	r.TokenBudget, r.MaxResults, r.Context = int(tokens), int(results), int(around)
	return r, err
}

// teams reads the teams whose memories the agent has besides those of its user, its own and the project's.
func teams(o param.Object) ([]string, error) {
	list, _, err := o.Strings("teams")
	if err != nil {
		return nil, err
	}
	if len(list) > MaxTeams {
		return nil, stead.Invalid(o.Path("teams"), "%s has %d entries, the limit is %d", o.Path("teams"), len(list), MaxTeams)
	}
	for i, id := range list {
		if at := param.Index(o.Path("teams"), i); id == "" || len(id) > maxTeamBytes || !utf8.ValidString(id) {
			return nil, stead.Invalid(at, "%s must have 1 to %d bytes", at, maxTeamBytes)
		}
	}
	return slices.Clip(list), nil
}

// Extraction says what is remembered of each turn when it has ended, without the model's asking.
type Extraction struct {
	Store        string   `json:"memory_store_id"`        // one of the tool's, with read_write
	Strategies   []string `json:"strategies"`             // see Strategies; empty: no model is asked
	Instructions string   `json:"instructions,omitempty"` // what is worth remembering besides, in words for the model
	Model        string   `json:"model,omitempty"`        // "": the agent's
	Scope        string   `json:"scope"`                  // MemoryScopeUser, MemoryScopeAgent, MemoryScopeProject or a team, as a tool's: whom it is about
	Conversation bool     `json:"conversation"`           // each message becomes searchable as well
	ToolOutputs  bool     `json:"tool_outputs"`           // and with Conversation what tools said
}

// maxExtractionBytes is the longest Instructions of an Extraction.
const maxExtractionBytes = 8 << 10

// extraction reads what is remembered after a turn; stores and teams are those of the tool.
func extraction(o param.Object, stores []MemoryStore, teams []string) (*Extraction, error) {
	sub, ok, err := o.Object("extraction")
	if !ok || err != nil {
		return nil, err
	}
	if err := sub.Only("extraction", "memory_store_id", "strategies", "instructions", "model", "scope", "conversation", "tool_outputs"); err != nil {
		return nil, err
	}
	e := &Extraction{Scope: MemoryScopeUser, Conversation: true, ToolOutputs: true, Strategies: []string{}}
	if e.Store, err = extractionStore(sub, stores); err != nil {
		return nil, err
	}
	list, has, err := sub.Strings("strategies")
	if err != nil {
		return nil, err
	}
	if !has {
		list = []string{"fact", "preference"}
	}
	for i, s := range list {
		if at := param.Index(sub.Path("strategies"), i); !slices.Contains(Strategies(), s) || slices.Contains(e.Strategies, s) {
			return nil, stead.Invalid(at, "%s must be one of %q, each once, not %.40q", at, Strategies(), s)
		}
		e.Strategies = append(e.Strategies, s)
	}
	if e.Instructions, _, err = sub.String("instructions"); err != nil {
		return nil, err
	}
	if at := sub.Path("instructions"); len(e.Instructions) > maxExtractionBytes {
		return nil, stead.Invalid(at, "%s is longer than %d bytes", at, maxExtractionBytes)
	}
	if e.Model, _, err = sub.String("model"); err != nil {
		return nil, err
	}
	if at := sub.Path("model"); utf8.RuneCountInString(e.Model) > stead.MaxNameRunes {
		return nil, stead.Invalid(at, "%s is longer than %d characters", at, stead.MaxNameRunes)
	}
	if scope, err := memoryScope(sub, teams); err != nil {
		return nil, err
	} else if scope != "" {
		e.Scope = scope
	}
	if all, has, err := sub.Bool("conversation"); err != nil {
		return nil, err
	} else if has {
		e.Conversation = all
	}
	if tools, has, err := sub.Bool("tool_outputs"); err != nil {
		return nil, err
	} else if has {
		e.ToolOutputs = tools
	}
	return e, nil
}

// Strategies are what may be taken out of a turn.
func Strategies() []string { return []string{"fact", "preference", "episode", "procedure"} }

// extractionStore is where it is written: the only store that can be, unless one is named.
func extractionStore(sub param.Object, stores []MemoryStore) (string, error) {
	at := sub.Path("memory_store_id")
	named, has, err := sub.String("memory_store_id")
	if err != nil {
		return "", err
	}
	var writable []string
	for _, s := range stores {
		if s.Access == MemoryReadWrite && (!has || s.ID == named) {
			writable = append(writable, s.ID)
		}
	}
	if len(writable) != 1 {
		return "", stead.Invalid(at, `%s must name one of memory_stores that has access "read_write"`, at)
	}
	return writable[0], nil
}
