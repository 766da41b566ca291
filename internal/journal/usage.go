package journal

import (
	"context"

	"github.com/stead-dev/stead"
)

// Usage keeps usage records beside the log. Those that follow from events are stored by the append
// of these events (Batch.Usage), in its transaction: a record stands if and only if its events do.
// What a record says is its owner's business (package usage); a store sees where it belongs and bytes.
//
// Records outlive their session: what was used is owed, whatever is deleted later.
type Usage interface {
	// UsageRows returns a project's records in the order of their times, at most MaxUsageRows; fewer
	// than asked for means that there are no more. Those of a session and of one time come in the
	// order of Seq and Index; between sessions each store has an order of its own, which stays.
	UsageRows(ctx context.Context, project stead.ProjectID, q UsageQuery) ([]UsageRow, error)
	// AddUsage stores records that no append brings, at most MaxUsageRows, all or none. One that is
	// there already (same At and name) stays as it is.
	AddUsage(ctx context.Context, project stead.ProjectID, rows []UsageRow) error
	// UsageProjects lists the projects that have records, sorted.
	UsageProjects(ctx context.Context) ([]stead.ProjectID, error)
}

// Limits of records.
const (
	// MaxUsageRows is the most records of one read or one AddUsage.
	MaxUsageRows = 1024
	// MaxUsageBytes is the largest Data of a record, and the largest Shared.
	MaxUsageBytes = 16 << 10
	// MaxUsageIndex is the largest Index.
	MaxUsageIndex = 15
)

// UsageName is how a record is named, in its project: by its event, or by its call's UUID.
type UsageName struct {
	Session stead.SessionID // "": of no session
	Seq     stead.Seq       // of the event; 0: of no session
	Index   int             // which of the event's records it is
	Call    [16]byte        // of a call that has no session
}

// Check refuses a name that is of both kinds, or of none.
func (n UsageName) Check() error {
	switch {
	case n.Seq < 0 || n.Index < 0 || n.Index > MaxUsageIndex:
		return stead.Invalid("usage", "no usage record is number %d of event %d", n.Index, n.Seq)
	case (n.Seq == 0) != (n.Session == ""), (n.Seq == 0) == (n.Call == [16]byte{}), n.Seq == 0 && n.Index != 0:
		return stead.Invalid("usage", "a usage record is of an event of a session, or of a call without one")
	}
	return nil
}

// UsageRow is a record as stores keep it.
type UsageRow struct {
	UsageName
	At     int64  // Unix milliseconds: of the event, or of the call's end
	Shared string // what many records say alike, as bytes: stores keep equal ones once
	Data   []byte // what this one says
}

// Check refuses what no store takes; stores call it before they store.
func (r UsageRow) Check() error {
	if len(r.Data) > MaxUsageBytes || len(r.Shared) > MaxUsageBytes {
		return stead.Errorf(stead.KindTooLarge, "a usage record has %d and %d bytes, the limit is %d of each", len(r.Shared), len(r.Data), MaxUsageBytes)
	}
	return r.UsageName.Check()
}

// CheckUsage checks the records of one call.
func CheckUsage(rows []UsageRow) error {
	if len(rows) > MaxUsageRows {
		return stead.Errorf(stead.KindTooLarge, "%d usage records at once are more than the limit of %d", len(rows), MaxUsageRows)
	}
	for i := range rows {
		if err := rows[i].Check(); err != nil {
			return err
		}
	}
	return nil
}

// UsageQuery selects records. Zero fields select all.
type UsageQuery struct {
	Session  stead.SessionID
	From, To int64 // Unix milliseconds: From <= At < To; To 0: no end
	// AfterAt and After are where to go on, exclusive, in the chosen order; After zero: from the
	// beginning. That record need not be there.
	AfterAt int64
	After   UsageName
	Desc    bool
	Limit   int // 1 … MaxUsageRows; 0 means that
}

// PageLimit is the limit that counts.
func (q UsageQuery) PageLimit() int {
	if q.Limit <= 0 || q.Limit > MaxUsageRows {
		return MaxUsageRows
	}
	return q.Limit
}

// Place is Seq and Index in one number, in their order; 0 for a call that has no session.
func (n UsageName) Place() int64 { return int64(n.Seq)*(MaxUsageIndex+1) + int64(n.Index) }

// SetPlace is the inverse of Place.
func (n *UsageName) SetPlace(place int64) {
	n.Seq, n.Index = stead.Seq(place/(MaxUsageIndex+1)), int(place%(MaxUsageIndex+1))
}
