package cedar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Project is what a project uploaded, ready to be asked. It never changes.
type Project struct {
	sets    []*Set
	version string // "": there are no sets
	behind  atomic.Pointer[joint]
}

// joint are the operator's set and a project's behind it.
type joint struct {
	files   *Set
	sets    []*Set
	version string
}

// after are its sets behind the operator's; nil: there is none.
func (p *Project) after(files *Set) *joint {
	if j := p.behind.Load(); j != nil && j.files == files {
		return j
	}
	j := &joint{files: files, sets: p.sets, version: "+" + p.version}
	if files != nil {
		j.sets, j.version = slices.Concat(files.alone, p.sets), files.version+j.version
	}
	p.behind.Store(j)
	return j
}

// Uploads finds what a project uploaded; nil: nothing. An error means that nobody knows what is forbidden.
type Uploads func(ctx context.Context, project stead.ProjectID) (*Project, error)

// NewProject puts sets together. Each is asked by itself, so that no policy of one takes anything from another's.
func NewProject(sets []*Set) *Project {
	p := &Project{sets: sets}
	if len(sets) == 0 {
		return p
	}
	sum := sha256.New()
	for _, s := range sets {
		fmt.Fprintf(sum, "%s\x00%v\x00%s\x00", s.name, s.trial, s.version)
	}
	p.version = hex.EncodeToString(sum.Sum(nil))[:digits]
	return p
}

// Rules lists the policies of all sets.
func (p *Project) Rules() (out []policy.Rule) {
	for _, s := range p.sets {
		out = append(out, s.Rules()...)
	}
	return out
}

// Unreadable stands for a set that can't be read: it refuses everything that it would be asked about or, on trial,
// would.
func Unreadable(name string, trial bool, why string) *Set {
	r := &rule{Rule: policy.Rule{ID: name, Set: name}}
	return &Set{name: name, trial: trial, version: "unreadable", actions: publishedActions(), broken: &matches{failed: []*rule{r}, errors: []string{"policy set " + name + ": " + why}}}
}

// ofPolicies are effects about which a project's sets are not asked: who is locked out by one could not mend it.
func ofPolicies(e policy.Effect) bool { return strings.HasPrefix(string(e), "policy.") }

// asked are the sets that decide about a request, the operator's first, and the digest of all of them; "": there are none.
func (a *Authorizer) asked(ctx context.Context, req policy.Request) ([]*Set, string, error) {
	files := a.set.Load()
	if a.uploads != nil && !ofPolicies(req.Effect) {
		p, err := a.uploads(ctx, req.Principal.Project)
		if err != nil {
			return nil, "", err
		}
		if p != nil && p.version != "" {
			j := p.after(files)
			return j.sets, j.version, nil
		}
	}
	if files == nil {
		return nil, "", nil
	}
	return files.alone, files.version, nil
}
