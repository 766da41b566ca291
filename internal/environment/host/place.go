package host

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/workspace"
	"github.com/stead-dev/stead/internal/volume"
)

// Names below the data directory.
const (
	EnvironmentsDir = "environments"
	layersDir       = "layers"
	workspaceDir    = "workspace"
	servicesDir     = "services"
	stateFile       = "state.json"
)

// place is where a session's environment is on this node.
type place struct{ dir string }

func (h *Host) place(key stead.SessionKey) place {
	return place{filepath.Join(h.cfg.Dir, EnvironmentsDir, string(key.Project), string(key.Session))}
}

func (p place) workspace() string { return filepath.Join(p.dir, workspaceDir) }
func (p place) services() string  { return filepath.Join(p.dir, servicesDir) }

// state says what the workspace on this node is.
type state struct {
	// Checkpoint is the one that the workspace was equal to, last.
	Checkpoint string `json:"checkpoint"`
	// Clean: it still is. Otherwise processes of Residence may have changed it since.
	Clean     bool      `json:"clean"`
	Residence stead.Seq `json:"residence"`
	// Before is the residence that left the workspace with which Residence begins: until the journal
	// knows that Residence is open, no command has changed it. 0: it began with a checkpoint.
	Before stead.Seq `json:"before,omitempty"`
	Boot   string    `json:"boot"` // of the machine, when this was written
}

// leftBy reports whether the workspace is as a residence left it.
func (s state) leftBy(residence stead.Seq) bool {
	return residence > 0 && (s.Residence == residence || s.Before == residence)
}

// state reads what was written last; the zero state when there is nothing to trust, as where somebody removed the workspace.
func (p place) state(boot string) state {
	if !isDir(p.workspace()) {
		return state{}
	}
	data, err := os.ReadFile(filepath.Join(p.dir, stateFile))
	var s state
	if err != nil || json.Unmarshal(data, &s) != nil || s.Boot != boot {
		return state{}
	}
	return s
}

// setState replaces the state: whole or not at all.
func (p place) setState(s state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "write the state of an environment")
	}
	name := filepath.Join(p.dir, stateFile)
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return unavailable(err, "write the state of an environment")
	}
	return unavailable(os.Rename(name+".new", name), "write the state of an environment")
}

// make makes the place's directories.
func (p place) make() error {
	// Whoever may pass through the data directory still can't list whose environments there are.
	if err := os.MkdirAll(filepath.Dir(p.dir), 0o711); err != nil {
		return unavailable(err, "make the directory of a project's environments")
	}
	workspace.Apart(filepath.Dir(p.dir))
	for _, dir := range []string{p.workspace(), p.services()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return unavailable(err, "make the directory of an environment")
		}
	}
	return nil
}

// remove removes all of it, whatever modes an agent gave its files.
func (p place) remove() error {
	if err := workspace.Remove(p.workspace()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unavailable(os.RemoveAll(p.dir), "remove the directory of an environment")
}

// bootID names this start of the machine; where none is known, this start of the process.
func bootID() string {
	if data, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		return strings.TrimSpace(string(data))
	}
	return stamp()
}

// unavailable is the error of an operation on the node's disk; of a full one it says so.
func unavailable(err error, what string) error {
	dir := ""
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		dir = filepath.Dir(at.Path)
	} else if at, ok := errors.AsType[*os.LinkError](err); ok {
		dir = filepath.Dir(at.New)
	}
	return volume.Fault(err, dir, what)
}
