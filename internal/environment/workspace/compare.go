package workspace

import (
	"context"
	"slices"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// Compare says which files differ between two checkpoints in the same blobs; from "" has none. Times alone are no difference.
func Compare(ctx context.Context, blobs environment.Blobs, from, to string) (environment.Changes, error) {
	var old []manifest.Entry
	if from != "" {
		stored, err := manifest.Load(ctx, blobs.Get, from)
		if err != nil {
			return environment.Changes{}, err
		}
		old = stored.Entries
	}
	stored, err := manifest.Load(ctx, blobs.Get, to)
	if err != nil {
		return environment.Changes{}, err
	}
	var out environment.Changes
	note := func(e manifest.Entry, what string) {
		if e.Kind == manifest.Directory {
			return
		}
		if out.Total++; out.Total <= environment.MaxChanges {
			out.Files = append(out.Files, change(e, what))
		}
	}
	now := stored.Entries
	for len(old) > 0 || len(now) > 0 {
		switch order := between(old, now); {
		case order < 0:
			note(old[0], environment.ChangeRemoved)
			old = old[1:]
		case order > 0:
			note(now[0], environment.ChangeAdded)
			now = now[1:]
		default:
			if old[0].Kind != now[0].Kind && now[0].Kind == manifest.Directory {
				note(old[0], environment.ChangeRemoved)
			} else if !alike(old[0], now[0]) {
				note(now[0], environment.ChangeChanged)
			}
			old, now = old[1:], now[1:]
		}
	}
	return out, nil
}

// between orders the heads of two lists by path; an empty one comes last.
func between(old, now []manifest.Entry) int {
	switch {
	case len(old) == 0:
		return 1
	case len(now) == 0:
		return -1
	}
	return manifest.Compare(old[0].Path, now[0].Path)
}

func alike(a, b manifest.Entry) bool {
	return a.Kind == b.Kind && a.Mode == b.Mode && a.Size == b.Size && a.Target == b.Target && slices.EqualFunc(a.Parts, b.Parts, sameBytes)
}

func change(e manifest.Entry, what string) environment.Change {
	out := environment.Change{Path: environment.WirePath(environment.WorkspaceDir + "/" + e.Path), What: what, Size: e.Size, Link: environment.WirePath(e.Target)}
	if len(e.Parts) == 1 && e.Parts[0].Pack != manifest.Hole && what != environment.ChangeRemoved {
		out.SHA256 = e.Parts[0].Hash.String()
	}
	return out
}
