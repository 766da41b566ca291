package stream

import (
	"context"
	"errors"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
)

// feed is one stream on this node. One goroutine has it at a time.
type feed struct {
	Stream
	streamer *Streamer
	index    int // among the streamer's
	known    map[stead.ProjectID]position
	refused  map[stead.ProjectID]refusal // that the receiver does not take
	begun    bool                        // it is known from where on it sends
	smaller  int                         // batches have at most so many records; 0: MaxBatchRecords
}

// refusal is a log of which the receiver does not take what comes next, though it may take others'.
type refusal struct {
	pause time.Duration
	until time.Time // then it is tried again
}

func (f *feed) run(ctx context.Context) {
	pause := Every
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		err := f.pass(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			pause = Every
			continue
		}
		f.streamer.cfg.Log.Warn("audit records could not be sent; it is tried again", "stream", f.Name, "err", err, "pause", pause.String())
		pause = min(2*pause, MaxPause)
	}
}

// last sends what is there when the node stops.
func (f *feed) last(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastTimeout)
	defer cancel()
	return f.pass(ctx)
}

// pass sends what is new of every log that the stream takes. What the receiver refuses of one log keeps no other waiting; the error is of a
// receiver that takes nothing.
func (f *feed) pass(ctx context.Context) error {
	if err := f.begin(ctx); err != nil {
		return err
	}
	behind, err := int64(0), error(nil)
	for after := stead.ProjectID(""); ; {
		logs, lerr := f.streamer.cfg.Logs.AuditLogs(ctx, after, audit.MaxRows)
		if lerr != nil {
			return lerr
		}
		for _, l := range logs {
			after = l.Project
			if p := f.known[l.Project]; !f.takes(l.Project) || p.Sent >= l.Size && (f.Format != JSONL || p.Signed >= l.Signed) {
				continue
			}
			if err == nil { // else the receiver does not take any: what follows is counted alone
				err = f.unlessRefused(ctx, l)
			}
			behind += max(l.Size-f.known[l.Project].Sent, 0)
		}
		if len(logs) < audit.MaxRows {
			break
		}
	}
	f.streamer.note(f.index, func(s *Status) { s.Behind, s.Failing = behind, err != nil || len(f.refused) > 0 })
	return err
}

// unlessRefused sends what is new of one log, unless it was refused just now.
func (f *feed) unlessRefused(ctx context.Context, l audit.LogSize) error {
	now, was := f.streamer.cfg.Now(), f.refused[l.Project]
	if now.Before(was.until) {
		return nil
	}
	err := f.project(ctx, l)
	if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrTooLarge) {
		if err == nil {
			delete(f.refused, l.Project)
		}
		return err
	}
	was.pause = min(max(Every, 2*was.pause), MaxPause)
	was.until = now.Add(was.pause)
	if f.refused == nil {
		f.refused = map[stead.ProjectID]refusal{}
	}
	f.refused[l.Project] = was
	f.streamer.cfg.Log.Warn("audit records of a project are refused; they are sent again", "stream", f.Name, "project", l.Project, "err", err, "pause", was.pause.String())
	return nil
}

// begin lets a stream that was never started before pass over what is there.
func (f *feed) begin(ctx context.Context) error {
	if f.begun || !f.FromNow {
		return nil
	}
	c := &f.streamer.cfg
	ctx, cancel := context.WithTimeout(ctx, lastTimeout)
	defer cancel()
	mark := document.Document{Key: document.Key{Project: stead.DefaultProject, Kind: kind, ID: f.Name + ".begun"}, Version: 1, CreatedAt: c.Now().UnixMilli(), Data: []byte("{}")}
	_, err := c.Positions.GetDocument(ctx, mark.Key)
	if stead.KindOf(err) != stead.KindNotFound {
		f.begun = err == nil
		return err
	}
	for after := stead.ProjectID(""); ; {
		logs, err := c.Logs.AuditLogs(ctx, after, audit.MaxRows)
		if err != nil {
			return err
		}
		for _, l := range logs {
			after = l.Project
			if _, err := f.store(ctx, l.Project, position{Sent: l.Size, Signed: l.Signed}); err != nil && stead.KindOf(err) != stead.KindConflict {
				return err
			}
		}
		if len(logs) < audit.MaxRows {
			break
		}
	}
	if _, err = c.Positions.CreateDocument(ctx, mark, "", ""); err != nil && stead.KindOf(err) != stead.KindConflict {
		return err
	}
	f.begun = true
	return nil
}

// project sends what is new of one log, unless another node does.
func (f *feed) project(ctx context.Context, l audit.LogSize) error {
	p, mine, err := f.hold(ctx, l.Project)
	for err == nil && mine && p.Sent < l.Size {
		var b Batch
		if b, err = f.batch(ctx, l.Project, p.Sent); err != nil {
			return err
		}
		if err = f.send(ctx, b); errors.Is(err, ErrTooLarge) && b.rows > 1 {
			f.smaller = b.rows / 2
			err = nil
			continue
		}
		if err != nil {
			return err
		}
		f.smaller = 0
		f.streamer.note(f.index, func(s *Status) { s.Sent += int64(b.rows) })
		p.Sent = b.Last
		p, mine, err = f.move(ctx, l.Project, p)
	}
	for err == nil && mine && p.Signed < l.Signed && f.Format == JSONL {
		var b Batch
		if b, err = f.checkpoints(ctx, l.Project, p); err != nil || len(b.Lines) == 0 {
			return err
		}
		if err = f.send(ctx, b); err == nil {
			p.Signed = b.Last
			p, mine, err = f.move(ctx, l.Project, p)
		}
	}
	return err
}

// maxCheckpoints is how many checkpoints are sent at once: they are short.
const maxCheckpoints = 100

// checkpoints are those that follow, of records that were sent.
func (f *feed) checkpoints(ctx context.Context, project stead.ProjectID, p position) (Batch, error) {
	b := Batch{Stream: f.Name, Project: project, Checkpoints: true}
	notes, err := f.streamer.cfg.Logs.AuditNotes(ctx, project, p.Signed, maxCheckpoints)
	for _, n := range notes {
		if n.Size > p.Sent {
			break
		}
		line, err := audit.CheckpointLine(n)
		if err != nil {
			return b, stead.Wrap(stead.KindInternal, err, "a checkpoint can't be written")
		}
		if b.First == 0 {
			b.First = n.Size
		}
		stands := audit.Record{Seq: n.Size, At: f.streamer.cfg.Now().UnixMilli(), Project: project, Action: audit.ActCheckpoint, Decision: audit.Allow}
		b.Last, b.Records, b.Lines = n.Size, append(b.Records, stands), append(b.Lines, line)
	}
	return b, err
}

func (f *feed) send(ctx context.Context, b Batch) error {
	ctx, cancel := context.WithTimeout(ctx, SendTimeout)
	defer cancel()
	return f.Receiver.Send(ctx, b)
}

// batch reads what follows a place: at least one record, of which there is one.
func (f *feed) batch(ctx context.Context, project stead.ProjectID, after int64) (Batch, error) {
	b := Batch{Stream: f.Name, Project: project, First: after + 1, Last: after}
	limit := MaxBatchRecords
	if f.smaller > 0 {
		limit = f.smaller
	}
	rows, err := f.streamer.cfg.Logs.AuditRows(ctx, audit.Query{Project: project, After: after, Limit: limit})
	if err != nil {
		return b, err
	}
	if len(rows) == 0 {
		return b, stead.Errorf(stead.KindInternal, "record %d of the audit log of %.80q is not there", after+1, project)
	}
	if err := audit.Fill(ctx, f.streamer.cfg.Logs, project, rows); err != nil {
		return b, err
	}
	b.First = rows[0].Seq // those before may have been removed
	size := 0
	for _, row := range rows {
		r, err := audit.Decode(row.Data)
		if err != nil {
			return b, err
		}
		r = r.With(row.Texts)
		lines, err := f.lines(r, row)
		if err != nil {
			return b, err
		}
		for _, line := range lines {
			size += len(line) + 1
		}
		if size > MaxBatchBytes && b.rows > 0 {
			break
		}
		b.Last, b.rows, b.Lines = row.Seq, b.rows+1, append(b.Lines, lines...)
		for range lines {
			b.Records = append(b.Records, r)
		}
	}
	return b, nil
}

// lines are those of a record: the stored one with what people wrote into it behind, or one that has that in it.
func (f *feed) lines(r audit.Record, row audit.Row) ([][]byte, error) {
	if f.Format == OCSF {
		line, err := r.OCSF()
		return [][]byte{line}, err
	}
	lines := [][]byte{row.Data}
	for _, t := range row.Texts {
		if f.Format != JSONL {
			break
		}
		line, err := audit.TextLine(t)
		if err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "what was written into an audit record can't be written")
		}
		lines = append(lines, line)
	}
	return lines, nil
}
