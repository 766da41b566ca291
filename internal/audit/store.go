package audit

import (
	"context"
	"encoding/base64"
	"strconv"

	"github.com/stead-dev/stead"
)

// Row is a stored record.
type Row struct {
	Seq  int64
	Data []byte // the canonical form
	// Texts are those of the record, as far as they are there: see Fill.
	Texts []Text
}

// Query selects rows of one project by their places.
type Query struct {
	Project stead.ProjectID
	After   int64 // place to go on after; 0: from the end that Desc says
	Desc    bool  // newest first
	Limit   int   // 1 … MaxRows
}

// LogSize is how many records a project's log has.
type LogSize struct {
	Project stead.ProjectID
	Size    int64
	Signed  int64 // of the largest checkpoint
}

// MaxRows is the most rows of one page of a store.
const MaxRows = 1000

// Note is a stored checkpoint: see Checkpoint.
type Note struct {
	Size int64
	Text string
}

// Store keeps audit logs. It is safe for concurrent use, by several nodes too.
//
// What it acknowledges is on stable storage. It never changes a record, and removes those alone that PruneAudit names. Errors are
// KindUnavailable, and KindInternal for what is damaged.
type Store interface {
	// AppendAudit adds records to a project's log, all or none: it reads the log's tree, lets Extend
	// give them their places, and stores the rows and the tree, so that of two calls one comes
	// behind the other, whichever node makes them.
	AppendAudit(ctx context.Context, project stead.ProjectID, records []Record) error
	// ChainAudit gives places to drafts that came with the appends of sessions, where that was not done in the append
	// itself. What was acknowledged before it is called is in the logs when it returns.
	ChainAudit(ctx context.Context) error
	// AuditTree is the tree of a project's log; the zero Tree where there is none.
	AuditTree(ctx context.Context, project stead.ProjectID) (Tree, error)
	// AuditLogs returns the logs that have records, in the order of their projects' names behind after, at most limit.
	AuditLogs(ctx context.Context, after stead.ProjectID, limit int) ([]LogSize, error)
	// AuditRows returns a page of a project's records in order of their places.
	AuditRows(ctx context.Context, q Query) ([]Row, error)
	// AuditBase is the tree of the records that were removed; the zero Tree where none were.
	AuditBase(ctx context.Context, project stead.ProjectID) (Tree, error)
	// PruneAudit removes a project's records up to the size of a tree, which becomes its base, and the checkpoints of fewer. It
	// may be called again; a base only grows.
	PruneAudit(ctx context.Context, project stead.ProjectID, base Tree) error
	// AddAuditNote keeps a checkpoint. One of that size that is there already stays.
	AddAuditNote(ctx context.Context, project stead.ProjectID, n Note) error
	// AuditNotes returns a project's checkpoints of more than after records, the smallest first, at most limit.
	AuditNotes(ctx context.Context, project stead.ProjectID, after int64, limit int) ([]Note, error)
	// AuditTexts returns the texts of a project's records that a query takes, in the order of their digests, at most MaxTexts. They came with the
	// records, and go with those that PruneAudit removes.
	AuditTexts(ctx context.Context, project stead.ProjectID, q TextQuery) ([]Text, error)
	// ForgetAuditTexts removes texts, with their salts, and says how many were there. The records stay.
	ForgetAuditTexts(ctx context.Context, project stead.ProjectID, digests []string) (int, error)
	// UnsignedAudit names projects whose log has grown since its last checkpoint, at most limit.
	UnsignedAudit(ctx context.Context, limit int) ([]stead.ProjectID, error)
}

// Extend gives records the places behind a log's tree, and returns their rows, with their texts, and the tree with them.
func Extend(t Tree, project stead.ProjectID, records []Record) ([]Row, Tree, error) {
	rows := make([]Row, 0, len(records))
	for _, r := range records {
		d, err := DraftOf(project, r)
		if err != nil {
			return nil, t, err
		}
		var more []Row
		more, t = ExtendDrafts(t, [][]byte{d})
		rows = append(rows, more...)
	}
	return rows, t, nil
}

// A draft is a record that has no place yet: its canonical form but for what stands before the time, and its texts behind it.

// DraftOf is a record of a project as a draft.
func DraftOf(project stead.ProjectID, r Record) ([]byte, error) {
	r, texts := r.clean().setAside()
	r.Project, r.Seq, r.Prev = project, 0, Hash{}
	data, err := r.Encode()
	if err != nil {
		return nil, err
	}
	return carry(data[len(appendPlace(nil, 0, Hash{})):], texts)
}

// ExtendDrafts gives drafts the places behind a log's tree.
func ExtendDrafts(t Tree, drafts [][]byte) ([]Row, Tree) {
	rows := make([]Row, len(drafts))
	for i, d := range drafts {
		const placeBytes = 96 // roughly
		line, texts := Carried(d)
		data := append(appendPlace(make([]byte, 0, len(line)+placeBytes), t.Size+1, t.Last), line...)
		rows[i] = Row{Seq: t.Size + 1, Data: data, Texts: texts}
		t = t.Add(LeafHash(data))
	}
	return rows, t
}

// appendPlace writes the beginning of a record, as Record.Encode does.
func appendPlace(b []byte, seq int64, prev Hash) []byte {
	b = strconv.AppendInt(append(b, `{"seq":`...), seq, 10)
	b = base64.StdEncoding.AppendEncode(append(b, `,"prev":"`...), prev[:])
	return append(b, `",`...)
}

// PageLimit is the limit that counts.
func (q Query) PageLimit() int {
	if q.Limit <= 0 || q.Limit > MaxRows {
		return MaxRows
	}
	return q.Limit
}
