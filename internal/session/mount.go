package session

import (
	"cmp"
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// Memory stores as files of a session's environment. They are brought together with the stores before and after each
// call of the environment's tools; what was taken back stands in the call's outcome.

// MountAsk is what is brought together.
type MountAsk struct {
	Key       stead.SessionKey
	Principal stead.Principal   // whom the session belongs to
	Behind    []stead.Principal // as policy.Request.Behind
	Alone     bool              // as View.Alone: what is remembered of Principal is there
	Agent     stead.AgentID
	Labels    stead.Labels // of the session
	Teams     []string
	AllScopes bool
	Scope     string // of new files that name none; see memory.SessionScope
	Mounts    []Mount
	At        stead.Seq // the session's last event
	Since     stead.Seq // the last event before the call to whose output the files are shown; 0: none is
}

// Mount is a memory store in a directory of the workspace.
type Mount struct {
	Store    string
	Dir      string // relative to the workspace
	Writable bool
}

// Mounts are the memory stores of an agent that are files.
func Mounts(spec *agent.Spec) (out []Mount) {
	t := spec.Memory()
	if t == nil {
		return nil
	}
	for _, m := range t.MemoryStores {
		if m.Path != "" {
			out = append(out, Mount{Store: m.ID, Dir: m.Path, Writable: m.Access == agent.MemoryReadWrite})
		}
	}
	return out
}

// MountFiles is the workspace. Paths are relative to it.
type MountFiles interface {
	// List gives the files in a directory, and some of those in directories below it, with their sizes in bytes, by their paths in it; none when
	// it is not there.
	List(ctx context.Context, dir string) (map[string]int64, error)
	Read(ctx context.Context, path string) ([]byte, error)
	Write(ctx context.Context, path string, data []byte) error
}

// Mounted is what was taken back into memory stores.
type Mounted struct {
	Added     []string `json:"added,omitempty"`     // entries, "store/id"
	Changed   []string `json:"changed,omitempty"`   // entries, "store/id"
	Conflicts []string `json:"conflicts,omitempty"` // files that hold what could not be written
	Refused   []string `json:"refused,omitempty"`   // sentences
	Labels    []string `json:"labels,omitempty"`    // of all that is shown: they become the session's, as those of a recall
}

// KindMemoryMounted says that files of memory stores are there for a command that is about to run, and for what code in it does: what
// follows is labelled as they are, and not only what follows the command's outcome.
const KindMemoryMounted = "memory.mounted"

// MemoryMounted is its payload.
type MemoryMounted struct {
	CallID string   `json:"call_id"`
	Labels []string `json:"labels,omitempty"` // as Mounted.Labels
}

func (v *View) memoryMounted(_ stead.Event, p MemoryMounted) { v.shown(&Mounted{Labels: p.Labels}) }

// shown takes in what the model may have read in files.
func (v *View) shown(m *Mounted) {
	if m != nil && len(m.Labels) > 0 {
		v.say(stead.Labels{LabelMemory: m.Labels})
	}
	if m != nil {
		v.heard(SourceMemory)
	}
}

// found takes in what a tool says that the memories which it found are labelled with.
func (v *View) found(labels []string) {
	if len(labels) > 0 {
		v.say(stead.Labels{LabelMemory: labels})
	}
}

// Empty reports whether nothing is to be told.
func (m *Mounted) Empty() bool {
	return m == nil || len(m.Added)+len(m.Changed)+len(m.Conflicts)+len(m.Refused) == 0
}

// And is what both say.
func (m *Mounted) And(o *Mounted) *Mounted {
	if m == nil || o == nil {
		return cmp.Or(m, o)
	}
	labels := slices.Concat(m.Labels, o.Labels)
	slices.Sort(labels)
	refused := slices.Clone(m.Refused)
	for _, r := range o.Refused { // what was refused before a call is refused behind it too
		if !slices.Contains(refused, r) {
			refused = append(refused, r)
		}
	}
	return &Mounted{slices.Concat(m.Added, o.Added), slices.Concat(m.Changed, o.Changed), slices.Concat(m.Conflicts, o.Conflicts), refused, slices.Compact(labels)}
}
