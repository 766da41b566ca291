package source

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/document"
)

// stored is the data of a source's document, whose tag is the store, and which expires when the source is due.
type stored struct {
	Spec
	State State `json:"state"`
	// Maker is who made it, and Approved what was approved of that request: the hosts that it names are asked about again at each synchronisation.
	Maker    stead.Principal `json:"maker"`
	Approved approval.Grants `json:"approved,omitempty"`
}

// maxTries is how often a change is made again over a newer version.
const maxTries = 20

func keyOf(project stead.ProjectID, id string) document.Key {
	return document.Key{Project: project, Kind: kind, ID: id}
}

func decode(d document.Document) (stored, error) {
	var data stored
	if err := json.Unmarshal(d.Data, &data); err != nil {
		return data, stead.Wrap(stead.KindInternal, err, "read source %s", d.ID)
	}
	return data, nil
}

// encode keeps what of the version before this node knows nothing of: a newer one has written it.
func encode(data stored, before []byte) ([]byte, error) {
	out, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	var now, was map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(out, &now), json.Unmarshal(before, &was)); err != nil {
		return nil, err
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[stored]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		delete(was, name)
	}
	if len(was) == 0 {
		return out, nil
	}
	maps.Copy(now, was)
	return json.Marshal(now)
}

func sourceOf(d document.Document) (Source, error) {
	data, err := decode(d)
	return Source{ID: d.ID, Store: d.Tag, CreatedAt: d.CreatedAt, Spec: data.Spec, State: data.State, Due: d.ExpiresAt}, err
}

// Create makes a source, which is synchronised at once. With a key, the same request again gives the same source.
func (s *Service) Create(ctx context.Context, p stead.Principal, store string, spec Spec, key, digest string) (Source, error) {
	if err := s.cfg.Stores.Writable(ctx, p, store); err != nil {
		return Source{}, err
	}
	if err := s.check(p.Project, &spec); err != nil {
		return Source{}, err
	}
	if err := s.reach(ctx, p, spec); err != nil {
		return Source{}, err
	}
	all, err := s.list(ctx, p.Project, store)
	if err != nil {
		return Source{}, err
	}
	if len(all) >= MaxSources && key == "" {
		return Source{}, stead.Errorf(stead.KindTooLarge, "a vector store takes %d sources", MaxSources)
	}
	now := s.now()
	d := document.Document{Key: keyOf(p.Project, document.NewID(Prefix)), CreatedAt: now, UpdatedAt: now, ExpiresAt: now, Tag: store}
	if d.Data, err = json.Marshal(stored{Spec: spec, Maker: p, Approved: approval.Granted(ctx)}); err != nil {
		return Source{}, stead.Wrap(stead.KindInternal, err, "encode a source")
	}
	if d, err = s.cfg.Documents.CreateDocument(ctx, d, key, digest); err != nil {
		return Source{}, err
	}
	if there, err := s.cfg.Stores.There(ctx, p.Project, store); err != nil || !there { // it was deleted meanwhile
		if err == nil {
			err = stead.NotFound("vector store", store)
		}
		return Source{}, err
	}
	s.nudge()
	return sourceOf(d)
}

// list returns all sources of a store, those that are being deleted included.
func (s *Service) list(ctx context.Context, project stead.ProjectID, store string) ([]document.Document, error) {
	var out []document.Document
	for after := ""; ; {
		docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: project, Kind: kind, Tag: store, After: after, Limit: stead.MaxPageSize})
		if err != nil {
			return nil, err
		}
		out = append(out, docs...)
		if len(docs) < stead.MaxPageSize {
			return out, nil
		}
		after = docs[len(docs)-1].ID
	}
}

// List returns the sources of a store, in the order of their creation. What it shows is of all documents, whoever may read
// them: it takes the right to change the store.
func (s *Service) List(ctx context.Context, p stead.Principal, store string) ([]Source, error) {
	if err := s.cfg.Stores.Writable(ctx, p, store); err != nil {
		return nil, err
	}
	docs, err := s.list(ctx, p.Project, store)
	if err != nil {
		return nil, err
	}
	out := make([]Source, 0, len(docs))
	for _, d := range docs {
		src, err := sourceOf(d)
		if err != nil {
			return nil, err
		}
		if !src.Deleting {
			out = append(out, src)
		}
	}
	return out, nil
}

// get reads a source of a store that is not being deleted.
func (s *Service) get(ctx context.Context, project stead.ProjectID, store, id string) (document.Document, stored, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, keyOf(project, id))
	if err != nil {
		return d, stored{}, err
	}
	data, err := decode(d)
	if err == nil && (d.Tag != store || data.State.Deleting) {
		err = d.NotFound()
	}
	return d, data, err
}

// Get returns a source.
func (s *Service) Get(ctx context.Context, p stead.Principal, store, id string) (Source, error) {
	if err := s.cfg.Stores.Writable(ctx, p, store); err != nil {
		return Source{}, err
	}
	d, _, err := s.get(ctx, p.Project, store, id)
	if err != nil {
		return Source{}, err
	}
	return sourceOf(d)
}

// change changes a source over whatever version there is.
func (s *Service) change(ctx context.Context, project stead.ProjectID, store, id string, change func(d *document.Document, data *stored) error) (document.Document, error) {
	var err error
	for range maxTries {
		d, data, err := s.get(ctx, project, store, id)
		if err != nil {
			return d, err
		}
		if err := change(&d, &data); err != nil {
			return d, err
		}
		if d, err = s.update(ctx, d, data); stead.KindOf(err) != stead.KindConflict {
			return d, err
		}
	}
	return document.Document{}, err
}

// update writes the next version of a source's document.
func (s *Service) update(ctx context.Context, d document.Document, data stored) (document.Document, error) {
	var err error
	if d.Data, err = encode(data, d.Data); err != nil {
		return d, stead.Wrap(stead.KindInternal, err, "encode a source")
	}
	d.Version++
	d.UpdatedAt = s.now()
	return s.cfg.Documents.UpdateDocument(ctx, d)
}

// Update gives a source other rules of access: nil leaves what there is. They hold for all documents that are known when it returns; with an error,
// or where the node dies, once the synchronisation has begun that is due from then on, in which nothing is read again that did not change.
func (s *Service) Update(ctx context.Context, p stead.Principal, store, id string, access *[]Rule, otherwise *string) (Source, error) {
	if err := s.cfg.Stores.Writable(ctx, p, store); err != nil {
		return Source{}, err
	}
	d, err := s.change(ctx, p.Project, store, id, func(d *document.Document, data *stored) error {
		if access != nil {
			data.Access = *access
		}
		if otherwise != nil {
			data.AccessDefault = *otherwise
		}
		if err := checkAccess(data.Spec); err != nil {
			return err
		}
		s.adopt(ctx, p, data)
		if data.State.Holder != "" {
			data.State.Again = true
			return nil
		}
		data.State.Version, d.ExpiresAt = "", s.now() // all of it is walked through, also where it has no other version
		return nil
	})
	if err == nil {
		s.nudge()
		err = s.settle(ctx, d)
	}
	if err != nil {
		return Source{}, err
	}
	return sourceOf(d)
}

// Sync has a source synchronised now; if it is being, once more behind that.
func (s *Service) Sync(ctx context.Context, p stead.Principal, store, id string) (Source, error) {
	if err := s.cfg.Stores.Writable(ctx, p, store); err != nil {
		return Source{}, err
	}
	d, err := s.change(ctx, p.Project, store, id, func(d *document.Document, data *stored) error {
		s.adopt(ctx, p, data)
		if data.State.Holder != "" {
			data.State.Again = true
			return nil
		}
		d.ExpiresAt = s.now()
		return nil
	})
	if err != nil {
		return Source{}, err
	}
	s.nudge()
	return sourceOf(d)
}

// Delete takes a source away, with its documents. None of them is found any more when it returns.
func (s *Service) Delete(ctx context.Context, p stead.Principal, store, id string) error {
	if err := s.cfg.Stores.Writable(ctx, p, store); err != nil {
		return err
	}
	d, err := s.change(ctx, p.Project, store, id, func(d *document.Document, data *stored) error {
		held := data.State.Holder != "" && d.ExpiresAt > s.now()
		data.State.Deleting = true
		if !held { // else whoever is at it may still write until its lease is over
			d.ExpiresAt = s.now()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.clear(ctx, d); err != nil {
		return err // it is due: a worker goes on
	}
	s.nudge()
	return nil
}

// clear takes all documents of a source away.
func (s *Service) clear(ctx context.Context, d document.Document) error {
	had, err := s.cfg.Stores.Documents(ctx, d.Project, d.Tag, d.ID)
	if err != nil {
		return err
	}
	_, err = s.cfg.Stores.RemoveDocuments(ctx, d.Project, d.Tag, values(had))
	return err
}

// StoreEmptied forgets the sources of a store that is being emptied.
func (s *Service) StoreEmptied(ctx context.Context, project stead.ProjectID, store string) error {
	docs, err := s.list(ctx, project, store)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := s.cfg.Documents.DeleteDocument(ctx, d.Key, 0); err != nil && stead.KindOf(err) != stead.KindNotFound {
			return err
		}
	}
	return nil
}

func (s *Service) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func values[V any](m map[string]V) []V {
	out := make([]V, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	return out
}
