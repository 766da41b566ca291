package killswitch

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// findTime bounds the looking for a name: whoever stops something is in a hurry.
const findTime = 2 * time.Second

// Named is what a name was found to be.
type Named struct {
	Of   string   // as effects know it; "": nothing is called so
	Near []string // names that are like it, where nothing is
}

// Find looks for what a switch's Of names, in one of the scopes agent, model, tool and credential. Its error is of a name that several have, or of what can't
// be read.
type Find func(ctx context.Context, project stead.ProjectID, scope Scope, of string) (Named, error)

// named is the switch with the name that effects know, and what is to be said of one that nothing has. It is said once the caller may set switches.
func (s *Service) named(ctx context.Context, project stead.ProjectID, sw Switch) (Switch, error) {
	asked := sw.Unknown
	sw.Unknown = false
	if s.find == nil || sw.check() != nil || sw.Scope == Project || sw.Scope == User { // who may come is not known here
		return sw, nil
	}
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	found, err := s.find(ctx, project, sw.Scope, sw.Of)
	switch {
	case err == nil && found.Of != "":
		sw.Of = found.Of
		return sw, nil
	case asked || strings.HasPrefix(sw.Of, hostPrefix) && sw.Scope == Tool: // hosts are whatever environments and agents connect to
		sw.Unknown = true
		return sw, nil
	case err != nil:
		return sw, err
	}
	e := stead.Invalid("of", "no %s of this project is called %.80q: the switch would stop nothing", sw.Scope, sw.Of)
	e.Hint = "Set it all the same with unknown: true (--unknown): it stops what will be called so, or what can't be seen from here, such as a tool server or a function of an agent that is not saved."
	if len(found.Near) > 0 {
		quoted := make([]string, len(found.Near))
		for i, n := range found.Near {
			quoted[i] = fmt.Sprintf("%.80q", n)
		}
		e.Hint = "Did you mean " + strings.Join(quoted, " or ") + "? " + e.Hint
	}
	return sw, e
}
