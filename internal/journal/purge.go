package journal

import "context"

// Purged is what a store did with the bytes of what was deleted and written over.
type Purged string

const (
	// Truncated: they are in none of the database's files. Free room is zeros, and the write-ahead log is empty.
	Truncated Purged = "truncated"
	// Vacuumed: no statement can read them any more, whatever its snapshot. Their room is free, to be written over by what comes.
	Vacuumed Purged = "vacuumed"
)

// Purger takes what was deleted or written over before the call out of the database's own files. It may be called at any
// time, again and again; it takes long in a large database. KindUnavailable: somebody else's long read keeps it there.
type Purger interface {
	Purge(ctx context.Context) (Purged, error)
}
