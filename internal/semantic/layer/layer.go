// Package layer answers questions in terms of semantic models: it knows which models a project has, asks policies and
// reads databases.
//
// Shape: New(Config) → Layer
//
//	Describe(by, models, model, term)   what there is, or what a term means
//	Query(by, models, query)            an answer with its definition, source and times
//	Action(project, models, …)          the tool that an action is a call of, and its arguments
//
// Whoever asks (By) is whom the session belongs to, also when its agent does: rows are those which that one may see. A
// project's models are those of the configuration that are for it, and those that it uploads; another project's are not there.
//
// Errors: those of package semantic, KindForbidden of policies. A term that several models have is KindInvalid, and names them.
package layer

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/semantic"
	"github.com/stead-dev/stead/internal/semantic/upload"
)

// Declared is a model of the configuration.
type Declared struct {
	Model    *semantic.Model
	Projects []stead.ProjectID // none: all
}

// Config is what a Layer is made of.
type Config struct {
	Databases map[string]semantic.Database
	Models    []Declared
	Uploaded  Uploaded // nil: projects upload none
	Policy    policy.Authorizer
	Now       func() time.Time
}

// Uploaded are the models that projects upload: see package upload, which implements it.
type Uploaded interface {
	Models(ctx context.Context, project stead.ProjectID) ([]upload.Loaded, error)
}

// Layer answers. Safe for concurrent use.
type Layer struct {
	cfg    Config
	models atomic.Pointer[[]Declared] // what has begun keeps those that it began with
}

// New makes a Layer. Each model's databases must be there, and names be used once a project.
func New(cfg Config) (*Layer, error) {
	l := &Layer{cfg: cfg}
	l.Replace(cfg.Models)
	return l, l.Check(cfg.Models)
}

// Replace answers by other models of the configuration from now on, which Check takes.
func (l *Layer) Replace(models []Declared) { l.models.Store(&models) }

// Check says why the configuration can't have these models.
func (l *Layer) Check(models []Declared) error {
	for i, d := range models {
		for _, other := range models[:i] {
			if other.Model.Name == d.Model.Name && overlap(other.Projects, d.Projects) {
				return stead.Invalid("semantic.models", "two semantic models have the name %s", d.Model.Name)
			}
		}
		for name, s := range d.Model.Sources {
			if l.cfg.Databases[s.Database] == nil {
				return stead.Invalid("semantic.databases", "the semantic model %s has the source %s in the database %q, which the server has not: it takes databases when it starts", d.Model.Name, name, s.Database)
			}
		}
	}
	return nil
}

func overlap(a, b []stead.ProjectID) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(p stead.ProjectID) bool { return slices.Contains(b, p) })
}

// By is whoever asks.
type By struct {
	Principal stead.Principal   // whom the session belongs to
	Behind    []stead.Principal // as policy.Request.Behind
	Acting    bool              // its agent asks, in that one's name
	Agent     stead.AgentID
	Session   stead.SessionKey
	Labels    stead.Labels
}

func (b By) request(effect policy.Effect, model string) policy.Request {
	return policy.Request{Principal: b.Principal, Behind: b.Behind, Acting: b.Acting, Agent: b.Agent, Session: b.Session, Labels: b.Labels, Effect: effect, Resource: model}
}

// principal is whoever asks as row rules know it. Of several who stand behind it, it is what they have in common: no row is there that not all
// of them see.
func (b By) principal() semantic.Principal {
	p := b.Principal
	out := semantic.Principal{ID: p.ID, Kind: string(p.Kind), Role: string(p.Role), Project: string(p.Project), Labels: b.Labels}
	for _, o := range (policy.Request{Principal: p, Behind: b.Behind}).Others() {
		if o.ID != p.ID || o.Kind != p.Kind {
			out.ID = ""
		}
		if o.Kind != p.Kind {
			out.Kind = ""
		}
		if o.Role != p.Role {
			out.Role = semantic.SeveralRoles
		}
	}
	return out
}

// Models are a project's models, in order of their names: those that are named, or all. Where all are meant, what it uploads and
// can't be used is told besides.
func (l *Layer) Models(ctx context.Context, project stead.ProjectID, only []string) ([]*semantic.Model, []upload.Loaded, error) {
	var out []*semantic.Model
	for _, d := range *l.models.Load() {
		if len(d.Projects) > 0 && !slices.Contains(d.Projects, project) || only != nil && !slices.Contains(only, d.Model.Name) {
			continue
		}
		out = append(out, d.Model)
	}
	out, broken, err := l.uploaded(ctx, project, only, out)
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(out, func(a, b *semantic.Model) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range only {
		if !slices.ContainsFunc(out, func(m *semantic.Model) bool { return m.Name == name }) {
			return nil, nil, stead.Invalid("models", "there is no semantic model %.80q", name)
		}
	}
	return out, broken, nil
}

// Taken reports whether the configuration has a model of that name for a project.
func (l *Layer) Taken(project stead.ProjectID, name string) bool {
	return slices.ContainsFunc(*l.models.Load(), func(d Declared) bool {
		return d.Model.Name == name && (len(d.Projects) == 0 || slices.Contains(d.Projects, project))
	})
}

// uploaded adds the models that the project uploads. One that can't be used is among the broken ones, unless it is asked for by its name.
func (l *Layer) uploaded(ctx context.Context, project stead.ProjectID, only []string, out []*semantic.Model) ([]*semantic.Model, []upload.Loaded, error) {
	if l.cfg.Uploaded == nil {
		return out, nil, nil
	}
	var broken []upload.Loaded
	found, err := l.cfg.Uploaded.Models(ctx, project)
	if err != nil {
		return nil, nil, err
	}
	for _, u := range found {
		switch {
		case only != nil && !slices.Contains(only, u.Name), l.Taken(project, u.Name): // the operator's counts
		case u.Err == nil:
			out = append(out, u.Model)
		case only != nil:
			return nil, nil, stead.Wrap(stead.KindInvalid, u.Err, "the semantic model %s can't be used", u.Name)
		default:
			broken = append(broken, u)
		}
	}
	return out, broken, nil
}

// Described is what Describe tells: overviews, or one term.
type Described struct {
	Models []semantic.Overview  `json:"models,omitempty"`
	Term   *semantic.Described  `json:"term,omitempty"`
	Others []semantic.Described `json:"also,omitempty"` // the same word in other models
}

// Describe tells what a term means, or what there is.
func (l *Layer) Describe(ctx context.Context, by By, only []string, model, word string) (Described, error) {
	models, err := l.readable(ctx, by, only)
	if err != nil {
		return Described{}, err
	}
	if model != "" {
		m, err := named(models, model)
		if err != nil {
			return Described{}, err
		}
		models = []*semantic.Model{m}
	}
	if word == "" {
		out := Described{Models: []semantic.Overview{}}
		for _, m := range models {
			out.Models = append(out.Models, m.Overview())
		}
		return out, nil
	}
	var found []semantic.Described
	var failed []error
	for _, m := range models {
		d, err := l.describe(ctx, by, m, word)
		switch {
		case err == nil:
			found = append(found, *d)
		case stead.KindOf(err) != stead.KindInvalid:
			return Described{}, err
		default:
			failed = append(failed, err)
		}
	}
	switch {
	case len(found) > 0:
		return Described{Term: &found[0], Others: found[1:]}, nil
	case len(failed) > 0:
		return Described{}, together(models, failed)
	}
	return Described{}, stead.Invalid("term", "there is no semantic model here")
}

// together is one error of several models' ones.
func together(models []*semantic.Model, failed []error) error {
	if len(failed) == 1 {
		return failed[0]
	}
	e := stead.Invalid("term", "no semantic model has it")
	for i, err := range failed {
		if own, ok := err.(*stead.Error); ok {
			e.Hint += models[i].Name + ": " + own.Message + ". " + own.Hint + " "
		}
	}
	e.Hint = strings.TrimSpace(e.Hint)
	return e
}

func (l *Layer) describe(ctx context.Context, by By, m *semantic.Model, word string) (*semantic.Described, error) {
	d, err := m.Describe(word, by.principal(), func(database string) (semantic.Dialect, error) {
		db, err := l.database(database)
		if err != nil {
			return "", err
		}
		return db.Dialect(), nil
	})
	if err != nil || len(d.Samples) == 0 {
		return d, err
	}
	// What samples tell is data: whoever may not query the entity is told none.
	ask := by.request(policy.SemanticQuery, m.Name)
	ask.Semantic = &policy.Semantic{Entities: d.Reads, Rows: true}
	for _, i := range d.Sampled {
		ask.Semantic.Dimensions = append(ask.Semantic.Dimensions, d.Attributes[i].Name, d.Name+"."+d.Attributes[i].Name)
	}
	if _, err := policy.Check(ctx, l.cfg.Policy, ask); stead.KindOf(err) == stead.KindForbidden {
		return d, nil
	} else if err != nil {
		return nil, err
	}
	db, err := l.database(d.Database)
	if err != nil {
		return nil, err
	}
	tables, err := db.Read(ctx, d.Samples, semantic.Limits{Rows: semantic.MaxSamples, Bytes: semantic.MaxAnswerBytes})
	if err != nil {
		return nil, err
	}
	d.Sample(tables)
	return d, nil
}

// readable are the models that policies let whoever asks know.
func (l *Layer) readable(ctx context.Context, by By, only []string) ([]*semantic.Model, error) {
	models, _, err := l.Models(ctx, by.Principal.Project, only)
	if err != nil {
		return nil, err
	}
	var refused error
	out := models[:0:0]
	for _, m := range models {
		switch _, err := policy.Check(ctx, l.cfg.Policy, by.request(policy.SemanticRead, m.Name)); stead.KindOf(err) {
		case "":
			out = append(out, m)
		case stead.KindForbidden:
			refused = err
		default:
			return nil, err
		}
	}
	if len(out) == 0 && refused != nil {
		return nil, refused
	}
	return out, nil
}

func named(models []*semantic.Model, name string) (*semantic.Model, error) {
	var all []string
	for _, m := range models {
		if m.Name == name {
			return m, nil
		}
		all = append(all, m.Name)
	}
	return nil, semantic.Unknown("semantic model", name, all)
}

func (l *Layer) database(name string) (semantic.Database, error) {
	db := l.cfg.Databases[name]
	if db == nil {
		return nil, stead.Invalid("database", "the configuration has no database %q", name)
	}
	return db, nil
}

// choose finds the only model in which try succeeds.
func choose(models []*semantic.Model, model string, try func(*semantic.Model) error) (*semantic.Model, error) {
	if model != "" {
		m, err := named(models, model)
		if err != nil {
			return nil, err
		}
		return m, try(m)
	}
	var found []*semantic.Model
	var names []string
	var failed []error
	for _, m := range models {
		if err := try(m); err != nil {
			failed = append(failed, err)
			continue
		}
		found, names = append(found, m), append(names, m.Name)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, stead.Invalid("model", "several semantic models know that: say which in model: %s", strings.Join(names, ", "))
	case len(failed) > 0:
		return nil, together(models, failed)
	}
	return nil, stead.Invalid("model", "there is no semantic model here")
}

// Query answers a query.
func (l *Layer) Query(ctx context.Context, by By, only []string, q semantic.Query) (semantic.Answer, error) {
	models, err := l.readable(ctx, by, only)
	if err != nil {
		return semantic.Answer{}, err
	}
	m, err := choose(models, q.Model, func(m *semantic.Model) error {
		_, err := m.DatabaseOf(q)
		return err
	})
	if err != nil {
		return semantic.Answer{}, err
	}
	name, err := m.DatabaseOf(q)
	if err != nil {
		return semantic.Answer{}, err
	}
	db, err := l.database(name)
	if err != nil {
		return semantic.Answer{}, err
	}
	p, err := m.Prepare(q, by.principal(), db.Dialect())
	if err != nil {
		return semantic.Answer{}, err
	}
	ask := by.request(policy.SemanticQuery, m.Name)
	ask.Semantic = &policy.Semantic{Metrics: p.Metrics, Entities: p.Entities, Dimensions: p.Dimensions, Rows: len(p.Metrics) == 0}
	if _, err := policy.Check(ctx, l.cfg.Policy, ask); err != nil {
		return semantic.Answer{}, err
	}
	tables, err := db.Read(ctx, p.Statements, p.Limits)
	if err != nil {
		return semantic.Answer{}, err
	}
	return p.Answer(tables, l.cfg.Now())
}

// Ready says why an action may not be taken with its tool's arguments, for whoever acts: a precondition that does not hold, in words
// with the values that this one may see (KindConflict); nil: it may be. KindUnavailable: nobody can say.
func (l *Layer) Ready(ctx context.Context, by By, m *semantic.Model, name string, a *semantic.Action, arguments json.RawMessage) error {
	g, err := m.Guard(name, a, arguments, by.principal(), func(database string) (semantic.Dialect, error) {
		db, err := l.database(database)
		if err != nil {
			return "", err
		}
		return db.Dialect(), nil
	})
	if g == nil || err != nil {
		return err
	}
	db, err := l.database(g.Database)
	if err != nil {
		return err
	}
	// What a refusal tells is data: whoever may not query the entity is told that much less.
	ask := by.request(policy.SemanticQuery, m.Name)
	ask.Semantic = &policy.Semantic{Entities: g.Entities, Rows: true}
	for _, n := range g.Dimensions {
		ask.Semantic.Dimensions = append(ask.Semantic.Dimensions, n, a.Entity+"."+n)
	}
	_, refused := policy.Check(ctx, l.cfg.Policy, ask)
	if refused != nil && stead.KindOf(refused) != stead.KindForbidden {
		return refused
	}
	const rows = 2 // more than one is wrong
	tables, err := db.Read(ctx, []semantic.Statement{g.Statement}, semantic.Limits{Rows: rows, Bytes: semantic.MaxAnswerBytes})
	if err != nil {
		return err
	}
	return g.Holds(tables[0], refused == nil)
}

// FindAction finds an action by a word for it, in the only model that knows it.
func FindAction(models []*semantic.Model, model, word string) (*semantic.Model, string, *semantic.Action, error) {
	var name string
	var found *semantic.Action
	m, err := choose(models, model, func(m *semantic.Model) error {
		n, a, err := m.FindAction(word)
		if err == nil {
			name, found = n, a
		}
		return err
	})
	return m, name, found, err
}

// Action finds an action, and the arguments that its tool gets.
func Action(models []*semantic.Model, model, word string, arguments json.RawMessage, check func(schema, arguments []byte) error) (*semantic.Model, string, *semantic.Action, json.RawMessage, error) {
	m, name, found, err := FindAction(models, model, word)
	if err != nil {
		return nil, "", nil, nil, err
	}
	if len(arguments) == 0 {
		arguments = json.RawMessage("{}")
	}
	if err := check(found.Schema(), arguments); err != nil {
		e := stead.Invalid("arguments", "the arguments do not fit the action %s: %s", name, err)
		e.Hint = "describe tells its arguments."
		return nil, "", nil, nil, e
	}
	args, err := found.Call(arguments)
	return m, name, found, args, err
}
