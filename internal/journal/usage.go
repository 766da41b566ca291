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
	// UsageRows returns a project's records in the order of (At, ID), at most MaxUsageRows; fewer
	// than asked for means that there are no more.
	UsageRows(ctx context.Context, project stead.ProjectID, q UsageQuery) ([]UsageRow, error)
	// AddUsage stores records that no append brings, at most MaxUsageRows, all or none. One that is
	// there already (same At and ID) stays as it is.
	AddUsage(ctx context.Context, project stead.ProjectID, rows []UsageRow) error
}

// MaxUsageRows is the most records of one read or one AddUsage.
const MaxUsageRows = 1024

// MaxUsageBytes is the largest Data of a record.
const MaxUsageBytes = 16 << 10

// UsageRow is a record as stores keep it.
type UsageRow struct {
	ID      string          // printable ASCII, unique in its project
	Session stead.SessionID // "": of no session. An append ignores it: the records are its session's
	At      int64           // Unix milliseconds: of the event, or of the call's end
	Data    []byte          // JSON
}

// Check refuses what no store takes; stores call it before they store.
func (r UsageRow) Check() error {
	if r.ID == "" || len(r.ID) > stead.MaxIdempotencyKeyBytes {
		return stead.Invalid("usage", "the id of a usage record has %d bytes, not 1 to %d", len(r.ID), stead.MaxIdempotencyKeyBytes)
	}
	for i := range len(r.ID) {
		if r.ID[i] <= ' ' || r.ID[i] > '~' {
			return stead.Invalid("usage", "the id of a usage record is not printable ASCII")
		}
	}
	if len(r.Data) > MaxUsageBytes {
		return stead.Errorf(stead.KindTooLarge, "usage record %s has %d bytes, the limit is %d", r.ID, len(r.Data), MaxUsageBytes)
	}
	return nil
}

// CheckUsage checks the records of one call.
func CheckUsage(rows []UsageRow) error {
	if len(rows) > MaxUsageRows {
		return stead.Errorf(stead.KindTooLarge, "%d usage records at once are more than the limit of %d", len(rows), MaxUsageRows)
	}
	for _, r := range rows {
		if err := r.Check(); err != nil {
			return err
		}
	}
	return nil
}

// UsageQuery selects records. Zero fields select all.
type UsageQuery struct {
	Session  stead.SessionID
	From, To int64 // Unix milliseconds: From <= At < To; To 0: no end
	// AfterAt and AfterID are where to go on, exclusive, in the chosen order; AfterID "": from the
	// beginning. That record need not be there.
	AfterAt int64
	AfterID string
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
