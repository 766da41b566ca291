package runner

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/held"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// MaxWholeBytes is how much the sessions hold together that are forked, exported and imported at a time, and
// so are in memory as a whole. The largest import fits, and little beside it.
const MaxWholeBytes = 768 << 20

// MaxImportTime bounds an import, however slowly it comes: what it has stored by then is still known to be under
// way. See StrayAge.
const MaxImportTime = 12 * time.Hour

// eventOverhead is what an event takes beside its payload, in bytes.
const eventOverhead = 128

// Fork implements session.Service.
func (r *Runner) Fork(ctx context.Context, p stead.Principal, id stead.SessionID, req session.ForkRequest) (session.Session, error) {
	return r.fork(ctx, p, id, req, "")
}

// fork copies a session. To copy is to make one: whoever may not make one of its agent makes none this way. model is what the copy will
// run on; "": what the session does.
func (r *Runner) fork(ctx context.Context, p stead.Principal, id stead.SessionID, req session.ForkRequest, model string) (session.Session, error) {
	source := keyOf(p, id)
	if err := r.allow(ctx, p, policy.SessionWrite, source, ""); err != nil {
		return session.Session{}, err
	}
	if req.Turn == "" && req.Item == "" { // the present, and no moment of the past
		r.storeFirst(ctx, source)
	}
	lease := r.whole.Lease()
	defer lease.Release()
	events, err := r.copyable(ctx, source, lease)
	if err != nil {
		return session.Session{}, err
	}
	read := stead.Seq(len(events))
	if req.Turn != "" {
		if events, err = session.ThroughTurn(source, events, req.Turn); err != nil {
			return session.Session{}, err
		}
	}
	origin := session.Origin{Session: id, Seq: stead.Seq(len(events)), How: session.OriginFork, By: p}
	target := keyOf(p, stead.SessionID(newID(stead.SessionPrefix)))
	copied, err := session.Fork(source, events, req.Item, r.now(), origin, req.Metadata)
	if err != nil {
		return session.Session{}, err
	}
	v, err := folded(target, copied)
	if err != nil {
		return session.Session{}, err
	}
	as := v.Created.Agent
	as.Spec.Model = cmp.Or(model, as.Spec.Model)
	decision, drafts, err := r.allowCreate(ctx, p, target, as, nil, v.Labels())
	if err != nil {
		return session.Session{}, err
	}
	if copied, err = recreated(copied, func(c *session.Created) {
		c.Decision = decision.Recorded()
		if !madeBy(v, p) { // it serves whoever made the copy, and has nobody else's credentials
			c.Principal, c.VaultIDs = p, nil
		}
	}); err != nil {
		return session.Session{}, err
	}
	if err := r.cfg.Blobs.Copy(ctx, source, target, session.Digests(copied)); err != nil {
		r.discard(ctx, target)
		return session.Session{}, fmt.Errorf("copy blobs: %w", err)
	}
	if r.cfg.Memory != nil {
		if err := r.cfg.Memory.Copied(ctx, source, target); err != nil {
			r.discard(ctx, target)
			return session.Session{}, err
		}
	}
	made, err := r.plant(ctx, target, copied, drafts)
	if err == nil {
		err = r.unredacted(ctx, source, target, read)
	}
	if err == nil && r.cfg.Memory != nil { // what was forgotten of it, and looked for in vain while it was not there yet
		err = r.cfg.Memory.Copied(ctx, source, target)
	}
	return made, err
}

// unredacted takes a copy back whose source was redacted, or deleted, while it was made: whoever did that did not see it.
func (r *Runner) unredacted(ctx context.Context, source, target stead.SessionKey, read stead.Seq) error {
	for after := read; ; {
		events, err := r.cfg.Store.Read(ctx, source, journal.ReadOptions{After: after})
		if err == nil && !slices.ContainsFunc(events, func(e stead.Event) bool { return session.Stale(e, read) }) {
			if len(events) < stead.MaxReadEvents {
				return nil
			}
			after = events[len(events)-1].Seq
			continue
		}
		if err != nil && stead.KindOf(err) != stead.KindNotFound {
			return err // the copy stays: nobody knows
		}
		if err == nil {
			err = stead.Errorf(stead.KindConflict, "something in session %s was redacted while it was copied; copy it again", source.Session)
		}
		if gone := r.cfg.Store.Delete(context.WithoutCancel(ctx), target); gone != nil {
			return gone
		}
		r.forget(target)
		r.discard(ctx, target)
		return err
	}
}

func folded(key stead.SessionKey, events []stead.Event) (*session.View, error) {
	v := session.NewView(key)
	for _, e := range events {
		if err := v.Apply(e); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// plant stores the events of a new session that has nothing to do.
func (r *Runner) plant(ctx context.Context, key stead.SessionKey, events []stead.Event, drafts [][]byte) (session.Session, error) {
	v, err := folded(key, events)
	if err != nil {
		return session.Session{}, err
	}
	_, err = r.cfg.Store.Send(ctx, key, journal.Input{
		Create: &journal.Creation{Agent: v.Created.Agent.ID, CreatedAt: v.CreatedAt}, Events: events, If: -1, Quiet: true, Audit: drafts,
		Update: &journal.Listing{Status: v.Status(), Metadata: v.Created.Metadata, LastActive: v.LastActive, Environment: environmentType(v)},
	})
	if stead.KindOf(err) == stead.KindUnavailable {
		// Whether it was stored is not known, so its blobs stay, unless the store can say.
		if head, herr := r.cfg.Store.Head(ctx, key); herr == nil && head.Tail >= v.Tail {
			return v.Session(), nil
		}
		return session.Session{}, err
	}
	if err != nil {
		r.discard(ctx, key)
		return session.Session{}, err
	}
	return v.Session(), nil
}

// allEvents reads a whole session; KindTooLarge above stead.MaxImportEvents. What it holds is taken from the
// lease; nil: nobody counts.
func (r *Runner) allEvents(ctx context.Context, key stead.SessionKey, lease *held.Lease) ([]stead.Event, error) {
	head, err := r.cfg.Store.Head(ctx, key)
	if err != nil {
		return nil, err
	}
	if head.Tail > stead.MaxImportEvents {
		return nil, stead.Errorf(stead.KindTooLarge, "session %s has %d events; a fork or export takes at most %d", key.Session, head.Tail, stead.MaxImportEvents)
	}
	var all []stead.Event
	for after := stead.Seq(0); after < head.Tail; {
		events, err := r.cfg.Store.Read(ctx, key, journal.ReadOptions{After: after, Limit: int(min(head.Tail-after, stead.MaxReadEvents))})
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			return nil, stead.NotFound("session", string(key.Session))
		}
		if lease != nil {
			if err := lease.Take(sizeOf(events)); err != nil {
				return nil, err
			}
		}
		all = append(all, events...)
		after = events[len(events)-1].Seq
	}
	return all, nil
}

func sizeOf(events []stead.Event) (bytes int) {
	for _, e := range events {
		bytes += len(e.Data) + eventOverhead
	}
	return bytes
}

// Export implements session.Service.
func (r *Runner) Export(ctx context.Context, p stead.Principal, id stead.SessionID, w io.Writer) error {
	key := keyOf(p, id)
	if err := r.allow(ctx, p, policy.SessionRead, key, ""); err != nil {
		return err
	}
	r.storeFirst(ctx, key)
	lease := r.whole.Lease()
	defer lease.Release()
	events, err := r.copyable(ctx, key, lease)
	if err != nil {
		return err
	}
	x := session.NewExporter(w, key, len(events), r.now())
	for _, e := range events {
		if err := x.Event(e); err != nil {
			return err
		}
	}
	for _, digest := range session.Digests(events) {
		if err := r.exportBlob(ctx, x, key, digest); err != nil {
			return err
		}
	}
	return x.Close()
}

func (r *Runner) exportBlob(ctx context.Context, x *session.Exporter, key stead.SessionKey, digest string) error {
	from, err := r.cfg.Blobs.Open(ctx, key, digest)
	if err != nil {
		return fmt.Errorf("export blob %s: %w", digest, err)
	}
	defer from.Close()
	return x.BlobFrom(digest, from)
}

// Import implements session.Service.
func (r *Runner) Import(ctx context.Context, p stead.Principal, in io.Reader) (session.Session, error) {
	key := keyOf(p, stead.SessionID(newID(stead.SessionPrefix)))
	refused := r.allow(ctx, p, policy.SessionCreate, stead.SessionKey{}, "import")
	if refused != nil && !policy.Wants(refused) {
		return session.Session{}, refused
	}
	ctx, cancel := context.WithTimeout(ctx, MaxImportTime)
	defer cancel()
	lease := r.whole.Lease()
	defer lease.Release()
	header, events, err := session.ReadExport(in, lease.Take, func(_ string, data []byte) error {
		_, err := r.cfg.Blobs.Put(ctx, key, data)
		return err
	})
	if err == nil {
		source := stead.SessionKey{Project: header.Project, Session: header.Session}
		origin := session.Origin{Session: header.Session, Seq: stead.Seq(len(events)), How: session.OriginImport, By: p}
		events, err = session.Fork(source, events, "", r.now(), origin, nil)
	}
	var drafts [][]byte
	if err == nil {
		events, drafts, err = r.adopt(ctx, p, key, events)
	}
	if err == nil && refused != nil { // all of it was read by now: see whether somebody has approved it
		if _, err = io.Copy(io.Discard, in); err == nil { // to its end, of which the last line is not always the last byte
			err = r.allow(ctx, p, policy.SessionCreate, stead.SessionKey{}, "import")
		}
	}
	if err == nil && ctx.Err() != nil {
		err = stead.Wrap(stead.KindUnavailable, ctx.Err(), "the import was cut off, or took longer than %s", MaxImportTime)
	}
	if err != nil {
		r.discard(ctx, key)
		return session.Session{}, err
	}
	return r.plant(ctx, key, events, drafts)
}

func environmentType(v *session.View) string {
	if v.Environment == nil {
		return ""
	}
	return v.Environment.Setup.Type
}
