package runner

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// What is forgotten of memory stores that are files goes from the workspace, from what is left of it on this disk, and from its checkpoints.
//
//	the workspace may hold it ─▶ input.checkpoint: its holder takes the files out and stores it
//	checkpoints have it       ─▶ others take their places: events are written anew, and still name the old blobs, apart
//	an hour later             ─▶ nobody builds on the old ones any more: they are removed, and then named no more
//
// A node that dies in between leaves the mark of what is forgotten due, and each step finds what the one before has done.

// forgetAgain is when a workspace that could not be stored is asked for once more.
const forgetAgain = 5 * time.Minute

// forgetting is what a host is told of files that must be forgotten; nil: there are none.
func (r *Runner) forgetting(f *session.ForgetFiles) *environment.Forgetting {
	if f == nil || r.cfg.Memory == nil {
		return nil
	}
	out := &environment.Forgetting{Dirs: f.Dirs}
	out.MaxBytes, out.Is = r.cfg.Memory.Forgotten(f.Memories)
	return out
}

// unshowFiles does so with the files of memories. later is when blobs will be old enough to be removed.
func (r *Runner) unshowFiles(ctx context.Context, key stead.SessionKey, what Unshowing) (later time.Duration, err error) {
	for asked := false; ; {
		v, err := r.view(ctx, key)
		if err == nil {
			err = atRest(v)
		}
		if err != nil || !v.Environment.Hosted() || v.Environment.Gone() || r.cfg.Memory == nil {
			return 0, err
		}
		pass, err := r.fileShowing(ctx, key, what.Names)
		pass.eraser, pass.wait = what.Eraser, what.Wait
		if err != nil || len(pass.files.Memories) == 0 {
			return 0, err
		}
		if v.Environment.Action != "" {
			return 0, stead.Errorf(stead.KindConflict, "the environment of session %s is being opened, or stored", key.Session)
		}
		if v.Environment.Apart != nil { // what is asked about is what was shown
			return 0, stead.Errorf(stead.KindConflict, "the workspace of session %s is stored apart, until somebody approves or denies that it is kept", key.Session)
		}
		if r.cfg.Environments == nil {
			return 0, stead.Errorf(stead.KindUnavailable, "this node has no environments, and can't look through checkpoints")
		}
		if wants, err := r.storeWithout(ctx, v, pass, asked); err != nil {
			return 0, err
		} else if wants {
			asked = true
			continue
		}
		if pass.done() {
			return r.droppedFiles(ctx, v, pass)
		}
		changes, event, err := r.withoutFiles(ctx, key, pass)
		if err != nil {
			return 0, err
		}
		if len(changes)+len(event) == 0 {
			if !pass.drops() {
				return r.droppedFiles(ctx, v, pass)
			}
			if event, err = r.lookedThrough(key, pass); err != nil {
				return 0, err
			}
		}
		if err := r.unshow(ctx, key, changes, event); err != nil {
			return 0, err
		}
	}
}

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

// done reports whether it is on record that all checkpoints are without these memories, as they are now: then none of them is read again.
func (p *filePass) done() bool {
	behind := func(name string) bool { return p.clean[name] < p.upto() }
	other := func(s storedEvent) bool {
		on, is := p.recorded[s.event.Seq]
		return is && on != digestOf(s.event.Data)
	}
	return p.onRecord() && !slices.ContainsFunc(p.files.Memories, behind) && !slices.ContainsFunc(p.stored, other)
}

// left reports whether a workspace may still hold some of it: none was stored without.
func (p *filePass) left() bool {
	return slices.ContainsFunc(p.files.Memories, func(name string) bool { return !p.forgot[name] })
}

// storeWithout has the workspace stored without the files where it is open, or was left with what no checkpoint has; of one that is at
// rest it notes that they go before anything runs in it again. It reports whether that was asked for.
func (r *Runner) storeWithout(ctx context.Context, v *session.View, p *filePass, asked bool) (bool, error) {
	e := v.Environment
	if e.Residence == 0 || v.Failed != nil || !p.left() {
		return false, nil // nothing ran in it, or will; or that was done
	}
	open := e.Status == session.EnvironmentConnectedNow || e.Unstocked()
	pending := e.Forget != nil && !slices.ContainsFunc(p.files.Memories, func(name string) bool { return !p.forgot[name] && !slices.Contains(e.Forget.Memories, name) })
	if !open && pending {
		return false, nil
	}
	if asked || open && pending && r.now()-p.askedAt < forgetAgain.Milliseconds() {
		return false, stead.Errorf(stead.KindConflict, "the workspace of session %s is not stored yet without what is forgotten", v.Key.Session)
	}
	if _, err := r.mayUnshow(ctx, v.Key, p.eraser); err != nil {
		return false, err
	}
	ev, err := session.NewEvent(r.now(), session.KindInputCheckpoint, session.CheckpointInput{Forget: &p.files})
	if err != nil {
		return false, err
	}
	if _, err := r.cfg.Store.Send(ctx, v.Key, journal.Input{Events: []stead.Event{ev}, If: v.Tail, Quiet: !open}); err != nil {
		if stead.KindOf(err) == stead.KindTail {
			err = stead.Wrap(stead.KindConflict, err, "session %s is in use", v.Key.Session)
		}
		return false, err
	}
	r.arrived(v.Key)
	if !open {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	if err := r.untilStored(ctx, v.Key); err != nil {
		return false, stead.Wrap(stead.KindConflict, err, "the workspace of session %s could not be stored without what is forgotten", v.Key.Session)
	}
	return true, nil
}

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

// lookedThrough says that nothing was found, so that it is not looked for again until what was dropped is old enough.
func (r *Runner) lookedThrough(key stead.SessionKey, p *filePass) ([]stead.Event, error) {
	event, err := r.withoutEvent(asServer(key), p, nil, 0, 0)
	return []stead.Event{event}, err
}

// asServer is who does what is nobody's decision.
func asServer(key stead.SessionKey) stead.Principal {
	return stead.Principal{Project: key.Project, Kind: stead.PrincipalNode, ID: "memory"}
}

// withoutEvent says what was done.
func (r *Runner) withoutEvent(by stead.Principal, p *filePass, events []session.RedactedEvent, files, blobs int) (stead.Event, error) {
	said := session.ItemRedacted{Index: session.FilesIndex, Events: events, By: by, Memories: p.files.Memories, Files: files, Blobs: blobs}
	if !p.copying {
		said.Upto = p.upto()
	}
	return session.NewEvent(r.now(), session.KindItemRedacted, said)
}

// taken is what an event that is written anew takes out.
type taken struct {
	blobs int // that it drops
	files int // of its checkpoint
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

// droppedFiles ends it: what is left on this disk goes, and, when nobody can build on them any more, the blobs of the checkpoints that were
// replaced.
func (r *Runner) droppedFiles(ctx context.Context, v *session.View, p *filePass) (later time.Duration, err error) {
	if p.left() && v.Environment.Status != session.EnvironmentConnectedNow {
		if err := r.cfg.Environments.Evict(ctx, v.Key, func() (bool, error) { return r.unopened(ctx, v) }); err != nil {
			return 0, err
		}
	}
	young, dropped := int64(0), map[string]bool{}
	for _, s := range p.stored {
		young = max(young, s.Dropped.At)
		for _, b := range s.Dropped.Blobs {
			dropped[b.Digest] = true
		}
	}
	if young == 0 {
		return r.removeApart(ctx, v.Key, p)
	}
	if later = time.UnixMilli(young).Add(youngFor).Sub(r.cfg.Now()); later > 0 {
		return later, nil
	}
	if gone, err := r.removeDropped(ctx, v.Key, dropped); err != nil || !gone {
		return youngFor, err
	}
	if err := r.undrop(ctx, v.Key, p); err != nil {
		return 0, err
	}
	return r.removeApart(ctx, v.Key, p)
}

// removeApart removes what was stored apart and not kept.
func (r *Runner) removeApart(ctx context.Context, key stead.SessionKey, p *filePass) (later time.Duration, err error) {
	apart := map[string]bool{}
	for _, s := range p.stored {
		for _, b := range s.Blobs {
			apart[b.Digest] = apart[b.Digest] || s.Apart
		}
	}
	maps.DeleteFunc(apart, func(_ string, is bool) bool { return !is })
	if len(apart) == 0 {
		return 0, nil
	}
	if gone, err := r.removeDropped(ctx, key, apart); err != nil || !gone {
		return youngFor, err
	}
	return 0, nil
}

// unopened reports whether nobody has opened an environment since it was looked at, or is about to.
func (r *Runner) unopened(ctx context.Context, was *session.View) (bool, error) {
	v, err := r.view(ctx, was.Key)
	if err != nil {
		return false, err
	}
	e := v.Environment
	return e.Status != session.EnvironmentConnectedNow && e.Action == "" && e.Residence == was.Environment.Residence && (v.Failed != nil || !e.Unstocked()), nil
}

// removeDropped removes blobs that were dropped, but for those that something needs all the same; false: some are too young for that.
func (r *Runner) removeDropped(ctx context.Context, key stead.SessionKey, dropped map[string]bool) (gone bool, err error) {
	olderThan := r.cfg.Now().Add(-blob.Grace)
	events, err := r.allEvents(ctx, key, nil)
	if err != nil {
		return false, err
	}
	for _, d := range session.Digests(events) {
		delete(dropped, d)
	}
	if _, err := r.cfg.Blobs.Sweep(ctx, key, func(d string) bool { return !dropped[d] }, olderThan); err != nil {
		return false, err
	}
	for d := range dropped {
		switch b, err := r.cfg.Blobs.Open(ctx, key, d); {
		case err == nil:
			b.Close()
			return false, nil
		case stead.KindOf(err) != stead.KindNotFound:
			return false, err
		}
	}
	return true, nil
}

// undrop has the events name them no more.
func (r *Runner) undrop(ctx context.Context, key stead.SessionKey, p *filePass) error {
	var changes []journal.Change
	var events []session.RedactedEvent
	for _, s := range p.stored {
		if s.Dropped.At == 0 {
			continue
		}
		with := s.Stored
		with.Dropped = session.Dropped{}
		next, err := session.WithStored(s.event, with)
		if err != nil {
			return err
		}
		changes = append(changes, journal.Change{Seq: s.event.Seq, Old: s.event.Data, New: next.Data})
		events = append(events, session.RedactedEvent{Seq: s.event.Seq, Bytes: len(s.event.Data), SHA256: digestOf(next.Data)})
	}
	event, err := r.withoutEvent(asServer(key), p, events, 0, 0) // that nothing of it is named is nobody's decision
	if err != nil {
		return err
	}
	return r.unshow(ctx, key, changes, []stead.Event{event})
}
