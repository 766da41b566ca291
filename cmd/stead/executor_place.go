package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/bare"
)

// placing decides where on this machine a session works. Whoever makes the session names a directory of
// this machine in it (workspace_directory), and whoever sits here bounds that, by --workspace.
type placing struct {
	own     string // --workspace, or where the executor was started: a real path
	bounded bool   // --workspace was given: nothing outside of own is touched
	sandbox string
	say     *executorVoice
}

// decide is executor.Config's Place.
func (p placing) decide(named string) (workspace, seen string, err error) {
	dir, err := p.choose(named)
	if err == nil {
		err = mayOwn(dir, p.sandbox, p.bounded)
	}
	if err != nil {
		return "", "", err
	}
	if dir != p.own {
		p.say.say(map[string]any{"event": "workspace", "workspace": dir}, "the session works in %s", dir)
	}
	return dir, p.seen(dir), nil
}

// seen is where commands see a workspace.
func (p placing) seen(dir string) string {
	if p.sandbox == sandboxNS {
		return environment.WorkspaceDir
	}
	return dir // the machine's own paths
}

// choose finds the directory. The contract's default, /workspace, is no wish where there is no such
// directory, or another one was given: it is where sandboxes show the workspace, whatever it is.
func (p placing) choose(named string) (string, error) {
	real, err := workspaceDir(named)
	if named == "" || named == environment.WorkspaceDir && (p.bounded || err != nil) {
		return p.own, nil
	}
	switch {
	case err != nil:
		e := stead.Wrap(stead.KindInvalid, err, "the session works in %q, which is no directory of this machine", named)
		e.Hint = "Make it, or create the session with a workspace_directory that is here."
		return "", e
	case p.bounded && !isBelow(real, p.own):
		e := stead.Invalid("workspace", "the session works in %q, and --workspace allows %q and what is below it alone", named, p.own)
		e.Hint = "Start the executor with the --workspace that the session may have, or create the session with a workspace_directory below yours."
		return "", e
	case !p.bounded && holdsHome(real):
		e := stead.Invalid("workspace", "the session works in %q, which holds all of your own files", named)
		e.Hint = "Say so with --workspace if it may."
		return "", e
	}
	return real, nil
}

// isBelow reports whether a directory is another one or below it; both are real paths.
func isBelow(dir, bound string) bool {
	return dir == bound || strings.HasPrefix(dir, strings.TrimSuffix(bound, "/")+"/")
}

// holdsHome reports whether a directory is the user's home directory or above it.
func holdsHome(dir string) bool {
	if dir == "/" {
		return true
	}
	home, err := os.UserHomeDir()
	if err == nil {
		home, err = filepath.EvalSymlinks(home)
	}
	return err == nil && isBelow(home, dir)
}

// workspaceDir is the directory's real path, which commands may see.
func workspaceDir(name string) (string, error) {
	dir, err := filepath.Abs(name)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err == nil {
		var info os.FileInfo
		if info, err = os.Stat(dir); err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is no directory", dir)
		}
	}
	if err != nil {
		e := stead.Wrap(stead.KindInvalid, err, "the workspace can't be used")
		e.Hint = "Name a directory that is there, with --workspace."
		return "", e
	}
	return dir, nil
}

// defaultWorkspace is where the executor was started.
const defaultWorkspace = "."

// mayOwn refuses what would surprise: as root, the sandbox gives the workspace's files to a user of its
// own, which somebody else's files must not become, nor those of a directory that nobody named.
func mayOwn(dir, sandbox string, named bool) error {
	if sandbox == bare.DriverName || os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	const sandboxes = 0x7000_0000 // ids from here on are those of sandboxes: see package ns
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 && owner.Uid < sandboxes {
		e := stead.Invalid("workspace", "the workspace belongs to user %d, and a sandbox that root starts would take its files away from him", owner.Uid)
		e.Hint = "Run the executor as that user: it needs no root."
		return e
	}
	if entries, err := os.ReadDir(dir); err != nil || named || len(entries) == 0 {
		return err
	}
	e := stead.Invalid("workspace", "there are files in %s, and a sandbox that root starts would take all of them from root", dir)
	e.Hint = "Name the directory with --workspace if that is meant, or start in an empty one."
	return e
}
