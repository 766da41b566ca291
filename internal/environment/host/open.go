package host

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
	"github.com/stead-dev/stead/internal/environment/wrap"
	"github.com/stead-dev/stead/internal/template"
)

// config reads what an environment is made of.
func (h *Host) config(ctx context.Context, key stead.SessionKey, setup environment.Setup) (template.Config, error) {
	var public template.Public
	if err := json.Unmarshal(setup.Config, &public); err != nil {
		return template.Config{}, stead.Wrap(stead.KindInternal, err, "the configuration of an environment can't be read")
	}
	var secret template.Secret
	if setup.Sealed != nil {
		data, err := h.cfg.Blobs.Get(ctx, key, setup.Sealed.Digest)
		if err != nil {
			return template.Config{}, err
		}
		if data, err = h.cfg.Whole(ctx, key, data); err != nil {
			return template.Config{}, err
		}
		if secret, err = template.OpenSecret(h.cfg.Keys, wrap.Label(key.Project, setup.Owner), data); err != nil {
			return template.Config{}, err
		}
	}
	return template.Join(public, secret), nil
}

// driver is the node's driver, or why there is none.
func (h *Host) driver() (environment.Provider, error) {
	if h.cfg.Driver != nil {
		return h.cfg.Driver, nil
	}
	e := stead.Errorf(stead.KindNotImplemented, "this node can't host environments: %s", h.cfg.Problem)
	e.Hint = "stead doctor says what is missing."
	return nil, e
}

// Open implements environment.Host.
func (h *Host) Open(ctx context.Context, key stead.SessionKey, from environment.State) (environment.Opened, error) {
	driver, err := h.driver()
	if err != nil {
		return environment.Opened{}, err
	}
	defer h.hold(key)()
	if b := h.take(key, func(*box) bool { return true }); b != nil {
		h.end(b) // of a lease that was lost
	}
	if h.full() {
		return environment.Opened{}, stead.Errorf(stead.KindUnavailable, "%d environments are resident on this node, which is the limit", MaxResident)
	}
	cfg, err := h.config(ctx, key, from.Setup)
	if err == nil {
		err = h.Able(cfg)
	}
	if err != nil {
		return environment.Opened{}, err
	}
	p := h.place(key)
	kept, err := h.workspace(ctx, key, p, from)
	if err != nil {
		return environment.Opened{}, err
	}
	next := state{Checkpoint: from.Checkpoint, Residence: from.Next, Boot: h.boot}
	if kept {
		next.Before = from.Residence // should this fail, the next try finds it again
	}
	if err := p.setState(next); err != nil {
		return environment.Opened{}, err
	}
	limits := environment.LimitsOf(cfg.Effective().Size)
	if err := forgetIn(ctx, p, from.Forget); err != nil {
		return environment.Opened{}, err
	}
	refused, err := h.put(ctx, key, p, limits, from.Files)
	if err != nil {
		return environment.Opened{}, err
	}
	b := &box{
		key: key, residence: from.Next, place: p, public: cfg.Public, limits: limits,
		stored: from.Checkpoint, background: newBackground(),
	}
	if err := h.start(ctx, driver, b, cfg, from); err != nil {
		return environment.Opened{}, err
	}
	h.mu.Lock()
	h.boxes[key] = b
	h.mu.Unlock()
	go h.watch(b)
	go h.attend(b)
	skills, err := h.skills(ctx, b.env, cfg)
	if err != nil {
		h.log.Warn("the skills of an environment could not be listed", "session", key.Session, "err", err)
	}
	opened := environment.Opened{Driver: driver.Name(), Kept: kept, Done: b.env.Done(), Used: b.usage, Changed: b.background.tell, Skills: skills, Refused: refused}
	if e, ok := b.env.(environment.Explained); ok {
		opened.WhyEnded = e.WhyEnded
	}
	return opened, nil
}

func (h *Host) full() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.boxes) >= MaxResident
}

// watch forgets a box that died.
func (h *Host) watch(b *box) {
	<-b.env.Done()
	if h.take(b.key, func(other *box) bool { return other == b }) != nil {
		h.end(b)
	}
}

// workspace brings the workspace on this node to the state that the journal knows. It reports whether
// it was kept as the last residence left it.
func (h *Host) workspace(ctx context.Context, key stead.SessionKey, p place, from environment.State) (kept bool, err error) {
	s := p.state(h.boot)
	switch {
	case from.Checkpoint != "" && s.Checkpoint == from.Checkpoint && s.Clean:
		return false, nil // it is what the checkpoint holds
	case s.leftBy(from.Residence):
		return true, nil // also if it was stored since, and the journal never heard of that
	}
	if err := p.make(); err != nil {
		return false, err
	}
	// From here on it is neither the old state nor the new one.
	if err := p.setState(state{Boot: h.boot}); err != nil {
		return false, err
	}
	if from.Checkpoint == "" {
		return false, nil
	}
	if err := workspace.Restore(ctx, p.workspace(), h.blobs(key), from.Checkpoint, workspace.WithRoom(h.cfg.Room)); err != nil {
		return false, err
	}
	return false, p.setState(state{Checkpoint: from.Checkpoint, Clean: true, Boot: h.boot})
}

// start opens the box over a workspace that is ready.
func (h *Host) start(ctx context.Context, driver environment.Provider, b *box, cfg template.Config, from environment.State) error {
	root := environment.Root{Image: h.cfg.Image}
	keep := func() (bool, error) { return true, nil } // whether its layer was there until it was in use
	if from.Layer == "" {
		// The image alone.
	} else if _, err := manifest.ParseSum(from.Layer); err != nil { // an import says itself which it has
		return stead.Wrap(stead.KindInvalid, err, "the environment's layer has no digest")
	} else if dir, found := h.oldLayer(b.key, from.Layer); found {
		root.Layers = []string{dir}
	} else {
		l, err := h.layer(ctx, b.key, from.Layer)
		if err != nil {
			return err
		}
		root.Layers = []string{l.root()}
		keep = func() (bool, error) { return l.claim(string(b.key.Session)) }
	}
	spec := environment.Spec{
		ID: environmentID(b.key), Workspace: b.place.workspace(), Root: root, Env: cfg.Environment(), Limits: b.limits, Services: b.place.services(),
	}
	if err := h.openServices(b, cfg, from, &spec); err != nil {
		h.closeServices(ctx, b)
		return err
	}
	env, err := driver.Open(ctx, spec)
	if err != nil {
		h.closeServices(ctx, b)
		return err
	}
	b.env = env
	if kept, err := keep(); err != nil || !kept { // a sweep that had just looked for one that nobody used
		h.end(b)
		return cmp.Or(err, error(stead.Errorf(stead.KindUnavailable, "the layer was removed while the environment was opened")))
	}
	return nil
}

// layer claims the layer that a checkpoint stores, restored if this disk does not have it.
func (h *Host) layer(ctx context.Context, key stead.SessionKey, digest string) (layer, error) {
	leave, err := h.layering.take(ctx, string(key.Project)+"/"+digest)
	if err != nil {
		return layer{}, err
	}
	defer leave()
	named := func(l layer) bool { return l.named(digest) }
	l, found, err := h.claimed(key, named, setupPrefix, storedPrefix)
	if found || err != nil {
		return l, err
	}
	prefix := storedPrefix + digest
	l, err = h.build(key, prefix, func(l layer) error {
		if err := workspace.Restore(ctx, l.stored(), h.blobs(key), digest, workspace.WithRoom(h.cfg.Room)); err != nil {
			return err
		}
		if err := l.mend(h.cfg.Room); err != nil {
			return err
		}
		return l.name(digest)
	})
	if err != nil {
		return layer{}, err
	}
	return h.first(key, prefix, l), nil
}

// oldLayer finds a layer of the time when layers had no users, by the checkpoint that stores it.
func (h *Host) oldLayer(key stead.SessionKey, digest string) (root string, found bool) {
	dir := filepath.Join(h.layersOf(key.Project), digest)
	if st, err := os.Lstat(filepath.Join(dir, layerRoot)); err != nil || !st.IsDir() || !(layer{dir}).old() {
		return "", false
	}
	now := time.Now()
	return filepath.Join(dir, layerRoot), os.Chtimes(filepath.Join(dir, oldMark), now, now) == nil
}

// blobs are a session's, for a workspace.
func (h *Host) blobs(key stead.SessionKey) *recorder { return &recorder{store: h.cfg.Blobs, key: key} }
