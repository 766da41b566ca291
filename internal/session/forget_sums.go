package session

import (
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
)

// A question about files that are to be stored names each with its SHA-256. Of a short text that is as good as the text: whoever has a guess tries
// it. When a memory is forgotten that may have been one of these files, the digests go; path and size stay, and so do, in the audit log, the digest of
// all that was shown and who approved it. Which of a store's files showed the memory nobody knows any more where they were denied, and swept since:
// those of all of them go.

// Sums says which digests go.
type Sums struct {
	May   func(path string, size int64) bool // whether a file, whose path is relative to the workspace, may be one
	Moved map[string]environment.Checkpoint  // digest of a checkpoint → the one that took its place
}

// Without is an event without them; has: it names such files, with or without their digests.
func (s Sums) Without(e stead.Event) (out stead.Event, has bool, err error) {
	switch e.Kind {
	case KindEnvironmentSuspended:
		out, err = change(e, func(p *EnvironmentSuspended) (changed bool) {
			changed, has = s.changes(p.Changes)
			return changed
		})
	case KindEffectHeld:
		out, err = change(e, func(p *EffectHeld) (changed bool) {
			p.Shown, changed, has = s.shown(p)
			return changed
		})
	default:
		out = e
	}
	return out, has, err
}

func (s Sums) changes(c *environment.Changes) (changed, has bool) {
	if c == nil {
		return false, false
	}
	gone := map[string]bool{}
	for _, f := range c.Files {
		if f.What != environment.ChangeRemoved && s.May(strings.TrimPrefix(f.Path, environment.WorkspaceDir+"/"), f.Size) {
			has, gone[f.SHA256] = true, true
		}
	}
	for i, f := range c.Files {
		if f.SHA256 != "" && gone[f.SHA256] { // also that of a copy
			c.Files[i].SHA256, changed = "", true
		}
	}
	return changed, has
}

func (s Sums) shown(p *EffectHeld) (out json.RawMessage, changed, has bool) {
	var save shownSave
	if p.Effect != policy.EnvironmentSave || p.Within != "" || json.Unmarshal(p.Shown, &save) != nil {
		return p.Shown, false, false
	}
	if changed, has = s.changes(save.Changes); !has {
		return p.Shown, false, false
	}
	if to, moved := s.Moved[save.Checkpoint]; moved && to.Digest != save.Checkpoint {
		save.Checkpoint, save.Files, save.Bytes, changed = to.Digest, to.Files, to.Bytes, true
	}
	if !changed {
		return p.Shown, false, has
	}
	return mustJSON(save), true, has
}
