package source

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/document"
)

// erasedID stands for users who were erased.
const erasedID = "(erased)"

// maker is who made a source; of those that were made before that was kept, the node that reads them.
func (d stored) maker(project stead.ProjectID) stead.Principal {
	if d.Maker.ID == "" {
		return stead.Principal{Project: project, Kind: stead.PrincipalNode, ID: "source"}
	}
	return d.Maker
}

// adopt makes somebody the maker of a source that has none any more, if they may reach what it reads.
func (s *Service) adopt(ctx context.Context, p stead.Principal, data *stored) {
	if data.Maker.ID != "" && data.Maker.ID != erasedID || s.reach(ctx, p, data.Spec) != nil {
		return
	}
	data.Maker, data.Approved = p, approval.Granted(ctx)
}

// ForgetMaker takes a user's name off the sources of a project, and says off how many. These are read by the rights of the same role, until
// somebody adopts them.
func (s *Service) ForgetMaker(ctx context.Context, project stead.ProjectID, user string) (int, error) {
	n := 0
	for after := ""; ; {
		docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: project, Kind: kind, After: after, Limit: stead.MaxPageSize})
		if err != nil {
			return n, err
		}
		for _, d := range docs {
			after = d.ID
			data, err := decode(d)
			if err != nil {
				return n, err
			}
			if !data.forget(user) || data.State.Deleting {
				continue
			}
			_, err = s.change(ctx, project, d.Tag, d.ID, func(_ *document.Document, data *stored) error { data.forget(user); return nil })
			if err != nil && stead.KindOf(err) != stead.KindNotFound {
				return n, err
			}
			n++
		}
		if len(docs) < stead.MaxPageSize {
			return n, nil
		}
	}
}

// forget reports whether a source named a user as its maker, or as whose token that one came with.
func (d *stored) forget(user string) (named bool) {
	if d.Maker.Kind == stead.PrincipalUser && d.Maker.ID == user {
		d.Maker.ID, d.Approved, named = erasedID, nil, true
	}
	if d.Maker.Maker == string(stead.PrincipalUser)+":"+user {
		d.Maker.Maker, named = string(stead.PrincipalUser)+":"+erasedID, true
	}
	return named
}
