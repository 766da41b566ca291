package mcp

import (
	"context"
	"encoding/json"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// Limits of one tool of a listing. A tool with a longer name is left out.
const (
	MaxToolNameBytes    = 256
	MaxDescriptionBytes = 64 << 10
)

// listing is what a server last said that it offers.
type listing struct {
	turn  chan struct{} // holds one token while somebody asks the server
	specs []tool.Spec   // read and written in turn
	at    time.Time     // of specs; zero: never
}

// list returns the server's tools, from memory while they are believed to be current.
func (l *link) list(ctx context.Context) ([]tool.Spec, error) {
	select {
	case l.listing.turn <- struct{}{}:
		defer func() { <-l.listing.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	known := &l.listing
	// Marked fresh before asking: a change that is announced while we ask counts again.
	stale := l.stale.Swap(false)
	if !stale && !known.at.IsZero() && time.Since(known.at) < ListingTTL {
		return known.specs, nil
	}
	specs, err := l.fetch(ctx)
	if err != nil {
		l.stale.Store(true)
		return nil, err
	}
	known.specs, known.at = specs, time.Now()
	return specs, nil
}

// fetch reads all pages. A server that never stops, or lists too much, is an error.
func (l *link) fetch(ctx context.Context) ([]tool.Spec, error) {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	var specs []tool.Spec
	names, cursors := map[string]bool{}, map[string]bool{}
	size, cursor := 0, ""
	for {
		f := &flight{}
		page, err := l.session.ListTools(f.attach(ctx), &sdk.ListToolsParams{Cursor: cursor})
		if err != nil {
			return nil, l.unlisted(f, err)
		}
		l.hear()
		for _, t := range page.Tools {
			if t.Name == "" || len(t.Name) > MaxToolNameBytes || names[t.Name] {
				continue
			}
			names[t.Name] = true
			spec := l.target.spec(t)
			specs = append(specs, spec)
			if size += len(spec.Name) + len(spec.Description) + len(spec.Parameters); size > stead.MaxToolsBytes {
				return nil, l.target.tooLarge()
			}
		}
		if page.NextCursor == "" {
			return specs, nil
		}
		cursor = page.NextCursor
		// Empty pages are pages too, and a cursor that comes again never ends.
		if len(specs) > tool.MaxServerTools || len(cursors) >= tool.MaxServerTools || cursors[cursor] {
			return nil, l.target.tooLarge()
		}
		cursors[cursor] = true
	}
}

// unlisted is why a page of a list did not come.
func (l *link) unlisted(f *flight, err error) error {
	l.gone.Store(f.forgotten())
	if denied := f.denied.last(); denied != nil {
		return denied
	}
	return err
}

func (t target) tooLarge() error {
	return stead.Errorf(stead.KindTooLarge, "the tool server %s lists more than %d tools or %d bytes of them", quoted(t.label), tool.MaxServerTools, stead.MaxToolsBytes)
}

// spec translates a tool. Its name stays the server's, even where the model APIs would refuse it
// (they want 1 to 64 of a–z, A–Z, 0–9, _ and -): the runner maps names.
func (t target) spec(from *sdk.Tool) tool.Spec {
	spec := tool.Spec{Name: from.Name, Description: from.Description, Effect: t.effect(from), Destination: stead.HostPort(t.url)}
	if spec.Description == "" {
		spec.Description = from.Title
	}
	spec.Description = clip(spec.Description, MaxDescriptionBytes)
	parameters, err := json.Marshal(from.InputSchema)
	if err != nil || from.InputSchema == nil {
		parameters = []byte(`{"type":"object"}`)
	}
	spec.Parameters = parameters
	return spec
}

// effect reads the class off the annotations, unless the operator knows better.
func (t target) effect(from *sdk.Tool) tool.Effect {
	if effect, ok := t.effects[from.Name]; ok {
		return effect
	}
	switch a := from.Annotations; {
	case a == nil:
		return tool.Unknown
	case a.ReadOnlyHint:
		return tool.Pure
	case a.IdempotentHint:
		return tool.Idempotent
	default:
		return tool.Unknown
	}
}
