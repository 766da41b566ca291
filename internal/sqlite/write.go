package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// Send implements journal.Store.
func (s *Store) Send(ctx context.Context, key stead.SessionKey, in journal.Input) (journal.Receipt, error) {
	bytes, err := checkInput(in)
	if err != nil {
		return journal.Receipt{}, err
	}
	var r journal.Receipt
	err = s.do(ctx, &op{bytes: bytes, write: func(g *group) (err error) {
		r, err = g.send(key, in)
		return err
	}})
	if err != nil {
		return journal.Receipt{}, err
	}
	return r, nil
}

func checkInput(in journal.Input) (bytes int, err error) {
	if len(in.Events) == 0 && in.Create == nil {
		return 0, stead.Invalid("events", "a send without events must create its session")
	}
	if len(in.Key) > stead.MaxIdempotencyKeyBytes {
		return 0, stead.Invalid("idempotency_key", "the idempotency key has %d bytes; the limit is %d", len(in.Key), stead.MaxIdempotencyKeyBytes)
	}
	most := stead.MaxBatchEvents
	if in.Create != nil {
		most = stead.MaxImportEvents
	}
	if err := journal.CheckAudit(in.Audit); err != nil {
		return 0, err
	}
	return checkEvents(in.Events, most)
}

func checkEvents(events []stead.Event, most int) (bytes int, err error) {
	if len(events) > most {
		return 0, stead.Errorf(stead.KindTooLarge, "%d events at once are more than the limit of %d", len(events), most)
	}
	for i := range events {
		n := len(events[i].Data)
		if n > stead.MaxEventBytes {
			return 0, stead.Errorf(stead.KindTooLarge, "an event of %d bytes is larger than the limit of %d bytes", n, stead.MaxEventBytes)
		}
		bytes += n
	}
	return bytes, nil
}

func (g *group) send(key stead.SessionKey, in journal.Input) (journal.Receipt, error) {
	scope := string(key.Session)
	if in.Create != nil {
		scope = "" // the project's creations
	}
	if in.Key != "" {
		r, err := g.receipt(key.Project, scope, in)
		if err != nil || r.Replayed {
			return r, err
		}
	}
	var records *auditLog
	if len(in.Audit) > 0 {
		var err error
		if records, err = g.auditLog(key.Project); err != nil {
			return journal.Receipt{}, err
		}
	}
	h, err := g.sendHead(key, in)
	if err != nil {
		return journal.Receipt{}, err
	}
	r := journal.Receipt{Session: key.Session, First: h.tail + 1, Last: h.tail + stead.Seq(len(in.Events))}
	if in.Key != "" {
		if _, err := g.exec("store idempotency key", g.c.st.insertReceipt, string(key.Project), scope, in.Key, in.Digest, string(key.Session), int64(r.First), int64(r.Last)); err != nil {
			return r, err
		}
	}
	if records != nil {
		records.extend(in.Audit)
	}
	g.insert(h, in.Events)
	if in.Update != nil {
		h.listing = in.Update
	}
	if !in.Quiet && len(in.Events) > 0 {
		g.makeDue(h)
	}
	return r, nil
}

// receipt looks a key up; the receipt is Replayed when it was there.
func (g *group) receipt(project stead.ProjectID, scope string, in journal.Input) (r journal.Receipt, err error) {
	var digest string
	err = g.c.st.receipt.QueryRow(string(project), scope, in.Key).Scan(&digest, &r.Session, &r.First, &r.Last)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return r, nil
	case err != nil:
		return r, failed(err, "read idempotency key")
	case digest != in.Digest:
		return journal.Receipt{}, stead.Errorf(stead.KindConflict, "the idempotency key was used for another request")
	}
	r.Replayed = true
	return r, nil
}

// sendHead returns the head to append input to, made if the input creates its session.
func (g *group) sendHead(key stead.SessionKey, in journal.Input) (*head, error) {
	h, err := g.head(key)
	if err != nil {
		return nil, err
	}
	if in.Create == nil {
		if h == nil {
			return nil, stead.NotFound("session", string(key.Session))
		}
		if in.If >= 0 && in.If != h.tail {
			return nil, errTail(key, h.tail)
		}
		return h, nil
	}
	if h != nil {
		return nil, stead.Errorf(stead.KindConflict, "session %s exists already", key.Session)
	}
	if in.If > 0 {
		return nil, errTail(key, 0)
	}
	res, err := g.exec("create session", g.c.st.insertSession, string(key.Project), string(key.Session), string(in.Create.Agent), in.Create.CreatedAt, in.Key, 0)
	if err != nil {
		return nil, err
	}
	h = &head{made: in.Key}
	if h.id, err = res.LastInsertId(); err != nil {
		return nil, failed(err, "create session")
	}
	g.staged[key] = h
	return h, nil
}

// makeDue says that there is unread input. While the holder works on a session its due time stays:
// it is due already, for whoever comes after.
func (g *group) makeDue(h *head) {
	now := g.c.s.now().UnixMilli()
	if h.holder == "" || !g.c.s.lives(h.holder) {
		g.wakes = true
	}
	if h.due == 0 || h.due > now {
		h.due, h.dirty = max(now, 1), true
	}
}

// Append implements journal.Store.
func (s *Store) Append(ctx context.Context, lease journal.Lease, b journal.Batch) error {
	bytes, err := checkEvents(b.Events, stead.MaxBatchEvents)
	if err != nil {
		return err
	}
	for i := range b.Events {
		if want := b.After + stead.Seq(i) + 1; b.Events[i].Seq != want {
			return stead.Invalid("events", "event %d of the batch has seq %d where %d must stand", i, b.Events[i].Seq, want)
		}
	}
	if err := journal.CheckUsage(b.Usage); err != nil {
		return err
	}
	if err := journal.CheckAudit(b.Audit); err != nil {
		return err
	}
	return s.do(ctx, &op{bytes: bytes, write: func(g *group) error { return g.append(lease, b) }})
}

func (g *group) append(lease journal.Lease, b journal.Batch) error {
	h, err := g.head(lease.Key)
	if err != nil {
		return err
	}
	if h == nil || h.holder != lease.Node || h.epoch != lease.Epoch || h.holder == "" {
		return stead.Errorf(stead.KindFenced, "node %s lost its lease on session %s (epoch %d)", lease.Node, lease.Key, lease.Epoch)
	}
	if h.tail != b.After {
		return errTail(lease.Key, h.tail)
	}
	if len(b.Audit) > 0 {
		records, err := g.auditLog(lease.Key.Project)
		if err != nil {
			return err
		}
		records.extend(b.Audit) // an error of what follows fails the whole group
	}
	if err := g.queueUsage(lease.Key.Project, b.Usage); err != nil {
		return err
	}
	g.insert(h, b.Events)
	if b.Update != nil {
		h.listing = b.Update
	}
	switch {
	case b.Release:
		h.holder, h.due, h.dirty = "", max(b.Wake, 0), true
		g.wakes = g.wakes || b.Wake > 0 // whoever sleeps until the next wake time must look again
	case h.due > 0: // not due for others any more, until this process ends
		h.due, h.dirty = -h.due, true
	}
	return nil
}

func errTail(key stead.SessionKey, tail stead.Seq) error {
	return stead.Errorf(stead.KindTail, "session %s has %d events", key, tail)
}

// Delete implements journal.Directory.
func (s *Store) Delete(ctx context.Context, key stead.SessionKey) error {
	return s.do(ctx, &op{write: func(g *group) error { return g.delete(key) }})
}

func (g *group) delete(key stead.SessionKey) error {
	h, err := g.head(key)
	if err != nil {
		return err
	}
	if h == nil {
		return stead.NotFound("session", string(key.Session))
	}
	if err := g.flush(); err != nil { // what this very group appended goes, too
		return err
	}
	logs, err := g.logsOf(h.id)
	if err != nil {
		return err
	}
	project := string(key.Project)
	steps := []struct {
		st   *sql.Stmt
		args []any
	}{
		{g.c.st.deleteLog, []any{logs}},
		{g.c.st.deleteExtents, []any{h.id}},
		{g.c.st.deleteSnapshot, []any{h.id}},
		{g.c.st.deleteKeys, []any{project, string(key.Session)}},
		{g.c.st.deleteMade, []any{project, h.made}},
		{g.c.st.deleteSession, []any{h.id}},
	}
	for _, step := range steps {
		if _, err := g.exec("delete session "+key.String(), step.st, step.args...); err != nil {
			return err
		}
	}
	g.staged[key] = &head{gone: true}
	if g.gone == nil {
		g.gone = map[int64]bool{}
	}
	g.gone[h.id] = true
	return nil
}
