package approval

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// Blank takes what is shown of requests out of the questions that of says yes to: by the session that they are about, and by the id of
// who asks. Which request it was is still known by its digest. One that is open is over: nobody can see any more what would be
// approved, and the same request is asked about anew. What was approved before, was seen. It is the same to do it again.
func (d *Desk) Blank(ctx context.Context, project stead.ProjectID, of func(id stead.SessionID, user string) bool) error {
	query := document.Query{Project: project, Kind: kind, Limit: stead.MaxPageSize}
	for {
		page, err := d.cfg.Documents.ListDocuments(ctx, query)
		if err != nil {
			return err
		}
		for _, doc := range page {
			query.After = doc.ID
			if err := d.blank(ctx, doc, of); err != nil {
				return err
			}
		}
		if len(page) < query.Limit {
			return nil
		}
	}
}

func (d *Desk) blank(ctx context.Context, doc document.Document, of func(stead.SessionID, string) bool) error {
	for {
		q, err := decode(doc)
		if err != nil {
			return err
		}
		if !of(q.Session, q.By.ID) || q.blanked() && !(q.Erased > 0 && q.lapses(d.cfg.Now().UnixMilli())) {
			return nil
		}
		q.View, q.Whole = json.RawMessage(erased), nil
		if q.Exact != "" {
			q.Pinned = "" // the digest is of Exact
		}
		if q.Status(d.cfg.Now().UnixMilli()) == Open {
			q.Erased = d.cfg.Now().UnixMilli()
		}
		if q.Erased > 0 && q.Pending == nil && q.Lapsed == 0 {
			err = d.lapse(ctx, q, stepErase)
		} else {
			err = d.store(ctx, q)
		}
		switch stead.KindOf(err) {
		case stead.KindConflict: // somebody answers it
			if doc, err = d.cfg.Documents.GetDocument(ctx, doc.Key); err == nil {
				continue
			}
			if stead.KindOf(err) == stead.KindNotFound {
				return nil
			}
		case stead.KindNotFound:
			return nil
		}
		return err
	}
}

// erased is what is shown of a request whose text was erased.
const erased = `"erased"`

// blanked reports whether what it shows was erased.
func (q *Question) blanked() bool { return string(q.View) == erased && q.Whole == nil }
