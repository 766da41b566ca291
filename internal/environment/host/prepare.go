package host

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
	"github.com/stead-dev/stead/internal/template"
)

// Where bundles are in the workspace.
const (
	skillsDir  = environment.WorkspaceDir + "/.agents/skills"
	pluginsDir = environment.WorkspaceDir + "/.agents/plugins"
)

// Prepare implements environment.Host.
func (h *Host) Prepare(ctx context.Context, key stead.SessionKey, setup environment.Setup, note environment.Note) (environment.Prepared, error) {
	driver, err := h.driver()
	if err != nil {
		return environment.Prepared{}, err
	}
	cfg, err := h.config(ctx, key, setup)
	if err == nil {
		err = h.Able(cfg)
	}
	if err != nil {
		return environment.Prepared{}, err
	}
	defer h.hold(key)()
	p := h.place(key)
	if err := p.remove(); err != nil {
		return environment.Prepared{}, err
	}
	if err := p.make(); err != nil {
		return environment.Prepared{}, err
	}
	if err := h.fill(ctx, key, p.workspace(), cfg); err != nil {
		return environment.Prepared{}, err
	}
	made := environment.Prepared{}
	blobs := h.blobs(key)
	source := p.workspace()
	if digest := cfg.LayerDigest(h.layerBase(driver, key)); digest != "" {
		l, ran, err := h.makeLayer(ctx, driver, key, p, cfg, digest, note)
		made.SetUp = ran
		if err != nil {
			return made, err
		}
		c, err := l.checkpoint(ctx, blobs)
		if err != nil {
			return made, err
		}
		made.Layer = c.Digest
		if err := h.keepForTemplate(l, cfg); err != nil {
			return environment.Prepared{SetUp: ran}, err
		}
		if len(cfg.Commands) > 0 {
			source = l.files()
		}
		if err := l.name(c.Digest); err != nil {
			return environment.Prepared{SetUp: ran}, err
		}
	}
	if source == p.workspace() {
		if err := makeOutputs(ctx, source); err != nil {
			return environment.Prepared{}, err
		}
	}
	if made.Checkpoint, err = checkpoint(ctx, source, blobs); err != nil {
		return environment.Prepared{SetUp: made.SetUp}, err
	}
	made.Blobs = blobs.added
	clean := source == p.workspace()
	return made, p.setState(state{Checkpoint: made.Checkpoint.Digest, Clean: clean, Boot: h.boot})
}

// checkpoint stores a directory.
func checkpoint(ctx context.Context, dir string, blobs environment.Blobs) (environment.Checkpoint, error) {
	d, err := workspace.Open(dir)
	if err != nil {
		return environment.Checkpoint{}, err
	}
	defer d.Close()
	return d.Checkpoint(ctx, blobs, "")
}

// makeOutputs makes the directory of artifacts, once everything else is there: set-up commands may make
// it themselves, and a configuration may have given a file of that name, which stays.
func makeOutputs(ctx context.Context, dir string) error {
	d, err := workspace.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.MakeDir(ctx, environment.OutputsDir); stead.KindOf(err) != stead.KindInvalid {
		return err
	}
	return nil
}

func openWorkspace(p place) (*workspace.Dir, error) { return workspace.Open(p.workspace()) }

// fill puts the configuration's files, skills and plugins into an empty workspace.
func (h *Host) fill(ctx context.Context, key stead.SessionKey, dir string, cfg template.Config) error {
	d, err := workspace.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for i, f := range cfg.Files {
		if err := h.fillFile(ctx, key, d, f); err != nil {
			return fmt.Errorf("files[%d]: %w", i, err)
		}
	}
	for _, s := range cfg.Skills {
		err := h.unpack(ctx, d, path.Join(skillsDir, s.Name), func() ([]byte, error) {
			if s.SkillID != "" && h.cfg.Skill != nil {
				return h.cfg.Skill(ctx, key.Project, s.SkillID, s.Version)
			}
			return h.cfg.Blobs.Get(ctx, key, s.Digest)
		})
		if err != nil {
			return fmt.Errorf("skill %s: %w", s.Name, err)
		}
	}
	for _, g := range cfg.Plugins {
		err := h.unpack(ctx, d, path.Join(pluginsDir, g.Name), func() ([]byte, error) { return h.cfg.Blobs.Get(ctx, key, g.Digest) })
		if err != nil {
			return fmt.Errorf("plugin %s: %w", g.Name, err)
		}
	}
	return nil
}

// fillFile writes a file as it is read: one by id may be as large as a workspace takes.
func (h *Host) fillFile(ctx context.Context, key stead.SessionKey, d *workspace.Dir, f template.File) (err error) {
	var from io.ReadCloser
	switch {
	case f.FileID == "":
		from, err = h.cfg.Blobs.Open(ctx, key, f.Digest)
	case h.cfg.File == nil:
		err = stead.Errorf(stead.KindNotImplemented, "this server has no files API")
	default:
		from, err = h.cfg.File(ctx, key.Project, f.FileID)
	}
	if err != nil {
		return err
	}
	defer from.Close()
	return d.WriteFrom(ctx, f.Path, from, false)
}

// unpack puts what an archive holds into a directory of a workspace.
func (h *Host) unpack(ctx context.Context, d *workspace.Dir, dir string, archive func() ([]byte, error)) error {
	select {
	case h.unpacking <- struct{}{}:
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the request has ended")
	}
	defer func() { <-h.unpacking }()
	data, err := archive()
	if err != nil {
		return err
	}
	bundle, err := capability.Open(data)
	if err != nil {
		return err
	}
	for _, f := range bundle {
		if err := d.WriteFile(ctx, path.Join(dir, f.Path), f.Data, f.Executable); err != nil {
			return err
		}
	}
	return nil
}

// layerBase is what a layer depends on beside its configuration. The project is in it because a layer
// may hold what confidential commands fetched.
func (h *Host) layerBase(driver environment.Provider, key stead.SessionKey) string {
	return strings.Join(append([]string{driver.Name(), h.cfg.Image, string(key.Project)}, h.cfg.Base...), "\x00")
}

// makeLayer runs a set-up, unless this disk has its result: the same set-up runs once, and only nodes that
// begin with it at the same time run it both.
func (h *Host) makeLayer(ctx context.Context, driver environment.Provider, key stead.SessionKey, p place, cfg template.Config, digest string, note environment.Note) (l layer, ran *environment.SetUp, err error) {
	leave, err := h.layering.take(ctx, string(key.Project)+"/"+digest)
	if err != nil {
		return layer{}, nil, err
	}
	defer leave()
	prefix := setupPrefix + digest
	l, found, err := h.claimed(key, func(layer) bool { return true }, prefix)
	if found || err != nil {
		return l, nil, err
	}
	l, err = h.build(key, prefix, func(l layer) error {
		if len(cfg.Commands) > 0 {
			if err := h.fill(ctx, key, l.files(), cfg); err != nil {
				return err
			}
		}
		used, err := h.setup(ctx, driver, key, p, l.root(), l.files(), cfg, note)
		if ran = &used; err != nil {
			return err
		}
		if err := makeOutputs(ctx, l.files()); err != nil { // while nobody else has it
			return err
		}
		return l.describe()
	})
	if err != nil {
		return layer{}, ran, err
	}
	return h.first(key, prefix, l), ran, nil
}

// setup runs the commands of a set-up, as the inside's root and with the network: what the network
// policy says is for the agent's own commands, as the contract has it.
func (h *Host) setup(ctx context.Context, driver environment.Provider, key stead.SessionKey, p place, upper, files string, cfg template.Config, note environment.Note) (ran environment.SetUp, err error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, SetupTime)
	defer cancel()
	script := cfg.SetupScript()
	b := &box{key: key, place: p, limits: environment.LimitsOf(cfg.Effective().Size)}
	spec := environment.Spec{
		ID: environmentID(key), Workspace: files, Root: environment.Root{Image: h.cfg.Image, Upper: upper},
		Env: cfg.Environment(), Limits: b.limits, Services: p.services(), AsRoot: true,
	}
	if err := emptyDir(p.services()); err != nil {
		return ran, err
	}
	policy := egress.Policy{Access: egress.AccessEnabled, Private: h.cfg.Egress.Private, Limits: h.cfg.Egress.Limits}
	if err := h.openEgress(b, policy, note, nil, &spec); err != nil {
		return ran, err
	}
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), SetupTime+CloseTimeout)
	defer stop()
	defer h.closeServices(end, b)
	if b.env, err = driver.Open(ctx, spec); err != nil {
		return ran, err
	}
	defer func() {
		if closing := b.env.Close(end); err == nil { // the layer is whole only then
			err = closing
		}
		ran = environment.SetUp{Millis: time.Since(begin).Milliseconds(), Usage: b.usage()}
		ran.Usage.DiskBytes = 0 // the first checkpoint says it
	}()
	for _, step := range script.Steps {
		if err := h.step(ctx, b.env, step); err != nil {
			return ran, err
		}
	}
	return ran, nil
}

// step runs one command. What a confidential one prints is shown to nobody.
func (h *Host) step(ctx context.Context, env environment.Environment, step template.Step) error {
	var tail []byte
	step.Command.Timeout = SetupTime
	exit, err := env.Exec(ctx, step.Command, func(c environment.Chunk) {
		if tail = append(tail, c.Data...); len(tail) > 2*MaxSetupOutput {
			tail = append(tail[:0], tail[len(tail)-MaxSetupOutput:]...)
		}
	})
	if err != nil {
		return err
	}
	if exit.Code == 0 && exit.Reason == "" {
		return nil
	}
	failed := step.Failed(exit)
	if step.Confidential || len(tail) == 0 {
		return failed
	}
	e := stead.Errorf(stead.KindInvalid, "%s; it said: %s", failed.Error(), strings.TrimSpace(strings.ToValidUTF8(string(tail[max(0, len(tail)-MaxSetupOutput):]), "?")))
	return e
}
