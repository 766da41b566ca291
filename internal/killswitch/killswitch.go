// Package killswitch stops at once what must not go on: an agent that misbehaves, a model, a tool, a person, a project.
//
// Shape: a switch is a document; every effect asks whether one is set, and what is under way is cut off.
//
//	Switch{scope, of} ──▶ Authorizer.Decide   before an effect: denied, whatever policies say
//	                  └─▶ Watch               while one is under way: its context ends
//
// A switch stops what acts: new sessions, calls of models and of tools, the opening of environments. It stops neither
// reading nor what ends or keeps things: sessions can be looked at, cancelled and deleted, and files are stored. One on a user stops
// them as a caller of the API altogether (Call), but for switches themselves.
//
// Units and limits: MaxSwitches a project; text in bytes; a switch that was set on another node counts here within
// CacheFor, while they are read within twice that, and for what is under way within three times that.
//
// Errors: KindForbidden for what is stopped, with the reason that was given; KindInvalid with the field; KindConflict
// for too many; KindUnavailable when switches can't be read: then nothing acts.
package killswitch

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// Limits.
const (
	MaxSwitches    = 1000 // of a project
	MaxOfBytes     = 512
	MaxReasonBytes = 1024
	// CacheFor is how long the switches of a project are believed without looking.
	CacheFor = 250 * time.Millisecond
)

// Prefix begins the ids of switches.
const Prefix = "kill_"

const kind document.Kind = "kill_switch"

// Scope is what a switch is about.
type Scope string

// The scopes.
const (
	Project Scope = "project" // everything of the project
	Agent   Scope = "agent"   // of: its id
	Model   Scope = "model"   // of: a name that is asked for, or that leads there: see Reach
	Tool    Scope = "tool"    // of: SERVER, SERVER/TOOL, a function of the application (also function/NAME), a tool of the model's provider (also provider/TYPE), or host:HOST and host:HOST:PORT
	User    Scope = "user"    // of: the id of a principal
	// Credential is of a vault. of: its id.
	Credential Scope = "credential"
)

// Scopes lists them.
func Scopes() []string {
	return []string{string(Project), string(Agent), string(Model), string(Tool), string(User), string(Credential)}
}

// Switch is one that is set.
type Switch struct {
	ID        string `json:"id"`
	Scope     Scope  `json:"scope"`
	Of        string `json:"of,omitempty"` // "" for the project
	Reason    string `json:"reason"`
	By        string `json:"by"`         // the principal who set it
	CreatedAt int64  `json:"created_at"` // Unix milliseconds
	// Unknown: whoever sets it says that nothing needs to have the name; set: nothing had it. It stops what will.
	Unknown bool `json:"unknown,omitempty"`
}

// stops reports whether the switch is about what is asked.
func (s Switch) stops(req policy.Request, r Reach) bool {
	switch s.Scope {
	case Project:
		return true
	case Agent:
		return string(req.Agent) == s.Of || req.Base != "" && string(req.Base) == s.Of
	case Model:
		return req.Effect == policy.ModelCall && (req.Resource == s.Of || r.Model != nil && r.Model(req.Resource, s.Of))
	case Tool:
		return s.stopsTool(req, r)
	case Credential:
		return req.Effect == policy.CredentialUse && strings.HasSuffix(req.Resource, "/"+s.Of)
	case User:
		return s.of(req.Principal) || req.Acting && slices.ContainsFunc(req.Behind, s.of)
	}
	return true // of a later version: stopping too much is the safe mistake
}

// of reports whether a switch on a user is about somebody: who they are, or who made the token of a session that they came with.
func (s Switch) of(p stead.Principal) bool {
	maker, handed := p.MadeBy()
	return p.ID == s.Of || handed && maker.ID == s.Of
}

// Acts reports whether an effect is one that switches stop: what an agent, or a call, begins.
func Acts(e policy.Effect) bool {
	switch e {
	case policy.SessionCreate, policy.ModelCall, policy.ToolCall, policy.SubagentCreate, policy.EnvironmentOpen, policy.EnvironmentPrepare, policy.CredentialUse, policy.CredentialConsent, policy.NetworkConnect:
		return true
	}
	return false
}

// Switches are those of a node's database. They are safe for concurrent use.
type Switches struct {
	documents document.Store
	now       func() time.Time
	reach     Reach

	mu       sync.Mutex
	known    map[stead.ProjectID]known
	underway map[*underway]bool
	watching bool // somebody looks for those
}

type known struct {
	switches []Switch
	at       time.Time
	reading  bool // somebody reads them again
}

// New makes them.
func New(documents document.Store, now func() time.Time) *Switches {
	return &Switches{documents: documents, now: now, known: map[stead.ProjectID]known{}, underway: map[*underway]bool{}}
}

// Service sets and lifts switches for those who may.
type Service struct {
	*Switches
	policy policy.Authorizer
	find   Find
}

// NewService makes the service. gate decides who may, and what is decided here stands in it. find may be nil: names are then taken as they are.
func NewService(s *Switches, gate policy.Authorizer, find Find) *Service {
	return &Service{s, gate, find}
}

// Set stops something from now on. The same idempotency key with the same request gives the same switch again. What nothing is
// called is refused, unless the switch says that it is unknown.
func (s *Service) Set(ctx context.Context, p stead.Principal, sw Switch, key, digest string) (Switch, error) {
	sw.ID = document.NewID(Prefix)
	sw, missing := s.named(ctx, p.Project, sw)
	if err := s.allow(ctx, p, policy.KillSwitchWrite, sw.Of, sw.written()); err != nil {
		return Switch{}, err
	}
	if err := cmp.Or(sw.check(), missing); err != nil {
		return Switch{}, err
	}
	if !sw.shownTo(p) {
		return Switch{}, stead.Errorf(stead.KindForbidden, "a key that is bound to its own sessions stops no other user")
	}
	all, err := s.read(ctx, p.Project)
	if err != nil {
		return Switch{}, err
	}
	if len(all) >= MaxSwitches {
		e := stead.Errorf(stead.KindConflict, "the project has %d kill switches, which is the limit", len(all))
		e.Hint = "Lift those that are not needed any more, or stop the project."
		return Switch{}, e
	}
	now := s.now().UnixMilli()
	sw.By, sw.CreatedAt = p.ID, now
	data, err := json.Marshal(sw)
	if err != nil {
		return Switch{}, stead.Wrap(stead.KindInternal, err, "encode kill switch")
	}
	d, err := s.documents.CreateDocument(ctx, document.Document{Key: document.Key{Project: p.Project, Kind: kind, ID: sw.ID}, CreatedAt: now, UpdatedAt: now, Data: data}, key, digest)
	if err != nil {
		return Switch{}, err
	}
	s.forget(p.Project)
	s.look(ctx) // what is under way on this node ends before the answer
	return decode(d)
}

func (sw Switch) check() error {
	switch {
	case sw.Scope == Project && sw.Of != "":
		return stead.Invalid("of", "of is for the other scopes: a switch of scope project stops the caller's own project")
	case sw.Scope != Project && sw.Of == "":
		return stead.Invalid("of", "of is required: it says which %s", sw.Scope)
	case sw.Scope == Tool && sw.Of == hostPrefix:
		return stead.Invalid("of", "of is host: with the host of tool servers behind it")
	case len(sw.Of) > MaxOfBytes:
		return stead.Invalid("of", "of is longer than %d bytes", MaxOfBytes)
	case strings.TrimSpace(sw.Reason) == "":
		return stead.Invalid("reason", "reason is required: those who are stopped are told it")
	case len(sw.Reason) > MaxReasonBytes:
		return stead.Invalid("reason", "reason is longer than %d bytes", MaxReasonBytes)
	}
	return nil
}

// shownTo reports whether somebody sees the switch: who is bound to what is theirs is told of no other user that they were stopped, nor why.
func (s Switch) shownTo(p stead.Principal) bool { return !p.Bound || s.Scope != User || s.Of == p.ID }

// List returns the switches of the caller's project: a page in the order of their ids, and whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]Switch, bool, error) {
	if err := s.allow(ctx, p, policy.KillSwitchRead, "", nil); err != nil {
		return nil, false, err
	}
	if p.Bound {
		return s.listShown(ctx, p, after, desc, limit)
	}
	docs, err := s.documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: kind, After: after, Desc: desc, Limit: limit + 1})
	if err != nil {
		return nil, false, err
	}
	out, err := decodeAll(docs[:min(len(docs), limit)])
	return out, len(docs) > limit, err
}

// listShown is List for whom not all are shown.
func (s *Service) listShown(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]Switch, bool, error) {
	all, err := s.read(ctx, p.Project) // at most MaxSwitches, in the order of their ids
	if err != nil {
		return nil, false, err
	}
	if desc {
		slices.Reverse(all)
	}
	out := slices.DeleteFunc(all, func(sw Switch) bool {
		past := after == "" || sw.ID > after && !desc || sw.ID < after && desc
		return !past || !sw.shownTo(p)
	})
	return out[:min(len(out), limit)], len(out) > limit, nil
}

// Get returns one.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (Switch, error) {
	if err := s.allow(ctx, p, policy.KillSwitchRead, id, nil); err != nil {
		return Switch{}, err
	}
	d, err := s.documents.GetDocument(ctx, document.Key{Project: p.Project, Kind: kind, ID: id})
	if err != nil {
		return Switch{}, err
	}
	sw, err := decode(d)
	if err == nil && !sw.shownTo(p) {
		return Switch{}, document.Key{Project: p.Project, Kind: kind, ID: id}.NotFound()
	}
	return sw, err
}

// Lift removes a switch. What it has ended does not begin again by itself.
func (s *Service) Lift(ctx context.Context, p stead.Principal, id string) error {
	var lifted map[string]string
	var hidden bool
	if d, err := s.documents.GetDocument(ctx, document.Key{Project: p.Project, Kind: kind, ID: id}); err == nil {
		if sw, err := decode(d); err == nil {
			lifted, hidden = sw.written(), !sw.shownTo(p)
		}
	}
	if err := s.allow(ctx, p, policy.KillSwitchWrite, id, lifted); err != nil {
		return err
	}
	if hidden {
		return document.Key{Project: p.Project, Kind: kind, ID: id}.NotFound()
	}
	defer s.forget(p.Project)
	return s.documents.DeleteDocument(ctx, document.Key{Project: p.Project, Kind: kind, ID: id}, 0)
}

// written is what records say of a switch.
func (s Switch) written() map[string]string {
	return map[string]string{"id": s.ID, "scope": string(s.Scope), "of": s.Of, "reason": s.Reason}
}

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string, written map[string]string) error {
	_, err := policy.Check(ctx, s.policy, policy.Request{Principal: p, Effect: effect, Resource: id, Written: written})
	return err
}

func decode(d document.Document) (Switch, error) {
	var sw Switch
	if err := json.Unmarshal(d.Data, &sw); err != nil {
		return sw, stead.Wrap(stead.KindInternal, err, "kill switch %s can't be read", d.ID)
	}
	return sw, nil
}

func decodeAll(docs []document.Document) ([]Switch, error) {
	out := make([]Switch, 0, len(docs))
	for _, d := range docs {
		sw, err := decode(d)
		if err != nil {
			return nil, err
		}
		out = append(out, sw)
	}
	return out, nil
}

func (s *Switches) forget(project stead.ProjectID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, project)
}

// of are the switches of a project, as they were at most CacheFor ago, or twice that while they are read again.
func (s *Switches) of(ctx context.Context, project stead.ProjectID) ([]Switch, error) {
	now := s.now()
	s.mu.Lock()
	k, ok := s.known[project]
	if age := now.Sub(k.at); ok && (age < CacheFor || k.reading && age < 2*CacheFor) {
		s.mu.Unlock()
		return k.switches, nil
	}
	if ok { // one reads, and the others go on meanwhile
		k.reading = true
		s.known[project] = k
	}
	s.mu.Unlock()
	all, err := s.read(ctx, project)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.known, project)
		return nil, err
	}
	const maxProjects = 10_000
	if len(s.known) >= maxProjects {
		clear(s.known)
	}
	s.known[project] = known{switches: all, at: now}
	return all, nil
}

// read reads all of a project's.
func (s *Switches) read(ctx context.Context, project stead.ProjectID) (all []Switch, err error) {
	after := ""
	for {
		docs, err := s.documents.ListDocuments(ctx, document.Query{Project: project, Kind: kind, After: after, Limit: stead.MaxPageSize})
		if err != nil {
			return nil, err
		}
		page, err := decodeAll(docs)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(docs) < stead.MaxPageSize {
			return all, nil
		}
		after = docs[len(docs)-1].ID
	}
}
