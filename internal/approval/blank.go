package approval

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// Blank takes what is shown of requests out of the questions that of says yes to: by the session that they are about, and by the id of
// who asks. Which request it was is still known by its digest. One that is open is over: nobody can see any more what would be
// approved, and the same request is asked about anew. What was approved before, was seen. Why people answered goes too, also what somebody
// wrote in answer to others, whom of names without a session. It is the same to do it again.
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
		its := of(q.Session, q.By.ID)
		gone := func(by stead.Principal) bool { return its || of("", by.ID) }
		if p := q.Pending; p != nil && p.Answer.Reason != "" && gone(p.By) { // it would come into the audit log behind us
			if err = d.behind(ctx, q); err == nil {
				doc, err = d.cfg.Documents.GetDocument(ctx, doc.Key)
			}
			if stead.KindOf(err) == stead.KindNotFound {
				return nil
			}
			if err != nil {
				return err
			}
			continue
		}
		unsaid := q.unsay(gone)
		blank := its && (!q.blanked() || q.Erased > 0 && q.lapses(d.cfg.Now().UnixMilli()))
		switch {
		case blank:
			err = d.shut(ctx, q)
		case unsaid:
			err = d.store(ctx, q)
		default:
			return nil
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

// shut takes out what is shown, and ends a question that is open.
func (d *Desk) shut(ctx context.Context, q *Question) error {
	q.View, q.Whole = json.RawMessage(erased), nil
	if q.Exact != "" {
		q.Pinned = "" // the digest is of Exact
	}
	if q.Status(d.cfg.Now().UnixMilli()) == Open {
		q.Erased = d.cfg.Now().UnixMilli()
	}
	if q.Erased > 0 && q.Pending == nil && q.Lapsed == 0 {
		return d.lapse(ctx, q, stepErase)
	}
	return d.store(ctx, q)
}

// unsay takes out why people answered whom of says yes to, and reports whether anybody had said so.
func (q *Question) unsay(of func(by stead.Principal) bool) (changed bool) {
	forget := func(g *Given) {
		if g.Reason != "" && of(g.By) {
			g.Reason, changed = "", true
		}
	}
	for i := range q.Approved {
		forget(&q.Approved[i])
	}
	if q.Denial != nil {
		forget(q.Denial)
	}
	return changed
}

// erased is what is shown of a request whose text was erased.
const erased = `"erased"`

// blanked reports whether what it shows was erased.
func (q *Question) blanked() bool { return string(q.View) == erased && q.Whole == nil }
