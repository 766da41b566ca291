// Package upload keeps semantic models that a project uploads, in versions.
//
// Shape: a model is documents of two kinds, written in this order:
//
//	semantic_model_text  VID  {text}                       tagged with the model
//	semantic_model       ID   {name, versions: [{VID, …}]} the head: its own version is the model's, n+1 only over n
//
// The head alone says what is in force. Each life of a model, from its creation to its deletion, has an id that stands in its head and in
// its texts: who deletes a model takes the texts of that life, and no other's, whose head may be about to be written. A text that a
// crash left without a head is nobody's; it goes when a model of its name is deleted, once it is older than strayAfter.
//
// What an upload may read is what the operator granted its project (Grants): tables by their names, never a query. Policies are
// asked with the model's name: semantic_model.read and semantic_model.write.
//
// Units and limits: MaxModels a project (two uploads at one moment may pass by one), MaxVersions kept of a model; texts of
// semantic.MaxModelBytes; times are Unix milliseconds.
//
// Delivery: what was answered without an error is in force at every node. The same idempotency key with the same request
// gives the same answer, until the next version.
//
// Errors: KindInvalid with the line of the model; KindNotFound; KindConflict for a name that is taken, another version than the
// expected one, and limits; KindUnavailable.
package upload

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/semantic"
)

// Limits.
const (
	MaxModels   = 50
	MaxVersions = 100
	// maxCached bounds how many models are kept ready.
	maxCached = 256
	// strayAfter is when a text that no head names is surely nobody's: between a text and its head lie two writes.
	strayAfter = time.Hour
)

// Prefix begins the ids of models; the name follows.
const Prefix = "smod_"

// AnyVersion is an expected version that every version meets.
const AnyVersion = 0

const (
	kindHead document.Kind = "semantic_model"
	kindText document.Kind = "semantic_model_text"
)

// Model is a model in one version.
type Model struct {
	ID, Name, Description      string
	Version                    int64
	Digest                     string
	Bytes                      int
	Metrics, Entities, Actions int
	By                         string // id of the principal who uploaded this version
	CreatedAt, UpdatedAt       int64  // Unix milliseconds: of the model, and of this version
	Text                       string // "" in lists
	Problem                    string // why it can't be used; "": it can
}

// Write is how a version is to be written.
type Write struct {
	Over        int64  // the version that it must follow; AnyVersion: whichever there is
	Key, Digest string // of the request; "": it has no key
}

// Grants says which tables of a database a project's uploads may read: nil for none, "*" for all but the database's own.
type Grants func(database string, project stead.ProjectID) []string

// Config is what the service needs. All must be set.
type Config struct {
	Documents document.Store
	Policy    policy.Authorizer
	Grants    Grants
	Schema    func(json.RawMessage) error                     // checks the JSON Schema of an action's arguments
	Taken     func(project stead.ProjectID, name string) bool // names that the configuration uses
	Now       func() time.Time
}

// Service keeps models. Safe for concurrent use.
type Service struct {
	cfg Config

	// lives: versions begin anew with each life, so that a change over version 1 may meet that of a later life than it has read. Of
	// this node's changes none does. Where two nodes delete and a third creates within as little, a text is left, and is a stray.
	lives sync.RWMutex

	mu    sync.Mutex
	ready map[string]*semantic.Model // by the id of the text: a text never changes
}

// NewService makes the service.
func NewService(cfg Config) *Service {
	return &Service{cfg: cfg, ready: map[string]*semantic.Model{}}
}

// head is what a head's document holds.
type head struct {
	Name        string    `json:"name"`
	Life        string    `json:"life,omitempty"` // "": begun before lives had ids
	Description string    `json:"description,omitempty"`
	Versions    []version `json:"versions"` // the newest last
	Key         string    `json:"key,omitempty"`
	Request     string    `json:"request,omitempty"` // digest of the request that wrote the newest version by Key
}

type version struct {
	N        int64  `json:"n"`
	Text     string `json:"text"` // id of the text's document
	Digest   string `json:"digest"`
	Bytes    int    `json:"bytes"`
	Metrics  int    `json:"metrics"`
	Entities int    `json:"entities"`
	Actions  int    `json:"actions"`
	By       string `json:"by"`
	At       int64  `json:"at"`
}

type text struct {
	Text string `json:"text"`
	Life string `json:"life,omitempty"` // of the head
}

func (s *Service) check(ctx context.Context, p stead.Principal, effect policy.Effect, name string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: name})
	return err
}

// parse reads a model as a project's version n; 0: any.
func (s *Service) parse(project stead.ProjectID, raw string, n int64) (*semantic.Model, error) {
	m, err := s.whole(raw, n)
	if err == nil {
		err = s.granted(project, m)
	}
	return m, ofText(err)
}

// whole reads a model, whatever the project may read.
func (s *Service) whole(raw string, n int64) (*semantic.Model, error) {
	m, err := semantic.ParseVersion([]byte(raw), n)
	if err == nil {
		for name, a := range m.Actions {
			if wrong := s.cfg.Schema(a.Schema()); wrong != nil {
				err = stead.Invalid("text", "the arguments of the action %s are no JSON Schema: %s", name, wrong)
			}
		}
	}
	return m, ofText(err)
}

// ofText says of an error of a model that the field text is at fault.
func ofText(err error) error {
	if e, ok := err.(*stead.Error); ok && e.Kind == stead.KindInvalid {
		e.Param = "text"
	}
	return err
}

// granted holds a model to what the operator lets the project read.
func (s *Service) granted(project stead.ProjectID, m *semantic.Model) error {
	for _, read := range m.Reads() {
		tables := s.cfg.Grants(read.Database, project)
		switch {
		case tables == nil:
			e := stead.Invalid("text", "entity %s: the project may not read the database %q", read.Entity, read.Database)
			e.Hint = "The operator grants it: uploads, at the database in the configuration."
			return e
		case read.Table == "":
			return stead.Invalid("text", "entity %s is a query: an uploaded model names tables", read.Entity)
		case !slices.Contains(tables, read.Table) && (!slices.Contains(tables, "*") || catalog(read.Table)):
			return semantic.Unknown(fmt.Sprintf("table of the database %s that the project may read (entity %s),", read.Database, read.Entity), read.Table, tables)
		}
	}
	return nil
}

// catalog reports whether a table is the database's own: "*" does not grant those.
func catalog(table string) bool {
	return slices.ContainsFunc(strings.Split(strings.ToLower(table), "."), func(part string) bool {
		return strings.HasPrefix(part, "pg_") || strings.HasPrefix(part, "sqlite_") || part == "information_schema"
	})
}

// ID is the id of a model, also where its name is given.
func ID(nameOrID string) string {
	if strings.HasPrefix(nameOrID, Prefix) {
		return nameOrID
	}
	return Prefix + nameOrID
}

// Validate checks a text as an upload does, and stores nothing.
func (s *Service) Validate(ctx context.Context, p stead.Principal, raw string) (*semantic.Model, error) {
	if err := s.check(ctx, p, policy.SemanticRead, ""); err != nil {
		return nil, err
	}
	return s.parse(p.Project, raw, 0)
}

// Create stores the first version of a model.
func (s *Service) Create(ctx context.Context, p stead.Principal, raw string, w Write) (Model, error) {
	if err := s.check(ctx, p, policy.SemanticWrite, semantic.NameOf([]byte(raw))); err != nil {
		return Model{}, err // before the rest of the text is read: that takes longer
	}
	m, err := s.parse(p.Project, raw, 1)
	if err != nil {
		return Model{}, err
	}
	if s.cfg.Taken(p.Project, m.Name) {
		return Model{}, stead.Errorf(stead.KindConflict, "the configuration has a semantic model %s: choose another name", m.Name)
	}
	all, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: kindHead, Limit: MaxModels})
	if err != nil {
		return Model{}, err
	}
	if len(all) >= MaxModels && !slices.ContainsFunc(all, func(d document.Document) bool { return d.ID == Prefix+m.Name }) {
		return Model{}, stead.Errorf(stead.KindConflict, "the project has %d semantic models: the limit is %d", len(all), MaxModels)
	}
	d := document.Document{Key: s.key(p, Prefix+m.Name), Version: 1, CreatedAt: s.cfg.Now().UnixMilli()}
	d.UpdatedAt = d.CreatedAt
	h, err := s.begin(ctx, p, d, head{Name: m.Name, Life: document.NewID("smlife_"), Key: w.Key, Request: w.Digest}, m, raw)
	if err != nil {
		return Model{}, err
	}
	if d.Data, err = json.Marshal(h); err != nil {
		return Model{}, stead.Wrap(stead.KindInternal, err, "write the model")
	}
	made, err := s.cfg.Documents.CreateDocument(ctx, d, w.Key, w.Digest)
	if err != nil {
		s.abandon(ctx, p, h, err)
		if stead.KindOf(err) == stead.KindConflict && w.Key == "" {
			e := stead.Wrap(stead.KindConflict, err, "there is a semantic model %s already", m.Name)
			e.Hint = "Upload its next version: POST /v1/semantic_models/" + d.ID + "."
			return Model{}, e
		}
		return Model{}, err
	}
	stored, err := read(made)
	if err != nil {
		return Model{}, err
	}
	if newest(stored).Text != newest(h).Text { // the key made it before
		s.drop(ctx, p, newest(h).Text)
	}
	return s.shown(ctx, made, stored, newest(stored), true)
}

func (s *Service) key(p stead.Principal, id string) document.Key {
	return document.Key{Project: p.Project, Kind: kindHead, ID: id}
}

// begin stores the text of the version that d will be.
func (s *Service) begin(ctx context.Context, p stead.Principal, d document.Document, h head, m *semantic.Model, raw string) (head, error) {
	v := version{
		N: d.Version, Text: document.NewID("smtext_"), Digest: m.Digest, Bytes: len(raw), Metrics: len(m.Metrics), Entities: len(m.Entities), Actions: len(m.Actions),
		By: p.ID, At: d.UpdatedAt,
	}
	data, err := json.Marshal(text{raw, h.Life})
	if err != nil {
		return h, stead.Wrap(stead.KindInternal, err, "write the text")
	}
	t := document.Document{Key: document.Key{Project: p.Project, Kind: kindText, ID: v.Text}, Version: 1, CreatedAt: d.UpdatedAt, UpdatedAt: d.UpdatedAt, Tag: d.ID, Data: data}
	if _, err := s.cfg.Documents.CreateDocument(ctx, t, "", ""); err != nil {
		return h, err
	}
	h.Description, h.Versions = m.Description, append(slices.Clone(h.Versions), v)
	return h, nil
}

func newest(h head) version { return h.Versions[len(h.Versions)-1] }

// abandon takes a text away whose head was refused. Where nobody knows whether it was, it stays.
func (s *Service) abandon(ctx context.Context, p stead.Principal, h head, err error) {
	if kind := stead.KindOf(err); kind == stead.KindConflict || kind == stead.KindNotFound {
		s.drop(ctx, p, newest(h).Text)
	}
}

// drop deletes a text that nothing names. One that stays goes with its model.
func (s *Service) drop(ctx context.Context, p stead.Principal, id string) {
	_ = s.cfg.Documents.DeleteDocument(context.WithoutCancel(ctx), document.Key{Project: p.Project, Kind: kindText, ID: id}, 0)
}

func read(d document.Document) (head, error) {
	var h head
	if err := json.Unmarshal(d.Data, &h); err != nil || len(h.Versions) == 0 {
		return h, stead.Errorf(stead.KindInternal, "the semantic model %s can't be read", d.ID)
	}
	return h, nil
}

func (s *Service) get(ctx context.Context, p stead.Principal, id string) (document.Document, head, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, s.key(p, ID(id)))
	if err != nil {
		return d, head{}, err
	}
	h, err := read(d)
	return d, h, err
}

// Update stores the next version of a model.
func (s *Service) Update(ctx context.Context, p stead.Principal, id, raw string, w Write) (Model, error) {
	if err := s.check(ctx, p, policy.SemanticWrite, strings.TrimPrefix(id, Prefix)); err != nil {
		return Model{}, err
	}
	s.lives.RLock()
	defer s.lives.RUnlock()
	d, h, err := s.get(ctx, p, id)
	if err != nil {
		return Model{}, err
	}
	if w.Key != "" && h.Key == w.Key {
		if h.Request != w.Digest {
			return Model{}, document.KeyUsed()
		}
		return s.shown(ctx, d, h, newest(h), true)
	}
	if w.Over != AnyVersion && w.Over != d.Version {
		return Model{}, d.Stale(d.Version, w.Over)
	}
	m, err := s.parse(p.Project, raw, d.Version+1)
	if err != nil {
		return Model{}, err
	}
	if m.Name != h.Name {
		return Model{}, stead.Invalid("text", "the model's name is %s, not %s: upload it as a model of its own", m.Name, h.Name)
	}
	d.Version, d.UpdatedAt = d.Version+1, s.cfg.Now().UnixMilli()
	next, err := s.begin(ctx, p, d, head{Name: h.Name, Life: h.Life, Versions: h.Versions, Key: w.Key, Request: w.Digest}, m, raw)
	if err != nil {
		return Model{}, err
	}
	var old []version
	if over := len(next.Versions) - MaxVersions; over > 0 {
		old, next.Versions = next.Versions[:over], next.Versions[over:]
	}
	if d.Data, err = json.Marshal(next); err != nil {
		return Model{}, stead.Wrap(stead.KindInternal, err, "write the model")
	}
	made, err := s.cfg.Documents.UpdateDocument(ctx, d)
	if err != nil {
		s.abandon(ctx, p, next, err)
		return Model{}, err
	}
	for _, v := range old {
		s.drop(ctx, p, v.Text)
	}
	return s.shown(ctx, made, next, newest(next), true)
}

// Delete removes a model with all of its versions.
func (s *Service) Delete(ctx context.Context, p stead.Principal, id string, over int64) error {
	if err := s.check(ctx, p, policy.SemanticWrite, strings.TrimPrefix(id, Prefix)); err != nil {
		return err
	}
	h, err := s.end(ctx, p, id, over)
	if err != nil {
		return err
	}
	after := ""
	for { // few at a time: texts are large
		const few = 4
		left, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: kindText, Tag: ID(id), After: after, Limit: few})
		if err != nil || len(left) == 0 {
			return err
		}
		for _, d := range left {
			after = d.ID
			if gone, err := s.over(ctx, p, h, d); err != nil {
				return err
			} else if !gone {
				continue
			}
			if err := s.cfg.Documents.DeleteDocument(ctx, d.Key, 0); err != nil && stead.KindOf(err) != stead.KindNotFound {
				return err
			}
		}
	}
}

// end deletes a model's head, and gives what it was.
func (s *Service) end(ctx context.Context, p stead.Principal, id string, over int64) (head, error) {
	s.lives.Lock()
	defer s.lives.Unlock()
	for {
		d, h, err := s.get(ctx, p, id)
		if err != nil {
			return h, err
		}
		if over != AnyVersion && over != d.Version {
			return h, d.Stale(d.Version, over)
		}
		err = s.cfg.Documents.DeleteDocument(ctx, d.Key, d.Version)
		if stead.KindOf(err) == stead.KindConflict && over == AnyVersion {
			continue // a version came between
		}
		return h, err
	}
}

// over reports whether a text went with a head, or is a stray.
func (s *Service) over(ctx context.Context, p stead.Principal, h head, d document.Document) (bool, error) {
	var t text
	if err := json.Unmarshal(d.Data, &t); err != nil || t.Life == h.Life {
		return true, nil
	}
	if s.cfg.Now().UnixMilli()-d.CreatedAt < strayAfter.Milliseconds() {
		return false, nil
	}
	_, now, err := s.get(ctx, p, d.Tag)
	if stead.KindOf(err) == stead.KindNotFound {
		return true, nil
	}
	return err == nil && now.Life != t.Life, err
}
