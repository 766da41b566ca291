package audit

import (
	"context"

	"github.com/stead-dev/stead"
)

// A log that was pruned begins behind a checkpoint. What is left of the records before it is the right edge of their tree
// (a few hashes): its root is the one that the checkpoint was signed over, and the tree grows on from it, so that what follows
// is verified as before.

// Prunable is the tree of the records that may be removed: up to the newest checkpoint of which every record is from before
// a time (Unix milliseconds); nil: there is none.
func Prunable(ctx context.Context, s Store, project stead.ProjectID, before int64) (*Tree, error) {
	tree, err := s.AuditBase(ctx, project)
	if err != nil {
		return nil, err
	}
	notes, err := s.AuditNotes(ctx, project, tree.Size, MaxRows)
	var found *Tree
	for err == nil && len(notes) > 0 {
		var old bool
		if tree, old, err = grow(ctx, s, project, tree, notes[0].Size, before); err != nil || !old {
			return found, err
		}
		at := tree
		found = &at
		if notes = notes[1:]; len(notes) == 0 {
			notes, err = s.AuditNotes(ctx, project, tree.Size, MaxRows)
		}
	}
	return found, err
}

// grow adds records to a tree up to a size; false: one of them is not old enough.
func grow(ctx context.Context, s Store, project stead.ProjectID, tree Tree, size, before int64) (Tree, bool, error) {
	for tree.Size < size {
		rows, err := s.AuditRows(ctx, Query{Project: project, After: tree.Size, Limit: int(min(size-tree.Size, MaxRows))})
		if err != nil {
			return tree, false, err
		}
		if len(rows) == 0 || rows[0].Seq != tree.Size+1 {
			return tree, false, stead.Errorf(stead.KindInternal, "record %d of the audit log of %.80q is not there", tree.Size+1, project)
		}
		for _, row := range rows {
			r, err := Decode(row.Data)
			if err != nil || r.At >= before {
				return tree, false, err
			}
			tree = tree.Add(LeafHash(row.Data))
		}
	}
	return tree, true, nil
}
