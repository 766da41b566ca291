package host

import (
	"cmp"
	"context"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
	"github.com/stead-dev/stead/internal/template"
)

// files is what both a resident environment and a workspace on the disk are.
type files interface {
	List(ctx context.Context, q environment.ListQuery) (environment.FilePage, error)
	CopyFile(ctx context.Context, path string, max int64, w io.Writer) error
}

// files returns the session's workspace: as it is where it is resident here, else as the journal
// knows it. done must be called.
func (h *Host) files(ctx context.Context, key stead.SessionKey, from environment.State) (files, func(), error) {
	if env, err := h.find(key); err == nil {
		return env, func() {}, nil
	}
	if from.Setup.Type != string(template.TypeHosted) {
		return nil, nil, stead.Errorf(stead.KindUnavailable, "the environment's executor is not connected to this node")
	}
	release := h.hold(key)
	if env, err := h.find(key); err == nil {
		release()
		return env, func() {}, nil
	}
	dir, err := h.resting(ctx, key, from)
	if err != nil {
		release()
		return nil, nil, err
	}
	return dir, func() { dir.Close(); release() }, nil
}

// resting is the workspace of a session that is not resident here. One that is newer than what the
// reader knows of the journal is read as it is: nobody else has what it holds.
func (h *Host) resting(ctx context.Context, key stead.SessionKey, from environment.State) (*workspace.Dir, error) {
	p := h.place(key)
	if p.state(h.boot).Residence <= from.Residence {
		if _, err := h.workspace(ctx, key, p, from); err != nil {
			return nil, err
		}
	}
	return openWorkspace(p)
}

// Files implements environment.Host.
func (h *Host) Files(ctx context.Context, key stead.SessionKey, from environment.State, q environment.ListQuery) (environment.FilePage, error) {
	w, done, err := h.files(ctx, key, from)
	if err != nil {
		return environment.FilePage{}, err
	}
	defer done()
	page, err := w.List(ctx, q)
	if stead.KindOf(err) == stead.KindNotFound && slices.ContainsFunc(from.Files, func(f environment.Put) bool { return below(f.Path, q.Dir) }) {
		page, err = environment.FilePage{}, nil // the directory comes with the files that wait
	}
	if err != nil {
		return environment.FilePage{}, err
	}
	return merge(page, from.Files, q), nil
}

// merge lays the files that wait to be put into the workspace over a page of it.
func merge(page environment.FilePage, waiting []environment.Put, q environment.ListQuery) environment.FilePage {
	if len(waiting) == 0 {
		return page
	}
	order := func(a, b string) int {
		c := slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
		if q.Desc {
			return -c
		}
		return c
	}
	last := ""
	if page.More && len(page.Files) > 0 {
		last = page.Files[len(page.Files)-1].Path
	}
	out := slices.Clone(page.Files)
	for _, w := range waiting {
		if !below(w.Path, q.Dir) || q.After != "" && order(w.Path, q.After) <= 0 || last != "" && order(w.Path, last) > 0 {
			continue
		}
		out = slices.DeleteFunc(out, func(f environment.File) bool { return f.Path == w.Path })
		out = append(out, environment.File{Path: w.Path, Size: int64(w.Data.Bytes)})
	}
	slices.SortFunc(out, func(a, b environment.File) int { return order(a.Path, b.Path) })
	if len(out) > q.Limit {
		return environment.FilePage{Files: out[:q.Limit], More: true}
	}
	return environment.FilePage{Files: out, More: page.More}
}

func below(file, dir string) bool {
	dir = cmp.Or(strings.TrimSuffix(dir, "/"), environment.WorkspaceDir)
	return strings.HasPrefix(file, dir+"/")
}

// ReadFile implements environment.Host.
func (h *Host) ReadFile(ctx context.Context, key stead.SessionKey, from environment.State, name string, to io.Writer) error {
	for _, f := range slices.Backward(from.Files) {
		if f.Path == name {
			return h.copyBlob(ctx, key, f.Data.Digest, to)
		}
	}
	w, done, err := h.files(ctx, key, from)
	if err != nil {
		return err
	}
	dir, resting := w.(*workspace.Dir)
	if !resting {
		defer done()
		return w.CopyFile(ctx, name, environment.MaxFileBytes, to)
	}
	// Whoever takes it slowly must not keep the environment from being opened meanwhile.
	f, size, err := dir.OpenFile(ctx, name)
	done()
	if err != nil {
		return err
	}
	defer f.Close()
	if size > environment.MaxFileBytes {
		return stead.Errorf(stead.KindTooLarge, "%q has %d bytes, the limit is %d", name, size, int64(environment.MaxFileBytes))
	}
	_, err = io.Copy(to, io.LimitReader(f, size))
	return err
}

// copyBlob passes a blob on as it is read.
func (h *Host) copyBlob(ctx context.Context, key stead.SessionKey, digest string, to io.Writer) error {
	from, err := h.cfg.Blobs.Open(ctx, key, digest)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return err
}

// maxSkillBytes is the largest SKILL.md that is looked at, and maxSkills the most skills that an agent
// is told of.
const (
	maxSkillBytes = 256 << 10
	maxSkills     = 64
)

// skills lists what the capability directories of an environment hold.
func (h *Host) skills(ctx context.Context, env environment.Environment, cfg template.Config) ([]environment.Skill, error) {
	dirs := slices.Clone(cfg.Directories)
	if len(cfg.Skills) > 0 {
		dirs = append(dirs, skillsDir)
	}
	for _, g := range cfg.Plugins {
		dirs = append(dirs, path.Join(pluginsDir, g.Name, "skills"))
	}
	var out []environment.Skill
	for _, dir := range dirs {
		page, err := env.List(ctx, environment.ListQuery{Dir: dir, Limit: environment.MaxListed})
		if stead.KindOf(err) == stead.KindNotFound || stead.KindOf(err) == stead.KindInvalid {
			continue // it is not there, or outside of the workspace
		}
		if err != nil {
			return out, err
		}
		for _, f := range page.Files {
			if path.Base(f.Path) != capability.SkillFile || len(out) == maxSkills {
				continue
			}
			data, err := env.ReadFile(ctx, f.Path, maxSkillBytes)
			if err != nil {
				continue
			}
			about, err := (capability.Bundle{{Path: capability.SkillFile, Data: data}}).Skill()
			if err == nil {
				out = append(out, environment.Skill{Name: about.Name, Description: about.Description, Path: f.Path})
			}
		}
	}
	return out, nil
}
