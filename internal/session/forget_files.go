package session

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Memory stores may be files of a workspace, and so in its checkpoints. When a memory is forgotten, the checkpoints are made without its
// files, and the events that name them are written anew, in their places, with the names of those that took their place. What they
// named before they still name, apart, for as long as somebody may be storing a workspace that builds on it.

// ForgetFiles are files of memories in a workspace.
type ForgetFiles struct {
	Memories []string  `json:"memories"`        // STORE/ID
	Dirs     []string  `json:"dirs"`            // of their stores, relative to the workspace
	Asked    stead.Seq `json:"asked,omitempty"` // in a view: the last event that asks for it
}

// and adds what an event asks for.
func (f *ForgetFiles) and(at stead.Seq, more *ForgetFiles) *ForgetFiles {
	if more == nil {
		return f
	}
	out := &ForgetFiles{Memories: more.Memories, Dirs: more.Dirs, Asked: at}
	if f != nil {
		out.Memories, out.Dirs = united(f.Memories, out.Memories), united(f.Dirs, out.Dirs)
	}
	return out
}

func united(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// Names are the memories; of nil: none.
func (f *ForgetFiles) Names() []string {
	if f == nil {
		return nil
	}
	return f.Memories
}

// Dropped is what an event named before it was written anew: blobs that nothing in the journal needs, but for checkpoints that come late. Where only
// the checkpoint's name is another one, there are none.
type Dropped struct {
	Blobs []stead.Text `json:"dropped,omitempty"`       // droppedKey
	At    int64        `json:"dropped_at,omitempty"`    // when it was written anew, in Unix milliseconds; 0: it was not, or that is over
	Files int          `json:"dropped_files,omitempty"` // that were taken out of its checkpoint
}

// Drops reports whether a journal has such events: a checkpoint behind them may need what they dropped.
func Drops(events []stead.Event) bool {
	return !slices.ContainsFunc(events, expires) && slices.ContainsFunc(events, func(e stead.Event) bool {
		s, ok, err := StoredBy(e)
		return err == nil && ok && s.Dropped.At > 0
	})
}

const droppedKey = "dropped"

// Stored is what an event says of the checkpoint that it brought.
type Stored struct {
	Checkpoint environment.Checkpoint
	Blobs      []stead.Text
	Dropped    Dropped
	Forgot     []string
	Apart      bool // it is, or was, stored apart
}

// StoredBy is what an event says of a checkpoint; false: it brings none.
func StoredBy(e stead.Event) (s Stored, ok bool, err error) {
	s, _, ok, err = stored(e, nil)
	return s, ok && s.Checkpoint.Digest != "", err
}

// WithStored is the event with another checkpoint; what it says beside it stays.
func WithStored(e stead.Event, with Stored) (stead.Event, error) {
	_, out, _, err := stored(e, &with)
	return out, err
}

// stored reads what an event says, and puts something else in its place; nil: nothing.
func stored(e stead.Event, with *Stored) (s Stored, out stead.Event, ok bool, err error) {
	set := func(c *environment.Checkpoint, blobs *[]stead.Text, dropped *Dropped) {
		s.Checkpoint, s.Blobs, s.Dropped = *c, *blobs, *dropped
		if with != nil {
			*c, *blobs, *dropped = with.Checkpoint, with.Blobs, with.Dropped
		}
	}
	switch out = e; e.Kind {
	case KindEnvironmentPrepared:
		out, err = edit(e, func(p *EnvironmentPrepared) { set(&p.Checkpoint, &p.Blobs, &p.Dropped) })
	case KindEnvironmentCheckpointed:
		out, err = edit(e, func(p *EnvironmentCheckpointed) { s.Forgot = p.Forgot; set(&p.Checkpoint, &p.Blobs, &p.Dropped) })
	case KindEnvironmentSuspended:
		out, err = edit(e, func(p *EnvironmentSuspended) {
			s.Forgot, s.Apart = p.Forgot, p.Apart
			set(&p.Checkpoint, &p.Blobs, &p.Dropped)
		})
	default:
		return s, e, false, nil
	}
	return s, out, true, err
}

// undropped is an event in a copy, which has never had what was dropped.
func undropped(e stead.Event) (stead.Event, error) {
	s, ok, err := StoredBy(e)
	if err != nil || !ok || s.Dropped.At == 0 {
		return e, err
	}
	s.Dropped = Dropped{}
	return WithStored(e, s)
}

// MountDirs adds to what is known, store by store, in which directories an event says that memory stores are files.
func MountDirs(e stead.Event, known map[string][]string) error {
	add := func(stores []Mount) {
		for _, m := range stores {
			if !slices.Contains(known[m.Store], m.Dir) {
				known[m.Store] = append(known[m.Store], m.Dir)
			}
		}
	}
	switch e.Kind {
	case KindSessionCreated:
		p, err := Decode[Created](e)
		if err == nil {
			add(Mounts(&p.Agent.Spec))
		}
		return err
	case KindInputMessage:
		p, err := Decode[Message](e)
		if err == nil && p.Response != nil {
			add(Mounts(&p.Response.Spec))
		}
		return err
	}
	return nil
}
