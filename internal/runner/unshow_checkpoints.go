package runner

import (
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// Checkpoints that others take the places of, and the events that name them.

// withoutFiles makes the checkpoints without them, and says which events are to be written anew, and what is to be said about that: nothing
// where nothing is left of it.
func (r *Runner) withoutFiles(ctx context.Context, key stead.SessionKey, p *filePass) ([]journal.Change, []stead.Event, error) {
	var digests []string
	for _, s := range p.stored {
		if !s.Apart && !slices.Contains(digests, s.Checkpoint.Digest) {
			digests = append(digests, s.Checkpoint.Digest)
		}
	}
	forget := r.forgetting(&p.files)
	made, err := r.cfg.Environments.Rewrite(ctx, key, digests, *forget)
	if err != nil {
		return nil, nil, err
	}
	with, needed := map[string]environment.Rewritten{}, map[string]bool{}
	for i, m := range made {
		with[digests[i]] = m
		for _, d := range m.Needs {
			needed[d] = true
		}
	}
	w := rewriting{p: p, counted: map[string]bool{}}
	sums, named := session.Sums{May: forget.May, Moved: map[string]environment.Checkpoint{}}, map[string]bool{}
	for digest, m := range with {
		sums.Moved[digest] = m.Checkpoint
	}
	for _, s := range p.stored {
		next, took := s.event, taken{}
		if m, kept := with[s.Checkpoint.Digest]; kept { // else it was stored apart, and is no checkpoint: see removeApart
			if next, took, err = r.replaced(ctx, key, p, s, m, needed, named); err != nil {
				return nil, nil, err
			}
		}
		if err := w.event(s.event, next, sums, s.Stored, took); err != nil {
			return nil, nil, err
		}
	}
	for _, e := range p.asked {
		if err := w.event(e, e, sums, session.Stored{}, taken{}); err != nil {
			return nil, nil, err
		}
	}
	if len(w.again) == 0 {
		return nil, nil, nil
	}
	by, err := r.mayUnshow(ctx, key, p.eraser)
	if err != nil {
		return nil, nil, err
	}
	event, err := r.withoutEvent(by, p, w.again, w.files, w.blobs)
	return w.changes, []stead.Event{event}, err
}

// rewriting are the events that are written anew, and those that were and are not on record.
type rewriting struct {
	p       *filePass
	changes []journal.Change
	again   []session.RedactedEvent
	counted map[string]bool // digests of checkpoints whose files were
	taken
}

// taken is what an event that is written anew takes out.
type taken struct {
	blobs int // that it drops
	files int // of its checkpoint
}

// event takes in what becomes of one.
func (w *rewriting) event(was, next stead.Event, sums session.Sums, s session.Stored, took taken) (err error) {
	has := false
	if !w.p.copying { // of what somebody may be asked about still
		if next, has, err = sums.Without(next); err != nil {
			return err
		}
	}
	is := digestOf(next.Data)
	if on, known := w.p.recorded[was.Seq]; string(next.Data) != string(was.Data) {
		w.changes = append(w.changes, journal.Change{Seq: was.Seq, Old: was.Data, New: next.Data})
	} else if known && on == is || !known && s.Dropped.At == 0 && !has {
		return nil
	} else if !known { // whoever changed it died
		took = taken{len(s.Dropped.Blobs), s.Dropped.Files}
	}
	w.blobs += took.blobs
	if !w.counted[s.Checkpoint.Digest] {
		w.files, w.counted[s.Checkpoint.Digest] = w.files+took.files, true
	}
	w.again = append(w.again, session.RedactedEvent{Seq: was.Seq, Bytes: len(was.Data), SHA256: is})
	return nil
}

// replaced is the event of a checkpoint with the one that took its place, and what that takes out. It names all that is needed and that no event
// before it names. What it drops, and that it was written anew at all, it says itself, until that is on record and over.
func (r *Runner) replaced(ctx context.Context, key stead.SessionKey, p *filePass, s storedEvent, with environment.Rewritten, needed, named map[string]bool) (stead.Event, taken, error) {
	next, took := s.Stored, taken{files: with.Files}
	if with.Checkpoint.Digest != s.Checkpoint.Digest {
		next.Checkpoint.Digest, next.Checkpoint.Files, next.Checkpoint.Bytes = with.Checkpoint.Digest, with.Checkpoint.Files, with.Checkpoint.Bytes
	}
	if !s.Apart { // else it is kept by an event behind it, which names what it needs
		var err error
		if took.blobs, err = r.rename(ctx, key, p, &next, s, with.Needs, needed, named); err != nil {
			return s.event, taken{}, err
		}
	}
	if next.Checkpoint == s.Checkpoint && took.blobs == 0 && slices.Equal(next.Blobs, s.Blobs) {
		return s.event, taken{}, nil
	}
	next.Dropped.At, next.Dropped.Files = r.now(), s.Dropped.Files+took.files
	out, err := session.WithStored(s.event, next)
	return out, took, err
}

// rename has an event name the blobs that are needed, and apart from them those that it named before; it says how many these are.
func (r *Runner) rename(ctx context.Context, key stead.SessionKey, p *filePass, next *session.Stored, s storedEvent, needs []string, needed, named map[string]bool) (dropped int, err error) {
	next.Blobs = nil
	old := slices.Clone(s.Dropped.Blobs)
	for _, b := range s.Blobs {
		if needed[b.Digest] || s.event.Kind == session.KindEnvironmentPrepared { // that of a layer too, which was there before any memory
			next.Blobs = append(next.Blobs, b)
			named[b.Digest] = true
		} else {
			old, dropped = append(old, b), dropped+1
		}
	}
	for _, d := range needs {
		if named[d] {
			continue
		}
		size, err := r.sizeOf(ctx, key, p, d)
		if err != nil {
			return 0, err
		}
		next.Blobs = append(next.Blobs, stead.Text{Digest: d, Bytes: size})
		named[d] = true
	}
	if dropped > 0 {
		next.Dropped.Blobs = slices.DeleteFunc(old, func(b stead.Text) bool { return needed[b.Digest] })
	}
	return dropped, nil
}

func (r *Runner) sizeOf(ctx context.Context, key stead.SessionKey, p *filePass, digest string) (int, error) {
	if size, known := p.sizes[digest]; known {
		return size, nil
	}
	data, err := r.cfg.Blobs.Get(ctx, key, digest)
	p.sizes[digest] = len(data)
	return len(data), err
}

// lookedThrough says that nothing was found, so that it is not looked for again until what was dropped is old enough.
func (r *Runner) lookedThrough(key stead.SessionKey, p *filePass) ([]stead.Event, error) {
	event, err := r.withoutEvent(asServer(key), p, nil, 0, 0)
	return []stead.Event{event}, err
}

// withoutEvent says what was done.
func (r *Runner) withoutEvent(by stead.Principal, p *filePass, events []session.RedactedEvent, files, blobs int) (stead.Event, error) {
	said := session.ItemRedacted{Index: session.FilesIndex, Events: events, By: by, Memories: p.files.Memories, Files: files, Blobs: blobs}
	if !p.copying {
		said.Upto = p.upto()
	}
	return session.NewEvent(r.now(), session.KindItemRedacted, said)
}

// asServer is who does what is nobody's decision.
func asServer(key stead.SessionKey) stead.Principal {
	return stead.Principal{Project: key.Project, Kind: stead.PrincipalNode, ID: "memory"}
}
