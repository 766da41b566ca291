package source

import (
	"context"

	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// refusal is the error of a source that does not let us read any of it.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// Refused makes the error of a Walk whose source as a whole does not let us read it, or not any more: a credential that counts no longer, a right that
// was taken away. Whoever is away says nothing of the kind.
func Refused(err error) error { return refusal{err} }

// closed has documents be nobody's, or let those who may read them, where that is another thing than it was. It is written down first: whoever goes on
// when this node dies begins with it.
func (p *pass) closed(ctx context.Context, h *held, refused bool) error {
	if refused == p.access.refused {
		return nil
	}
	if err := h.write(ctx, func(_ *document.Document, st *State) { st.Refused = refused }); err != nil {
		return err
	}
	p.access.refused = refused
	_, err := p.s.govern(ctx, p.project, p.store, p.source, p.access, p.run)
	return err
}

// unmet counts documents that were not met and have other readers since this synchronisation: of those that stay, or of all.
func (p *pass) unmet(all bool) {
	for path, f := range p.known {
		if !p.met[path] && f.Status == vectorstore.Completed && f.Origin.Run == p.run && !f.Origin.New && (all || p.keeps(path)) {
			p.count(func(c *Counts) { c.Changed++ })
		}
	}
}
