package memory

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// For says in whose name an agent acts: policies are asked about the agent in that one's name, with what its session is
// labelled.
type For struct {
	Principal stead.Principal   // whom the session belongs to
	Behind    []stead.Principal // as policy.Request.Behind
	Shared    bool              // others stand behind it: what is remembered of Principal is not there
	Agent     stead.AgentID
	Session   stead.SessionKey
	Labels    stead.Labels
	Scopes    []Scope   // nothing outside of them is there; none: all
	At        stead.Seq // the session's last event
	Since     stead.Seq // the last event before what is made of what is shown now, where that stands in front of At; 0: At
	Pinned    string    // what is written, as whoever may approve that is shown it; "": no more than the store
}

// seen is the last event that an agent may have seen which writes in the name of somebody; 0: nobody knows.
func (by *For) seen() int64 {
	if by == nil {
		return 0
	}
	return int64(by.At)
}

// Request is what policies are asked before an effect on a store of a project. by is nil where p acts for itself; else p is the
// agent, as its entries name their author.
func (by *For) Request(p stead.Principal, effect policy.Effect, store string) policy.Request {
	req := policy.Request{Principal: by.Asker(p), Effect: effect, Resource: store}
	if by != nil {
		req.Acting, req.Behind, req.Agent, req.Session, req.Labels = true, by.Behind, by.Agent, by.Session, by.Labels
		if effect == policy.MemoryWrite {
			req.Pinned = by.Pinned
		}
	}
	return req
}

// Asker is who asks: whom the session belongs to, where p is its agent.
func (by *For) Asker(p stead.Principal) stead.Principal {
	if by == nil {
		return p
	}
	out := by.Principal
	out.Project = p.Project
	return out
}

// UserOf is whose memories a session has that serves somebody; "": nobody's, since others stand behind what its agent does.
func UserOf(p stead.Principal, alone bool) string {
	if !alone {
		return ""
	}
	return p.ID
}

// SessionScopes are those whose memories a session of a user and an agent has. user: "" where others stand behind what the agent does.
func SessionScopes(user string, agent stead.AgentID, teams []string) []Scope {
	out := []Scope{{Type: ScopeProject}}
	if user != "" {
		out = append(out, Scope{Type: ScopeUser, ID: user})
	}
	out = append(out, Scope{Type: ScopeAgent, ID: string(agent)})
	for _, t := range teams {
		out = append(out, Scope{Type: ScopeTeam, ID: t})
	}
	return out
}

// SessionScope is the scope that is meant, in a session, by "user" (whom it serves), "agent", "project" or "team:ID" of one of its teams.
// "" is what it remembers in when nothing is said: of the user whom it serves, or of the project where it serves none.
func SessionScope(name string, serves stead.Principal, agent stead.AgentID, teams []string) (Scope, error) {
	kind, id, named := strings.Cut(name, ":")
	own := map[string]string{ScopeUser: serves.ID, ScopeAgent: string(agent), ScopeProject: ""}
	switch of, known := own[kind]; {
	case name == "" && serves.Kind == stead.PrincipalUser && serves.ID != "":
		return Scope{Type: ScopeUser, ID: serves.ID}, nil
	case name == "" || name == ScopeProject:
		return Scope{Type: ScopeProject}, nil
	case kind == ScopeTeam && slices.Contains(teams, id):
		return Scope{Type: ScopeTeam, ID: id}, nil
	case known && of != "" && (!named || id == of):
		return Scope{Type: kind, ID: of}, nil
	}
	return Scope{}, stead.Invalid("scope", "scope must be user, agent, project or team: with one of the agent's teams (%s), not %.80q", strings.Join(teams, ", "), name)
}

// In is the service as an agent has it.
func (s *Service) In(by For) *Service {
	out := *s
	out.within = &by
	return &out
}

// Carrying is the service of somebody who was shown what is labelled so: what they write has these labels too.
func (s *Service) Carrying(labels []string) *Service {
	out := *s
	out.shown = labels
	return &out
}

// Pinning is the service of somebody whose writes are of one thing: where they want an approval, that is of it alone.
func (s *Service) Pinning(what string) *Service {
	out := *s
	if s.within != nil {
		by := *s.within
		by.Pinned, out.within = what, &by
	}
	return &out
}

// Waits is the request for approval that an error is about; "": it is about none.
func Waits(err error) string {
	if open, ok := errors.AsType[*policy.Open](err); ok {
		return open.ID
	}
	return ""
}

// sight is what of a store somebody sees, entry by entry: policies are asked once for all of the same scope, kind and labels. It
// is of one request.
type sight struct {
	ctx   context.Context
	s     *Service
	ask   policy.Request
	bound bool   // sees user scopes of owner alone
	owner string // "": nobody
	only  []Scope
	apart bool     // what has a session's label is for sessions that have it
	has   []string // labels of the session, where apart
	known map[string]bool
	why   map[string]string // what was not allowed → the reason
	pen   *sight            // of what may be written; nil: nobody has asked yet
	err   error             // no decision could be made, of something: nothing is to be answered
}

func (s *Service) sight(ctx context.Context, p stead.Principal, store string) *sight {
	v := &sight{ctx: ctx, s: s, ask: s.within.Request(p, policy.MemoryEntryRead, store), bound: p.Bound, known: map[string]bool{}}
	if by := s.within; by != nil {
		v.bound, v.only = v.bound || by.Principal.Bound, by.Scopes
		if v.apart = s.cfg.Apart; v.apart {
			v.has = s.LabelsOf(by.Labels)
		}
	}
	if v.ask.Principal.Kind != stead.PrincipalAgent && (s.within == nil || !s.within.Shared) {
		v.owner = v.ask.Principal.ID
	}
	return v
}

// missing reports whether a session lacks one of an entry's labels that are those of sessions. Values that say that something is for everybody lack nowhere.
func (v *sight) missing(labels []string) bool {
	open := []string{"public", "open", "none", "unclassified"}
	return slices.ContainsFunc(labels, func(l string) bool {
		key, value, _ := strings.Cut(l, ":")
		return slices.Contains(v.s.cfg.SessionLabels, key) && !slices.Contains(open, strings.ToLower(value)) && !slices.Contains(v.has, l)
	})
}

// sees reports whether an entry is there for whoever asks.
func (v *sight) sees(c *Content) bool {
	switch {
	case v.err != nil,
		v.apart && v.missing(c.Labels),
		len(v.only) > 0 && !slices.Contains(v.only, c.Scope),
		v.bound && c.Scope.Type == ScopeUser && (c.Scope.ID != v.owner || v.owner == ""):
		return false
	}
	key := sortOf(c)
	allowed, ok := v.known[key]
	if !ok {
		ask := v.ask
		ask.Entry = &policy.Entry{Kind: string(c.Kind), ScopeType: c.Scope.Type, ScopeID: c.Scope.ID, Labels: c.Labels}
		d, err := v.s.cfg.Policy.Decide(v.ctx, ask)
		if err != nil {
			v.err = stead.Wrap(stead.KindUnavailable, err, "%s was not decided: try again", ask.Effect)
			return false
		}
		if d.Open != nil { // it is asked about: whoever asks says it again once that is approved
			v.err = d.Err(ask)
			return false
		}
		if allowed = d.Allow; !allowed {
			if v.why == nil {
				v.why = map[string]string{}
			}
			v.why[key] = d.Reason
		}
		v.known[key] = allowed
	}
	return allowed
}

// writes reports whether whoever asks may make, change and forget such entries.
func (v *sight) writes(c *Content) bool { return v.mayWrite(c) == nil }

// mayWrite is the error of an entry that whoever asks may not make, change or forget.
func (v *sight) mayWrite(c *Content) error {
	if v.pen == nil {
		pen := *v
		pen.ask.Effect, pen.bound, pen.only, pen.known, pen.why, pen.apart = policy.MemoryEntryWrite, false, nil, map[string]bool{}, nil, false
		v.pen = &pen
	}
	if v.pen.sees(c) {
		return nil
	}
	if v.pen.err != nil {
		v.err = v.pen.err
		return v.err
	}
	return stead.Errorf(stead.KindForbidden, "a policy does not let this be written (%s of scope %s): %s", c.Kind, c.Scope.Type, v.pen.why[sortOf(c)])
}

// see is what a search asks; nil: all of the store is seen.
func (v *sight) see() func(facets) bool {
	if v == nil {
		return nil
	}
	return func(f facets) bool { return v.sees(f.content) }
}

// sortOf names what policies decide by: no two sorts have the same name, whatever their labels say.
func sortOf(c *Content) string {
	var b []byte
	add := func(part string) { b = append(append(strconv.AppendInt(b, int64(len(part)), 10), ':'), part...) }
	add(string(c.Kind))
	add(c.Scope.Type)
	add(c.Scope.ID)
	for _, l := range c.Labels {
		add(l)
	}
	return string(b)
}

// one is the error of an entry that whoever asks does not see: it is not there.
func (v *sight) one(e Entry) error {
	if v.sees(&e.Content) {
		return nil
	}
	if v.err != nil {
		return v.err
	}
	return NotFound(e.ID)
}

// seen leaves out what is not.
func (v *sight) seen(all []Entry) ([]Entry, error) {
	out := make([]Entry, 0, len(all))
	for _, e := range all {
		if v.sees(&e.Content) {
			out = append(out, e)
		}
	}
	return out, v.err
}

// mayHold refuses what would be written where whoever writes it could not read it: into another user's scope by
// somebody who is bound to itself, or out of an agent's scopes.
func (s *Service) mayHold(p stead.Principal, c *Content) error {
	if by := s.within; by != nil && by.Shared && c.Scope == (Scope{Type: ScopeUser, ID: by.Principal.ID}) {
		return stead.Errorf(stead.KindForbidden, "memories of %s are not for this session any more, since others told its agent something too: choose another scope", by.Principal.ID)
	}
	if by := s.within; by != nil && len(by.Scopes) > 0 && !slices.Contains(by.Scopes, c.Scope) {
		return stead.Errorf(stead.KindForbidden, "memories of that scope are not this agent's")
	}
	if p.Bound && p.Kind != stead.PrincipalAgent && c.Scope.Type == ScopeUser && c.Scope.ID != p.ID {
		return stead.Errorf(stead.KindForbidden, "this key writes memories of the scope of %q alone", p.ID)
	}
	return nil
}
