package memory

import (
	"context"

	"github.com/stead-dev/stead"
)

// Vectors are kept beside the records whose texts they were made of, and go with them. What is owed is no queue: a
// space of a store knows up to which revision all is done, so that a record owes its vector by being there, a
// crash owes what it did before, and a space that is new owes everything.
//
//	record at revision 7 ─▶ ClaimVectors (revision 4, epoch 2) ─▶ texts of 5 … 7 ─▶ model ─▶ StoreVectors up to 7, if the epoch is still 2

const (
	// MaxVectorBytes is the longest vector, packed: 4,096 dimensions and their scale.
	MaxVectorBytes = 4<<10 + 4
	// MaxSpaceBytes is the longest name of a space.
	MaxSpaceBytes = 512
)

// Vector is what a model made of the text of a record.
type Vector struct {
	ID       string
	Revision int64  // of the record that it was made of
	Digest   []byte // of the text
	Data     []byte // see recall.Pack
}

// Owing is a store whose vectors in a space are behind, and that one worker has for a while.
type Owing struct {
	Place
	Space    string // the model and its dimensions
	Revision int64  // up to which all is done
	Epoch    int64  // of the worker
	Failures int    // in a row
}

// Vectors keeps them. It is safe for concurrent use.
type Vectors interface {
	// ClaimVectors gives a store that is behind in a space to the caller until a time (Unix milliseconds): the one that is due
	// for the longest, or false. Who has it after that time is the next one's to say.
	ClaimVectors(ctx context.Context, space string, now, until int64) (Owing, bool, error)
	// StoreVectors stores vectors of records that are still at the revision that they were made of, leaves out the
	// others, and keeps o's Revision and Failures, until due. KindConflict when another worker has the store by now.
	StoreVectors(ctx context.Context, o Owing, vectors []Vector, due int64) error
	// ReadVectors returns those that there are, of whichever revision, in any order.
	ReadVectors(ctx context.Context, p Place, space string, ids []string) ([]Vector, error)
	// VectorChanges returns the vectors of revisions above after, up to one, in their order: of records that are at
	// that revision.
	VectorChanges(ctx context.Context, p Place, space string, after, upTo int64, limit int) ([]Vector, error)
	// DropVectors removes the vectors of every other space that nobody worked on since a time, of one store at most, and
	// reports whether there was one.
	DropVectors(ctx context.Context, keep string, before int64) (bool, error)
}

// CheckVectors refuses what no store takes: adapters call it first.
func CheckVectors(o Owing, vectors []Vector) error {
	if len(vectors) > MaxChanges {
		return stead.Errorf(stead.KindTooLarge, "%d vectors at once: at most %d", len(vectors), MaxChanges)
	}
	if o.Space == "" || len(o.Space) > MaxSpaceBytes {
		return stead.Invalid("space", "the name of a space of vectors has 1 to %d bytes", MaxSpaceBytes)
	}
	for _, v := range vectors {
		if len(v.Data) == 0 || len(v.Data) > MaxVectorBytes {
			return stead.Errorf(stead.KindTooLarge, "the vector of %.80q has %d bytes: from 1 to %d are possible", v.ID, len(v.Data), MaxVectorBytes)
		}
	}
	return nil
}

// ClaimLost is the error for a store that another worker has by now.
func ClaimLost() error {
	return stead.Errorf(stead.KindConflict, "another worker has the vectors of this store by now")
}
