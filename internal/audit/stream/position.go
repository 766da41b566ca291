package stream

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// holdFor is how long a node has a position since it moved it last: longer than a batch takes.
const holdFor = 3 * SendTimeout

const kind document.Kind = "audit_stream"

// position is how far a stream has got in a project's log. Who changes the document has the log to send:
// of two nodes one does, since a document changes over the version that was read.
type position struct {
	Sent   int64  `json:"sent"`             // the place of the last record that was taken
	Signed int64  `json:"signed,omitempty"` // size of the last checkpoint that was taken
	Node   string `json:"node,omitempty"`   // that sends; "": nobody
	Until  int64  `json:"until,omitempty"`  // Unix milliseconds, when another may

	version int64 // of the document; 0: there is none
}

func (f *feed) key(project stead.ProjectID) document.Key {
	return document.Key{Project: project, Kind: kind, ID: f.Name}
}

// hold reads a position and takes it for this node; false: another has it.
func (f *feed) hold(ctx context.Context, project stead.ProjectID) (position, bool, error) {
	c := &f.streamer.cfg
	now := c.Now().UnixMilli()
	switch p, had := f.known[project]; {
	case had && p.Node == c.Node && now < p.Until-SendTimeout.Milliseconds():
		return p, true, nil
	case had && p.Node != c.Node && now < p.Until:
		return p, false, nil // it is looked again when it may be free
	}
	d, err := c.Positions.GetDocument(ctx, f.key(project))
	var p position
	switch {
	case stead.KindOf(err) == stead.KindNotFound:
	case err != nil:
		return p, false, err
	default:
		if err := json.Unmarshal(d.Data, &p); err != nil {
			return p, false, stead.Wrap(stead.KindInternal, err, "the position of the audit stream %s can't be read", f.Name)
		}
	}
	p.version = d.Version
	f.known[project] = p
	if p.Node != "" && p.Node != c.Node && now < p.Until {
		return p, false, nil
	}
	return f.move(ctx, project, p)
}

// move stores a position, held by this node from now on; false: another has it by now.
func (f *feed) move(ctx context.Context, project stead.ProjectID, p position) (position, bool, error) {
	c := &f.streamer.cfg
	p.Node, p.Until = c.Node, c.Now().Add(holdFor).UnixMilli()
	stored, err := f.store(ctx, project, p)
	if stead.KindOf(err) == stead.KindConflict {
		delete(f.known, project)
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	f.known[project] = stored
	return stored, true, nil
}

func (f *feed) store(ctx context.Context, project stead.ProjectID, p position) (position, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return p, stead.Wrap(stead.KindInternal, err, "a position can't be written")
	}
	c := &f.streamer.cfg
	now := c.Now().UnixMilli()
	d := document.Document{Key: f.key(project), Version: p.version + 1, CreatedAt: now, UpdatedAt: now, Data: data}
	if p.version == 0 {
		d, err = c.Positions.CreateDocument(ctx, d, "", "")
	} else {
		d, err = c.Positions.UpdateDocument(ctx, d)
	}
	p.version = d.Version
	return p, err
}

// release lets other nodes go on at once.
func (f *feed) release(ctx context.Context) error {
	var errs []error
	for project, p := range f.known {
		if p.Node != f.streamer.cfg.Node || p.Until < f.streamer.cfg.Now().UnixMilli() {
			continue
		}
		p.Node, p.Until = "", 0
		if _, err := f.store(ctx, project, p); err != nil && stead.KindOf(err) != stead.KindConflict {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
