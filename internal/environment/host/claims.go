package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// ClaimsEvery is how often a node asks whether the sessions that claim its layers are there.
const ClaimsEvery = time.Hour

// sweepClaims takes back the claims of sessions that are deleted: by a node that has another disk, or while this one
// was claiming a layer for them. A session is there before its first claim, and no id is given twice. An
// environment that is on this node goes first: its layer is in use.
func (h *Host) sweepClaims(ctx context.Context, now time.Time) error {
	if h.cfg.Session == nil {
		return nil
	}
	projects, err := os.ReadDir(filepath.Join(h.cfg.Dir, layersDir))
	if err != nil {
		return unavailable(err, "list the layers")
	}
	for _, p := range projects {
		project := stead.ProjectID(p.Name())
		all, err := h.layers(project, setupPrefix, storedPrefix)
		if err != nil {
			continue // it is gone, or no directory
		}
		for _, l := range all {
			if err := h.leaveSessions(ctx, project, l, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaveSessions takes back those of one layer that are older than ClaimTime.
func (h *Host) leaveSessions(ctx context.Context, project stead.ProjectID, l layer, now time.Time) error {
	users, err := os.ReadDir(filepath.Join(l.dir, layerUsers))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable(err, "look who uses a layer")
	}
	for _, u := range users {
		key := stead.SessionKey{Project: project, Session: stead.SessionID(u.Name())}
		info, err := u.Info()
		if err != nil || now.Sub(info.ModTime()) <= ClaimTime || !strings.HasPrefix(u.Name(), stead.SessionPrefix) {
			continue
		}
		if _, err := h.box(key); err == nil {
			continue
		}
		err = h.cfg.Session(ctx, key)
		if stead.KindOf(err) == stead.KindNotFound {
			err = l.release(u.Name())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
