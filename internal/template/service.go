package template

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
)

const kind document.Kind = "environment template"

// Prefix begins a template's id.
const Prefix = "envtmpl_"

// sealKind is the kind of a template's label.
const sealKind = "template"

// maxTries is how often a deletion is tried again over a change that came between.
const maxTries = 5

// Files says how large an uploaded file is.
type Files interface {
	Size(ctx context.Context, p stead.Principal, id string) (int64, error)
}

// Skills gives the archive of a skill's version, what it says of itself, and its number.
type Skills interface {
	Archive(ctx context.Context, p stead.Principal, id, version string) (about capability.About, number string, archive []byte, err error)
}

// ServiceConfig is what a Service stands on.
type ServiceConfig struct {
	Documents document.Store
	Assets    *asset.Store
	Policy    policy.Authorizer
	Keys      *seal.Keys
	Files     Files
	Skills    Skills
	Now       func() time.Time
}

// Service keeps templates. It is safe for concurrent use.
type Service struct{ cfg ServiceConfig }

// NewService makes a Service.
func NewService(c ServiceConfig) *Service { return &Service{c} }

// Template is a stored configuration that environments inherit from.
type Template struct {
	ID        string
	Name      string // "" for none
	CreatedAt int64  // Unix milliseconds
	UpdatedAt int64  // Unix milliseconds
	Public    Public // effective
}

// stored is the data of a template's document.
type stored struct {
	Name   string `json:"name,omitempty"`
	Public Public `json:"public"`
	Sealed []byte `json:"sealed"` // Secret
	// Owner is the name of the claim on the bytes. Each version that has any has a name of its own,
	// so that what a version does not need any more goes with the one before.
	Owner string `json:"owner,omitempty"`
	// Resealed is how often it was sealed anew, which is no change of the template.
	Resealed int64 `json:"resealed,omitempty"`
}

// Sealed says where templates are, of which a part is sealed.
func Sealed() reseal.Place {
	return reseal.Place{Kind: kind, What: reseal.Templates, Label: func(d document.Document) seal.Label { return labelOf(d.Key) }, Revised: "resealed"}
}

// versionOf is a template's, which each change of it changes.
func versionOf(d document.Document, data stored) int64 { return d.Version - data.Resealed }

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: id})
	return err
}

func keyOf(p stead.Principal, id string) document.Key {
	return document.Key{Project: p.Project, Kind: kind, ID: id}
}

func labelOf(k document.Key) seal.Label {
	return seal.Label{Project: k.Project, Kind: sealKind, ID: k.ID}
}

// Create stores a template. key and digest are the request's idempotency.
func (s *Service) Create(ctx context.Context, p stead.Principal, patch Patch, key, digest string) (Template, error) {
	if err := s.allow(ctx, p, policy.TemplateWrite, ""); err != nil {
		return Template{}, err
	}
	k := keyOf(p, document.NewID(Prefix))
	d, claim, err := s.prepare(ctx, document.Document{Key: k, CreatedAt: s.cfg.Now().UnixMilli()}, stored{}, Config{}, patch)
	if err != nil {
		return Template{}, err
	}
	d, err = s.cfg.Documents.CreateDocument(ctx, d, key, digest)
	s.settle(ctx, claim, err)
	if err != nil {
		return Template{}, err
	}
	return templateOf(d)
}

// prepare makes the next version of a template's document: it applies the patch, seals the secrets,
// and stores the bytes under a new claim, which is the zero Claim if there are none.
func (s *Service) prepare(ctx context.Context, d document.Document, was stored, c Config, patch Patch) (document.Document, asset.Claim, error) {
	name := was.Name
	patch.Apply(&name, &c)
	c = c.Effective()
	data := stored{Name: name, Public: c.Public, Sealed: c.Secret.Seal(s.cfg.Keys, labelOf(d.Key)), Resealed: was.Resealed}
	claim, err := s.storeBytes(ctx, d.Key, c)
	if err != nil {
		return d, claim, err
	}
	data.Owner = claim.Owner
	if d.Data, err = json.Marshal(data); err != nil {
		return d, claim, stead.Wrap(stead.KindInternal, err, "encode template")
	}
	d.UpdatedAt = s.cfg.Now().UnixMilli()
	return d, claim, nil
}

func (s *Service) storeBytes(ctx context.Context, k document.Key, c Config) (asset.Claim, error) {
	digests := c.Digests()
	if len(digests) == 0 {
		return asset.Claim{}, nil
	}
	claim := asset.Claim{Document: k, Owner: document.NewID(k.ID + ".")}
	if err := s.cfg.Assets.Reserve(ctx, claim); err != nil {
		return claim, err
	}
	for _, digest := range digests {
		data, ok := c.Bytes[digest]
		if !ok {
			return claim, stead.Errorf(stead.KindInternal, "the bytes %s of template %s are not there", digest, k.ID)
		}
		if _, err := s.cfg.Assets.Put(ctx, claim, data); err != nil {
			s.cfg.Assets.Settle(ctx, claim, nil) // no document will name it
			return claim, err
		}
	}
	return claim, nil
}

func (s *Service) settle(ctx context.Context, claim asset.Claim, err error) {
	if claim.Owner != "" {
		s.cfg.Assets.Settle(ctx, claim, err)
	}
}

func (s *Service) release(ctx context.Context, claim asset.Claim) error {
	if claim.Owner == "" {
		return nil
	}
	return s.cfg.Assets.Release(ctx, claim)
}

func decodeStored(d document.Document) (stored, error) {
	var data stored
	if err := json.Unmarshal(d.Data, &data); err != nil { // its cause could quote what is sealed
		return data, stead.Errorf(stead.KindInternal, "template %s can't be read", d.ID)
	}
	return data, nil
}

func templateOf(d document.Document) (Template, error) {
	data, err := decodeStored(d)
	return Template{d.ID, data.Name, d.CreatedAt, d.UpdatedAt, data.Public}, err
}

// Get returns a template.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (Template, error) {
	if err := s.allow(ctx, p, policy.TemplateRead, id); err != nil {
		return Template{}, err
	}
	d, err := s.cfg.Documents.GetDocument(ctx, keyOf(p, id))
	if err != nil {
		return Template{}, err
	}
	return templateOf(d)
}

// List returns a page of templates by age, and whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]Template, bool, error) {
	if err := s.allow(ctx, p, policy.TemplateRead, ""); err != nil {
		return nil, false, err
	}
	docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: kind, After: after, Desc: desc, Limit: limit + 1})
	if err != nil {
		return nil, false, err
	}
	all := make([]Template, min(len(docs), limit))
	for i := range all {
		if all[i], err = templateOf(docs[i]); err != nil {
			return nil, false, err
		}
	}
	return all, len(docs) > limit, nil
}

// Update changes a template. Environments that were made from it stay as they are.
func (s *Service) Update(ctx context.Context, p stead.Principal, id string, patch Patch) (Template, error) {
	if err := s.allow(ctx, p, policy.TemplateWrite, id); err != nil {
		return Template{}, err
	}
	d, data, c, err := s.read(ctx, keyOf(p, id))
	if err != nil {
		return Template{}, err
	}
	old := asset.Claim{Document: d.Key, Owner: data.Owner}
	if err := s.release(ctx, old); err != nil {
		return Template{}, err
	}
	d.Version++
	d, claim, err := s.prepare(ctx, d, data, c, patch)
	if err == nil {
		d, err = s.cfg.Documents.UpdateDocument(ctx, d)
		s.settle(ctx, claim, err)
	}
	s.settle(ctx, old, err)
	if err != nil {
		return Template{}, err
	}
	return templateOf(d)
}

// read is a template's document, and everything that it is made of. Bytes go with the version that names them: what was replaced between the two
// is read anew.
func (s *Service) read(ctx context.Context, k document.Key) (document.Document, stored, Config, error) {
	for before := int64(-1); ; {
		d, err := s.cfg.Documents.GetDocument(ctx, k)
		if err != nil {
			return d, stored{}, Config{}, err
		}
		data, c, err := s.open(ctx, d)
		if stead.KindOf(err) != stead.KindNotFound || d.Version == before {
			return d, data, c, err
		}
		before = d.Version
	}
}

// open reads everything that a version of a template is made of.
func (s *Service) open(ctx context.Context, d document.Document) (stored, Config, error) {
	data, err := decodeStored(d)
	if err != nil {
		return data, Config{}, err
	}
	secret, err := OpenSecret(s.cfg.Keys, labelOf(d.Key), data.Sealed)
	if err != nil {
		return data, Config{}, err
	}
	c := Join(data.Public, secret)
	c.Bytes = map[string][]byte{}
	for _, digest := range c.Digests() {
		if c.Bytes[digest], err = s.cfg.Assets.Get(ctx, asset.Claim{Document: d.Key, Owner: data.Owner}, digest); err != nil {
			return data, Config{}, err
		}
	}
	return data, c, nil
}

// Delete removes a template and all that it kept secret.
func (s *Service) Delete(ctx context.Context, p stead.Principal, id string) error {
	if err := s.allow(ctx, p, policy.TemplateWrite, id); err != nil {
		return err
	}
	var err error
	for range maxTries { // bytes of a version that comes in between must be deleted as well
		if err = s.deleteOnce(ctx, keyOf(p, id)); stead.KindOf(err) != stead.KindConflict {
			break
		}
	}
	return err
}

func (s *Service) deleteOnce(ctx context.Context, k document.Key) error {
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if err != nil {
		return err
	}
	data, err := decodeStored(d)
	if err != nil {
		return err
	}
	claim := asset.Claim{Document: k, Owner: data.Owner}
	if err := s.release(ctx, claim); err != nil {
		return err
	}
	err = s.cfg.Documents.DeleteDocument(ctx, k, d.Version)
	s.settle(ctx, claim, err)
	return err
}
