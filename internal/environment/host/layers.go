package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/trait"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// Names in the directory of a project's layers. Each layer has a name that no other one ever had, so that
// whoever finds a layer's end can't be mistaken about which layer it is; nodes may share the directory.
const (
	setupPrefix  = "setup-"  // made here: then the digest of the set-up, "-", something random
	storedPrefix = "stored-" // restored from blobs: then the digest of the checkpoint, likewise
	makingPrefix = "making-" // not whole yet: then something random
)

// Names in the directory of a layer.
const (
	layerStored      = "stored" // what a checkpoint of it stores
	layerRoot        = "root"   // in that: what is laid over the image
	layerTraits      = "traits" // beside it: what of it no checkpoint takes; see package trait
	layerFiles       = "workspace"
	layerUsers       = "users"       // a file for each session and template that may use it; the time of its last use is its own
	layerCheckpoints = "checkpoints" // a file for each digest under which the layer is stored
	makerFile        = "maker"       // locked while it is made; says on which start of which machine
)

// layer is the directory of a layer that its session has claimed.
//
// Claim and end are one operation of the file system each, which shared ones have as well: a session claims
// a layer by a file in users, and a layer ends when users, empty, is removed. Nothing can be claimed after
// that, and nothing ends before it.
type layer struct{ dir string }

func (l layer) stored() string { return filepath.Join(l.dir, layerStored) }
func (l layer) root() string   { return filepath.Join(l.dir, layerStored, layerRoot) }

// files are what set-up commands left in the workspace.
func (l layer) files() string { return filepath.Join(l.dir, layerFiles) }

// maxUserBytes is the longest name of a user: an id of a session or a template.
const maxUserBytes = 128

// user is the file by which a session or a template claims the layer. What is no plain name is refused: an import says
// itself what its template is called.
func (l layer) user(name string) (string, error) {
	odd := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && r != '_' && r != '-'
	}
	if name == "" || len(name) > maxUserBytes || strings.ContainsFunc(name, odd) {
		return "", stead.Errorf(stead.KindInvalid, "%.80q is no id of a session or a template: it can't use a layer", name)
	}
	return filepath.Join(l.dir, layerUsers, name), nil
}

// claim lets a user have the layer until it is released; false when the layer has ended.
func (l layer) claim(user string) (bool, error) {
	name, err := l.user(user)
	if err != nil {
		return false, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESTALE) {
		return false, nil
	}
	if err != nil {
		return false, unavailable(err, "claim a layer")
	}
	now := time.Now()
	return true, unavailable(errors.Join(f.Close(), os.Chtimes(name, now, now)), "claim a layer")
}

// release takes a user's claim back, and removes the layer if it was the last one.
func (l layer) release(user string) error {
	name, err := l.user(user)
	if err != nil {
		return err
	}
	err = os.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unavailable(err, "let a layer go")
	}
	return l.end()
}

// end removes the layer if nobody has a claim to it.
func (l layer) end() error {
	if err := os.Remove(filepath.Join(l.dir, layerUsers)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil //nolint:nilerr // it is not empty: somebody has one
	}
	return remove(l.dir)
}

// remove removes a directory, whatever modes a set-up gave its files.
func remove(dir string) error {
	if err := workspace.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unavailable(os.RemoveAll(dir), "remove a layer")
}

// describe lists what a checkpoint of the layer leaves out, beside it.
func (l layer) describe() error {
	f, err := os.Create(filepath.Join(l.stored(), layerTraits))
	if err != nil {
		return unavailable(err, "list the owners and marks of a layer")
	}
	err = l.below(func(root *os.Root) error { return trait.Write(root, f) })
	if closing := f.Close(); err == nil {
		err = unavailable(closing, "list the owners and marks of a layer")
	}
	return err
}

// checkpoint stores the layer, with the list beside it.
func (l layer) checkpoint(ctx context.Context, blobs environment.Blobs) (environment.Checkpoint, error) {
	d, err := workspace.Open(l.stored())
	if err != nil {
		return environment.Checkpoint{}, err
	}
	defer d.Close()
	return d.CheckpointLayer(ctx, blobs)
}

// mend makes what was restored from a checkpoint what it was. One that was stored without a list is the root alone,
// and stays what the checkpoint made of it. admit is asked for room: a list makes what no checkpoint has.
func (l layer) mend(admit func(bytes, files int64) error) error {
	f, err := os.OpenFile(filepath.Join(l.stored(), layerTraits), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case err == nil:
		defer f.Close()
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ELOOP):
		return unavailable(err, "restore a layer")
	}
	if root, gone := os.Lstat(l.root()); err != nil || gone != nil || !root.IsDir() { // a link would lead out
		whole := filepath.Join(l.dir, "whole")
		err := errors.Join(os.Rename(l.stored(), whole), os.Mkdir(l.stored(), 0o755), os.Rename(whole, l.root())) //nolint:gosec // see build
		return unavailable(err, "restore a layer")
	}
	return l.below(func(root *os.Root) error { return trait.Apply(root, f, admit) })
}

// below does something in the layer's root.
func (l layer) below(do func(*os.Root) error) error {
	root, err := os.OpenRoot(l.root())
	if err != nil {
		return unavailable(err, "open a layer")
	}
	defer root.Close()
	return do(root)
}

// name lets the layer be found by the checkpoint that stores it.
func (l layer) name(digest string) error {
	dir := filepath.Join(l.dir, layerCheckpoints)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, digest), nil, 0o600)
	}
	return unavailable(err, "name a layer")
}

// named reports whether a checkpoint stores the layer.
func (l layer) named(digest string) bool {
	_, err := os.Lstat(filepath.Join(l.dir, layerCheckpoints, digest))
	return err == nil
}

func (h *Host) layersOf(project stead.ProjectID) string {
	return filepath.Join(h.cfg.Dir, layersDir, string(project))
}

// layers lists a project's layers that are whole and whose names begin so.
func (h *Host) layers(project stead.ProjectID, prefixes ...string) ([]layer, error) {
	entries, err := os.ReadDir(h.layersOf(project))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unavailable(err, "list the layers of a project")
	}
	var out []layer
	for _, e := range entries {
		for _, p := range prefixes {
			if l := (layer{filepath.Join(h.layersOf(project), e.Name())}); e.IsDir() && strings.HasPrefix(e.Name(), p) && !l.old() {
				out = append(out, l)
			}
		}
	}
	return out, nil
}

// claimed finds a layer and claims it for a session.
func (h *Host) claimed(key stead.SessionKey, wanted func(layer) bool, prefixes ...string) (l layer, found bool, err error) {
	all, err := h.layers(key.Project, prefixes...)
	for _, l := range all {
		if !wanted(l) {
			continue
		}
		if found, err := l.claim(string(key.Session)); found || err != nil {
			return l, found, err
		}
	}
	return layer{}, false, err
}

// build makes a layer where nobody else looks, claims it for the session and gives it its name.
func (h *Host) build(key stead.SessionKey, prefix string, fill func(layer) error) (l layer, err error) {
	project := h.layersOf(key.Project)
	if err := os.MkdirAll(project, 0o755); err != nil { //nolint:gosec // nobody gets into the directory above
		return layer{}, unavailable(err, "make the directory of a project's layers")
	}
	dir, err := os.MkdirTemp(project, makingPrefix)
	if err != nil {
		return layer{}, unavailable(err, "make the directory of a layer")
	}
	m, err := making(dir, h.boot)
	if err != nil {
		return layer{}, errors.Join(err, remove(dir))
	}
	defer m.Close()
	at := layer{dir}
	for _, d := range []string{dir, at.stored(), at.root(), at.files(), filepath.Join(dir, layerUsers)} {
		if err == nil {
			err = errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, 0o755)) //nolint:gosec // what is in it is seen inside, by other users
		}
	}
	if err = unavailable(err, "make the directory of a layer"); err == nil {
		err = fill(at)
	}
	if err == nil {
		_, err = at.claim(string(key.Session))
	}
	if err != nil {
		return layer{}, errors.Join(err, remove(dir))
	}
	l = layer{filepath.Join(project, prefix+"-"+strings.TrimPrefix(filepath.Base(dir), makingPrefix))}
	if err := os.Rename(dir, l.dir); err != nil {
		return layer{}, errors.Join(unavailable(err, "name a layer"), remove(dir))
	}
	_ = os.Remove(filepath.Join(l.dir, makerFile)) // it says nothing of a layer that is whole
	return l, nil
}

// first lets go of a layer that was just made if another node was faster with the same: both have one then.
func (h *Host) first(key stead.SessionKey, prefix string, mine layer) layer {
	theirs, found, err := h.claimed(key, func(l layer) bool { return l != mine }, prefix)
	if err != nil || !found {
		return mine
	}
	if err := mine.release(string(key.Session)); err != nil {
		h.log.Warn("a layer that another node has made as well is left", "layer", mine.dir, "err", err)
	}
	return theirs
}

// release lets go of every layer that a session has claimed.
func (h *Host) release(key stead.SessionKey) error {
	all, err := h.layers(key.Project, setupPrefix, storedPrefix)
	for _, l := range all {
		err = errors.Join(err, l.release(string(key.Session)))
	}
	return err
}

// old reports whether the layer is of the time when layers had no users: a session that has one goes on
// with it, and no new one gets it.
func (l layer) old() bool {
	_, err := os.Lstat(filepath.Join(l.dir, oldMark))
	return err == nil
}

// oldMark is a file that old layers have when they are whole; its time is that of their last use.
const oldMark = "complete"
