// Package reseal seals anew what older keys sealed, and counts what no key of a node opens.
//
// Shape: Rekey(request) → Report; Look(keys) → Report. A Report has a Counts for each project, and their sum.
//
//	Place   one kind of documents of which a part is sealed: JSON whose field "sealed" holds what package seal made
//
// Sealing anew wraps data keys: no text is opened, and nothing waits for it, since both keys open meanwhile. It may be interrupted and
// run again: what is done already is passed over. Two at once do the same work, once.
//
// Errors: those of the policy for the one project that was asked about; of several, a project that refuses is named in the report, and the
// others are done. KindUnavailable ends it where it is.
package reseal

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
)

// maxTries is how often a change is begun anew when somebody else changes the same.
const maxTries = 8

// What is counted by itself.
type What int

// What places have.
const (
	Others What = iota
	Credentials
	Templates
	Environments // of sessions
)

// Place is a kind of documents with a sealed part.
type Place struct {
	Kind  document.Kind
	What  What
	Label func(document.Document) seal.Label
	// Own says that they are the node's, and no project's of people: who may seal all projects anew seals them.
	Own bool
	// Revised is the field that counts how often a document was sealed anew, where its version says to others that it was changed; "": none does.
	Revised string
}

// Counts says what there is, and what became of it.
type Counts struct {
	Credentials, Templates, Environments, Others int // that have a sealed part

	Resealed   int // that an older key had sealed; in a Look or a dry run: has
	Unreadable int // that no key of this node opens: they stay as they are
}

func (c *Counts) add(by Counts) {
	c.Credentials, c.Templates, c.Environments, c.Others = c.Credentials+by.Credentials, c.Templates+by.Templates, c.Environments+by.Environments, c.Others+by.Others
	c.Resealed, c.Unreadable = c.Resealed+by.Resealed, c.Unreadable+by.Unreadable
}

func (c *Counts) of(w What) *int {
	return [...]*int{Others: &c.Others, Credentials: &c.Credentials, Templates: &c.Templates, Environments: &c.Environments}[w]
}

// All is how many things have a sealed part.
func (c *Counts) All() int { return c.Credentials + c.Templates + c.Environments + c.Others }

// Project is a project's part of a Report.
type Project struct {
	ID stead.ProjectID
	Counts
	Keys    []string // ids of the keys that would open what is unreadable, sorted
	Refused string   // why it was left as it is; "": it was not
}

// Report says what a Rekey has done, or a Look seen.
type Report struct {
	Counts
	Projects []Project // in their order: those that have anything sealed
}

// Keys are the ids of the keys that would open what is unreadable, sorted.
func (r Report) Keys() []string {
	all := map[string]bool{}
	for _, p := range r.Projects {
		for _, k := range p.Keys {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Config is what a Service needs; all of it must be set.
type Config struct {
	Documents document.Store
	Keys      *seal.Keys
	Policy    policy.Authorizer
	Places    []Place
}

// Service seals anew. It is safe for concurrent use.
type Service struct{ cfg Config }

// New makes a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Request says what is to be sealed anew.
type Request struct {
	All    bool // of every project: its caller has seen to it that the principal may ask that
	DryRun bool // nothing is changed
}

// Rekey wraps the data keys of a project, or of all of them, with the key that seals now, where an older one did.
func (s *Service) Rekey(ctx context.Context, p stead.Principal, r Request) (Report, error) {
	if p.Bound {
		return Report{}, stead.Errorf(stead.KindForbidden, "a key that is bound to its own sessions seals nothing of the project anew")
	}
	each := s.reseal
	if r.DryRun {
		each = look(s.cfg.Keys)
	}
	if !r.All {
		if err := s.allow(ctx, p); err != nil {
			return Report{}, err
		}
		return walker{s.cfg.Documents, s.cfg.Places, each, func(place Place, _ *Project) (bool, error) { return !place.Own, nil }}.walk(ctx, p.Project)
	}
	asked := map[stead.ProjectID]error{}
	return walker{s.cfg.Documents, s.cfg.Places, each, func(place Place, of *Project) (bool, error) {
		as := p
		if as.Project = of.ID; place.Own {
			as.Project = p.Project
		}
		err, known := asked[as.Project]
		if !known {
			err = s.allow(ctx, as)
			asked[as.Project] = err
		}
		if stead.KindOf(err) == stead.KindForbidden {
			of.Refused = err.Error()
			return false, nil
		}
		return err == nil, err
	}}.walk(ctx, "")
}

func (s *Service) allow(ctx context.Context, p stead.Principal) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: policy.VaultWrite})
	return err
}

// Reader is what a Look needs of a document.Store.
type Reader interface {
	ListDocuments(ctx context.Context, q document.Query) ([]document.Document, error)
	DocumentProjects(ctx context.Context, kind document.Kind) ([]stead.ProjectID, error)
}

// Look counts what of all projects some keys open. It asks nobody: it is for the node itself.
func (s *Service) Look(ctx context.Context, keys *seal.Keys) (Report, error) {
	return Look(ctx, s.cfg.Documents, s.cfg.Places, keys)
}

// Look is that of a Service, without one.
func Look(ctx context.Context, documents Reader, places []Place, keys *seal.Keys) (Report, error) {
	return walker{documents, places, look(keys), func(Place, *Project) (bool, error) { return true, nil }}.walk(ctx, "")
}

// act does something with one document, and counts it.
type act func(ctx context.Context, place Place, d document.Document, of *Project) error

// walker does something with every document of every place that is wanted.
type walker struct {
	documents Reader
	places    []Place
	do        act
	want      func(Place, *Project) (bool, error)
}

// walk walks through one project, or all (""). What it returns beside an error is what was done.
func (w walker) walk(ctx context.Context, only stead.ProjectID) (Report, error) {
	found := map[stead.ProjectID]*Project{}
	err := w.all(ctx, only, found)
	var out Report
	for _, id := range slices.Sorted(maps.Keys(found)) {
		p := *found[id]
		if p.Keys = slices.Compact(slices.Sorted(slices.Values(p.Keys))); p.Counts == (Counts{}) && p.Refused == "" {
			continue
		}
		out.add(p.Counts)
		out.Projects = append(out.Projects, p)
	}
	return out, err
}

func (w walker) all(ctx context.Context, only stead.ProjectID, found map[stead.ProjectID]*Project) error {
	for _, place := range w.places {
		projects := []stead.ProjectID{only}
		if only == "" {
			var err error
			if projects, err = w.documents.DocumentProjects(ctx, place.Kind); err != nil {
				return err
			}
		}
		for _, id := range projects {
			if found[id] == nil {
				found[id] = &Project{ID: id}
			}
			ok, err := w.want(place, found[id])
			if err == nil && ok {
				err = w.each(ctx, place, found[id])
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (w walker) each(ctx context.Context, place Place, of *Project) error {
	q := document.Query{Project: of.ID, Kind: place.Kind, Limit: stead.MaxPageSize}
	for {
		docs, err := w.documents.ListDocuments(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if err := w.do(ctx, place, d, of); err != nil {
				return err
			}
			q.After = d.ID
		}
		if len(docs) < q.Limit {
			return nil
		}
	}
}

// sealedPart is the field of a document that holds what was sealed.
const sealedPart = "sealed"

// parts are a document's fields, and what of it is sealed; ok: it has such a part.
func parts(d document.Document) (fields map[string]json.RawMessage, sealed []byte, ok bool) {
	if json.Unmarshal(d.Data, &fields) != nil || json.Unmarshal(fields[sealedPart], &sealed) != nil {
		return nil, nil, false
	}
	return fields, sealed, len(sealed) > 0
}

// look counts a document by what its sealed part says of itself.
func look(keys *seal.Keys) act {
	return func(_ context.Context, place Place, d document.Document, of *Project) error {
		_, sealed, ok := parts(d)
		if !ok {
			return nil
		}
		*of.of(place.What)++
		id, known := keys.Key(sealed)
		switch {
		case !known:
			of.Unreadable++
			of.Keys = append(of.Keys, id)
		case !keys.Current(sealed):
			of.Resealed++
		}
		return nil
	}
}

// reseal seals a document anew, if an older key sealed it.
func (s *Service) reseal(ctx context.Context, place Place, d document.Document, of *Project) (err error) {
	for range maxTries {
		fields, sealed, ok := parts(d)
		if !ok {
			return nil
		}
		done := s.cfg.Keys.Current(sealed)
		if !done {
			anew, wrong := s.cfg.Keys.Rewrap(place.Label(d), sealed)
			if wrong != nil {
				*of.of(place.What)++
				of.Unreadable++
				if id, known := s.cfg.Keys.Key(sealed); !known {
					of.Keys = append(of.Keys, id)
				}
				return nil
			}
			err = s.put(ctx, place, d, fields, anew)
		}
		switch {
		case err == nil:
			*of.of(place.What)++
			if !done {
				of.Resealed++
			}
			return nil
		case stead.KindOf(err) == stead.KindNotFound: // it was deleted meanwhile
			return nil
		case stead.KindOf(err) != stead.KindConflict:
			return err
		}
		if d, err = s.cfg.Documents.GetDocument(ctx, d.Key); stead.KindOf(err) == stead.KindNotFound {
			return nil
		} else if err != nil {
			return err
		}
	}
	return err
}

// put stores a document with another sealed part. To people it looks as before.
func (s *Service) put(ctx context.Context, place Place, d document.Document, fields map[string]json.RawMessage, sealed []byte) (err error) {
	if fields[sealedPart], err = json.Marshal(sealed); err == nil && place.Revised != "" {
		var n int64
		_ = json.Unmarshal(fields[place.Revised], &n) // one that is not there is none
		fields[place.Revised], err = json.Marshal(n + 1)
	}
	if err == nil {
		d.Data, err = json.Marshal(fields)
	}
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "%s %s can't be written", d.Kind, d.ID)
	}
	d.Version++
	_, err = s.cfg.Documents.UpdateDocument(ctx, d)
	return err
}
