package vectorstore

import (
	"context"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Readers are who may read a document: whoever one of the lists names. The zero Readers let everybody.
type Readers struct {
	Principals []string `json:"principals,omitempty"` // "user:ada", "service:ci"
	Roles      []string `json:"roles,omitempty"`
}

// Permits are who may read a document by what its source itself says: each of the Readers must let somebody, none is everybody.
type Permits struct {
	Readers []Readers `json:"readers,omitempty"`
	// Of is what they are permits of, where they are for some of what there is: what a document told of something else is not for these readers. "": they
	// are for all that it ever told.
	Of string `json:"of,omitempty"`
}

// rolePrefix begins a role among names.
const rolePrefix = "role:"

// Name adds names: "user:ID", "service:ID" or "role:NAME". Each stands there once, in their order.
func (r *Readers) Name(names []string) {
	for _, n := range names {
		if role, ok := strings.CutPrefix(n, rolePrefix); ok {
			r.Roles = append(r.Roles, role)
		} else {
			r.Principals = append(r.Principals, n)
		}
	}
	slices.Sort(r.Principals)
	slices.Sort(r.Roles)
	r.Principals, r.Roles = slices.Compact(r.Principals), slices.Compact(r.Roles)
}

// Nobody are Readers that let nobody: no principal is called so.
func Nobody() Readers { return Readers{Principals: []string{"nobody"}} }

func (r Readers) allow(p stead.Principal) bool {
	return len(r.Principals)+len(r.Roles) == 0 ||
		slices.Contains(r.Principals, string(p.Kind)+":"+p.ID) || p.Role != "" && slices.Contains(r.Roles, string(p.Role))
}

// sight is what of a store's documents somebody sees: policies are asked once for all of the same source and labels. It is of
// one request. Uploaded files are there for whoever may read the store.
type sight struct {
	ctx context.Context
	s   *Service
	ask policy.Request
	// others stand behind what an agent asks: it sees what all of them do.
	others []stead.Principal
	known  map[string]bool // source and labels → they may be read
	err    error           // no decision could be made, of something: nothing is to be answered
}

func (s *Service) sight(ctx context.Context, p stead.Principal, store string) *sight {
	ask := s.within.Request(p, policy.VectorStoreFileRead, store)
	return &sight{ctx: ctx, s: s, ask: ask, others: ask.Others(), known: map[string]bool{}}
}

// sees reports whether a file is there for whoever asks.
func (v *sight) sees(f File) bool {
	o := f.Origin
	if o == nil {
		return true
	}
	for _, r := range o.Readers {
		if !r.allow(v.ask.Principal) || slices.ContainsFunc(v.others, func(p stead.Principal) bool { return !r.allow(p) }) {
			return false
		}
	}
	if v.err != nil {
		return false
	}
	key := strings.Join(append([]string{o.Source}, o.Labels...), "\x00")
	allowed, ok := v.known[key]
	if !ok {
		ask := v.ask
		ask.Document = &policy.Document{Source: o.Source, Kind: o.Kind, Labels: o.Labels}
		d, err := v.s.cfg.Policy.Decide(v.ctx, ask)
		if err != nil {
			v.err = stead.Wrap(stead.KindUnavailable, err, "%s was not decided: try again", ask.Effect)
			return false
		}
		if d.Open != nil { // it is asked about: whoever asks says it again once that is approved
			v.err = d.Err(ask)
			return false
		}
		allowed = d.Allow
		v.known[key] = allowed
	}
	return allowed
}
