package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/template"
)

// When layers end whose sessions don't say so.
const (
	// LayerUnused is after how long without a use a layer is removed from a node's disk: its sessions may have
	// been deleted by a node that has another disk. One that is used later is restored from its session's blobs.
	LayerUnused = 30 * 24 * time.Hour
	// MakingTime is after how long a layer that is not whole belongs to nobody any more. Its maker has SetupTime.
	MakingTime = 3 * SetupTime
	// ClaimTime is after how long a template's claim that says no version is nobody's: whoever made it was killed before
	// it did, which takes one write. Longer than that by far, and than what the clocks of nodes differ by. A session's
	// claim that is older is asked about.
	ClaimTime = time.Hour
	// SweepEvery is how often a node looks for either.
	SweepEvery = time.Minute
)

// making marks a directory as being made by this process: the lock ends with it.
func making(dir, boot string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, makerFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, unavailable(err, "mark a layer as being made")
	}
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) // without locks, time says when it is over
	if _, err := f.WriteString(boot); err != nil {
		return nil, errors.Join(unavailable(err, "mark a layer as being made"), f.Close())
	}
	return f, nil
}

// abandoned reports whether nobody makes what is in a directory any more. A lock says it of a maker on this
// machine alone: others may share the disk and not the locks, so that for theirs only time tells.
func abandoned(dir, boot string, now time.Time) bool {
	name := filepath.Join(dir, makerFile)
	info, err := os.Stat(name)
	if err != nil {
		if info, err = os.Stat(dir); err != nil {
			return false
		}
	} else if by, err := os.ReadFile(name); err == nil && string(by) == boot {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return false
		}
		defer f.Close()
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return true
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false
		}
	}
	return now.Sub(info.ModTime()) > MakingTime
}

// keepSweeping removes what layers leave behind, until ctx ends.
func (h *Host) keepSweeping(ctx context.Context) {
	every := time.NewTicker(SweepEvery)
	defer every.Stop()
	var asked time.Time
	for {
		now := time.Now()
		h.sweep(ctx, now)
		if now.Sub(asked) >= ClaimsEvery {
			asked = now
			if err := h.sweepClaims(ctx, now); err != nil && ctx.Err() == nil {
				h.log.Warn("whether sessions still need their layers can't be told", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// sweep removes layers that were never finished, that have ended and are still there, or that nobody has
// used for LayerUnused.
func (h *Host) sweep(ctx context.Context, now time.Time) {
	projects, err := os.ReadDir(filepath.Join(h.cfg.Dir, layersDir))
	if err != nil {
		h.log.Warn("the layers can't be listed", "err", err)
	}
	for _, p := range projects {
		dir := h.layersOf(stead.ProjectID(p.Name()))
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it is gone, or no directory
		}
		for _, e := range entries {
			err := h.sweepOne(filepath.Join(dir, e.Name()), now)
			if err == nil {
				err = h.leaveTemplates(ctx, stead.ProjectID(p.Name()), layer{filepath.Join(dir, e.Name())}, now)
			}
			if err != nil {
				h.log.Warn("a layer that nobody needs is left", "layer", filepath.Join(dir, e.Name()), "err", err)
			}
		}
	}
}

// keepForTemplate lets a template have a layer whose set-up is all its own. What a session has put in beside it ends with
// that session.
func (h *Host) keepForTemplate(l layer, cfg template.Config) error {
	if h.cfg.Template == nil || !strings.HasPrefix(cfg.TemplateID, template.Prefix) || cfg.TemplateVersion == 0 {
		return nil
	}
	if _, err := l.claim(cfg.TemplateID); err != nil {
		return err
	}
	version := strconv.FormatInt(cfg.TemplateVersion, 10)
	return unavailable(os.WriteFile(filepath.Join(l.dir, layerUsers, cfg.TemplateID), []byte(version), 0o600), "keep a layer for its template")
}

// leaveTemplates takes back the claims of templates that are deleted or changed, and those that are not finished.
func (h *Host) leaveTemplates(ctx context.Context, project stead.ProjectID, l layer, now time.Time) error {
	users, err := os.ReadDir(filepath.Join(l.dir, layerUsers))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable(err, "look who uses a layer")
	}
	for _, u := range users {
		if h.cfg.Template == nil || strings.HasPrefix(u.Name(), stead.SessionPrefix) {
			continue
		}
		left, err := h.left(ctx, project, filepath.Join(l.dir, layerUsers, u.Name()), now)
		if err == nil && left {
			err = l.release(u.Name())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// left reports whether no template needs its claim any more.
func (h *Host) left(ctx context.Context, project stead.ProjectID, claim string, now time.Time) (bool, error) {
	info, err := os.Stat(claim) // before it is read: one that is written meanwhile is no older than it looks
	if err != nil {
		return false, nil //nolint:nilerr // it is gone, or the next sweep sees it
	}
	of, err := os.ReadFile(claim)
	if err != nil {
		return false, nil //nolint:nilerr // likewise
	}
	if len(of) == 0 {
		return now.Sub(info.ModTime()) > ClaimTime, nil
	}
	version, err := h.cfg.Template(ctx, project, filepath.Base(claim))
	if stead.KindOf(err) == stead.KindNotFound {
		return true, nil
	}
	return err == nil && strconv.FormatInt(version, 10) != string(of), err
}

// noticedMark is a file that old layers have since the first sweep that met them.
const noticedMark = "noticed"

// oldUnused is for how long nobody may have used an old layer. The nodes of its time say nothing of their uses, and may
// be at work beside this one, so that it counts from when it was noticed, at the earliest.
func (l layer) oldUnused(now time.Time) (time.Duration, error) {
	used, err := os.Stat(filepath.Join(l.dir, oldMark))
	if err != nil {
		return 0, unavailable(err, "look when an old layer was used")
	}
	name := filepath.Join(l.dir, noticedMark)
	noticed, err := os.Stat(name)
	switch {
	case err == nil:
		return min(now.Sub(used.ModTime()), now.Sub(noticed.ModTime())), nil
	case !errors.Is(err, fs.ErrNotExist):
		return 0, unavailable(err, "look when an old layer was noticed")
	}
	err = os.WriteFile(name, nil, 0o600)
	return 0, unavailable(err, "notice an old layer")
}

func (h *Host) sweepOne(dir string, now time.Time) error {
	l := layer{dir}
	if strings.HasPrefix(filepath.Base(dir), makingPrefix) {
		if !abandoned(dir, h.boot, now) {
			return nil
		}
		return remove(dir)
	}
	if l.old() {
		unused, err := l.oldUnused(now)
		if err != nil || unused <= LayerUnused {
			return err
		}
		return remove(dir)
	}
	if info, err := os.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return unavailable(os.Remove(dir), "remove the name of an old layer") // which is gone
	}
	if info, err := os.Stat(dir); err == nil && !isDir(l.stored()) && now.Sub(info.ModTime()) <= MakingTime {
		return nil // a node of before makes it
	}
	users, err := os.ReadDir(filepath.Join(dir, layerUsers))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable(err, "look who uses a layer")
	}
	for _, u := range users {
		if info, err := u.Info(); err == nil && now.Sub(info.ModTime()) <= LayerUnused {
			return nil
		}
	}
	for _, u := range users {
		if err := os.Remove(filepath.Join(dir, layerUsers, u.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unavailable(err, "let a layer go")
		}
	}
	return l.end()
}
