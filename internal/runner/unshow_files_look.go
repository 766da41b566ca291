package runner

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// filePass is what a look through a session's journal says of its checkpoints.
type filePass struct {
	eraser   stead.Principal
	wait     time.Duration       // for the workspace to be stored
	files    session.ForgetFiles // that are to go
	stored   []storedEvent
	asked    []stead.Event        // questions about what was stored apart
	copying  bool                 // somebody waits for a copy, and nothing else is done than that needs
	dirs     map[string][]string  // store → where it is files
	forgot   map[string]bool      // memories whose files a workspace was stored without
	askedAt  int64                // when that was asked for last, in Unix milliseconds
	recorded map[stead.Seq]string // event that was written anew → digest of its data, as it is on record
	taken    []string             // memories that are on record there
	clean    map[string]stead.Seq // memory → the last event up to which it is
	by       stead.Principal      // who had that done last, beside this server
	sizes    map[string]int       // of blobs
}

type storedEvent struct {
	event stead.Event
	session.Stored
}

// fileShowing looks through a journal. It finds no files of stores that never were any.
func (r *Runner) fileShowing(ctx context.Context, key stead.SessionKey, names []string) (*filePass, error) {
	p := newFilePass()
	err := r.eachEvent(ctx, key, p.look)
	p.forgets(names)
	return p, err
}

func newFilePass() *filePass {
	return &filePass{dirs: map[string][]string{}, forgot: map[string]bool{}, recorded: map[stead.Seq]string{}, clean: map[string]stead.Seq{}, sizes: map[string]int{}}
}

func (p *filePass) look(e stead.Event) error {
	if err := session.MountDirs(e, p.dirs); err != nil {
		return err
	}
	switch e.Kind {
	case session.KindItemRedacted:
		said, err := session.Decode[session.ItemRedacted](e)
		if err == nil && said.Prefix == "" && said.Index == session.FilesIndex {
			p.tookOut(e.Seq, said)
		}
		return err
	case session.KindInputCheckpoint:
		asks, err := session.Decode[session.CheckpointInput](e)
		if asks.Forget != nil {
			p.askedAt = e.At
		}
		return err
	}
	if e.Kind == session.KindEffectHeld {
		p.asked = append(p.asked, e)
	}
	s, ok, err := session.StoredBy(e)
	if err != nil || !ok {
		return err
	}
	p.stored = append(p.stored, storedEvent{e, s})
	for _, name := range s.Forgot {
		p.forgot[name] = true
	}
	for _, b := range slices.Concat(s.Blobs, s.Dropped.Blobs) {
		p.sizes[b.Digest] = b.Bytes
	}
	return nil
}

// tookOut notes what is on record.
func (p *filePass) tookOut(at stead.Seq, said session.ItemRedacted) {
	for _, was := range said.Events {
		p.recorded[was.Seq] = was.SHA256
	}
	for _, name := range said.Memories {
		if !slices.Contains(p.taken, name) {
			p.taken = append(p.taken, name)
		}
		p.clean[name] = max(p.clean[name], min(said.Upto, at)) // whoever wrote it knows of nothing behind it
	}
	if said.By.Kind != stead.PrincipalNode {
		p.by = said.By
	}
}

// forgets says which memories' files are to go, once all events were looked at.
func (p *filePass) forgets(names []string) {
	for _, name := range names {
		store, _, _ := strings.Cut(name, "/")
		if in := p.dirs[store]; len(in) > 0 {
			p.files.Memories, p.files.Dirs = append(p.files.Memories, name), append(p.files.Dirs, in...)
		}
	}
	slices.Sort(p.files.Dirs)
	p.files.Dirs = slices.Compact(p.files.Dirs)
}

// left reports whether a workspace may still hold some of it: none was stored without.
func (p *filePass) left() bool {
	return slices.ContainsFunc(p.files.Memories, func(name string) bool { return !p.forgot[name] })
}

// done reports whether it is on record that all checkpoints are without these memories, as they are now: then none of them is read again.
func (p *filePass) done() bool {
	behind := func(name string) bool { return p.clean[name] < p.upto() }
	other := func(s storedEvent) bool {
		on, is := p.recorded[s.event.Seq]
		return is && on != digestOf(s.event.Data)
	}
	return p.onRecord() && !slices.ContainsFunc(p.files.Memories, behind) && !slices.ContainsFunc(p.stored, other)
}

// onRecord reports whether all that was written anew, and may have dropped something, is.
func (p *filePass) onRecord() bool {
	return !slices.ContainsFunc(p.stored, func(s storedEvent) bool { _, is := p.recorded[s.event.Seq]; return s.Dropped.At > 0 && !is })
}

// drops reports whether blobs are named that are old enough later.
func (p *filePass) drops() bool {
	return slices.ContainsFunc(p.stored, func(s storedEvent) bool { return s.Dropped.At > 0 })
}

// upto is the last event that brings a checkpoint; 0: there is none.
func (p *filePass) upto() stead.Seq {
	if len(p.stored) == 0 {
		return 0
	}
	return p.stored[len(p.stored)-1].event.Seq
}
