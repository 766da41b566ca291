package memory

import (
	"context"
	"slices"

	"github.com/stead-dev/stead"
)

// Counting is where it is written down how many memories are gone, so that the number is right whoever dies: those that are about to go, before
// they do, and then how many of them did.
type Counting struct {
	Makes func([]Ref) error // these are about to go. Whoever goes on after a death gives them to Counted, if Made has not been told
	Made  func(n int) error // so many of them went
}

// counted does what forgets records, or some of them; count nil: nobody wants to know how many.
func (s *Service) counted(ctx context.Context, count *Counting, records []Record, do func() error) error {
	if count == nil || len(records) == 0 {
		return do()
	}
	refs := refsOf(records)
	if err := count.Makes(refs); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return s.Counted(ctx, records[0].Project, refs, *count)
}

// Counted tells how many of some memories are gone, which somebody was about to forget. A try that died then is so told of as well.
func (s *Service) Counted(ctx context.Context, project stead.ProjectID, begun []Ref, count Counting) error {
	if len(begun) == 0 {
		return nil
	}
	gone, err := s.gone(ctx, project, begun)
	if err != nil {
		return err
	}
	return count.Made(len(gone))
}

// gone are those of some memories that are not there any more.
func (s *Service) gone(ctx context.Context, project stead.ProjectID, refs []Ref) ([]Ref, error) {
	in := map[string][]string{} // store → ids
	for _, r := range refs {
		in[r.Store] = append(in[r.Store], r.ID)
	}
	there := map[Ref]bool{}
	for store, ids := range in {
		left, err := s.cfg.Store.ReadMemories(ctx, Place{project, store}, ids)
		if err != nil && stead.KindOf(err) != stead.KindNotFound { // the store went with all that it had
			return nil, err
		}
		for _, r := range left {
			there[Ref{store, r.ID}] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(refs), func(r Ref) bool { return there[r] }), nil
}

func refsOf(records []Record) []Ref {
	out := make([]Ref, len(records))
	for i, r := range records {
		out[i] = Ref{r.Store, r.ID}
	}
	return out
}
