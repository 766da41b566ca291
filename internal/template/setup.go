package template

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Where the package managers install, below environment.LayerDir.
const (
	pythonDir = environment.LayerDir + "/python"
	npmDir    = environment.LayerDir + "/npm"
	// BasePath is the PATH of an environment without packages.
	BasePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// layerVersion changes whenever the commands of SetupScript do, or what LayerDigest says of them: layers of
// before are not used for another session again. Those of 1 left skills and plugins out, and gave them to others.
const layerVersion = "stead layer 2"

// Step is one command of a set-up.
type Step struct {
	// Name is for progress and errors: "packages.python", "setup_commands[1]". It shows nothing of
	// a confidential command.
	Name string
	// Confidential says that the command and what it prints are not to be shown or logged.
	Confidential bool
	Command      environment.Command
}

// Failed is the error of a step that did not succeed.
func (s Step) Failed(exit environment.Exit) error {
	if exit.Reason != "" {
		return stead.Errorf(stead.KindInvalid, "%s was ended: %s", s.Name, exit.Reason)
	}
	return stead.Errorf(stead.KindInvalid, "%s failed with exit code %d", s.Name, exit.Code)
}

// Script is a set-up: the steps in order, each of which must exit with 0.
type Script struct {
	Steps []Step
	// AsRoot says that a step installs system packages, which only the inside's root can.
	AsRoot bool
}

// SetupScript turns the packages and set-up commands into commands: system packages first, since
// they may bring python3 and npm, and the set-up commands last, since they may use all of it.
func (c Config) SetupScript() Script {
	var s Script
	env := c.Environment()
	add := func(name string, dir string, confidential bool, args ...string) {
		s.Steps = append(s.Steps, Step{name, confidential, environment.Command{Args: args, Dir: dir, Env: env}})
	}
	p := c.Effective().Packages
	if p == nil {
		return s // no environment of ours
	}
	if len(p.System) > 0 {
		s.AsRoot = true
		apt := []string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y",
			"-o", "APT::Sandbox::User=root", "-o", "Dpkg::Options::=--force-confold"}
		add("packages.system: update", "/", false, append(slices.Clone(apt), "update")...)
		add("packages.system", "/", false, append(append(slices.Clone(apt), "install", "--no-install-recommends", "--"), p.System...)...)
	}
	if len(p.Python) > 0 {
		add("packages.python: virtual environment", "/", false, "python3", "-m", "venv", "--system-site-packages", pythonDir)
		add("packages.python", "/", false, append([]string{pythonDir + "/bin/python3", "-m", "pip", "install",
			"--no-input", "--no-cache-dir", "--disable-pip-version-check", "--"}, p.Python...)...)
	}
	if len(p.NPM) > 0 {
		add("packages.npm", "/", false, append([]string{"npm", "install", "--global", "--prefix", npmDir,
			"--no-fund", "--no-audit", "--no-update-notifier", "--"}, p.NPM...)...)
	}
	for i, text := range c.Commands {
		add(fmt.Sprintf("setup_commands[%d]", i), c.Setup[i].Dir, true, "/bin/sh", "-c", text)
	}
	return s
}

// Environment returns the variables of every command in the environment, those of the set-up
// included: the configuration's own, and those by which programs find what packages installed.
func (c Config) Environment() map[string]string {
	env := maps.Clone(c.Env)
	if env == nil {
		env = map[string]string{}
	}
	dirs := []string{}
	if c.Packages != nil && len(c.Packages.Python) > 0 {
		dirs = append(dirs, pythonDir+"/bin")
		env["VIRTUAL_ENV"] = pythonDir
	}
	if c.Packages != nil && len(c.Packages.NPM) > 0 {
		dirs = append(dirs, npmDir+"/bin")
		if env["NODE_PATH"] == "" {
			env["NODE_PATH"] = npmDir + "/lib/node_modules"
		}
	}
	env["PATH"] = strings.Join(append(dirs, BasePath), ":")
	return env
}

// LayerDigest names what the set-up makes, so that it need not be made again: "" when there is no
// set-up. base names everything else that the result depends on: the driver, the image, the
// architecture, and the project, because a layer may hold what confidential commands fetched.
//
// Packages and commands count in their order, and the variables, which every step sees. Files, skills
// and plugins count only when there are set-up commands: those find them in the workspace (pip install
// -r) and leave it to every session of the layer with them in it, while package managers read none. So
// whoever gets a layer has asked for all that was put into it. A file or skill by id counts by its id and
// version, since neither changes. The network does not count, since it applies after the set-up; nor do
// capability directories, which are only looked at, the size, and files that are given to a session later.
//
// The digest hides confidential values only as well as a hash can: it is no more for the wire than
// they are.
func (c Config) LayerDigest(base string) string {
	script := c.SetupScript()
	if len(script.Steps) == 0 {
		return ""
	}
	h := sha256.New()
	write := func(texts ...string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(texts)))
		h.Write(n[:])
		for _, s := range texts {
			binary.BigEndian.PutUint64(n[:], uint64(len(s)))
			h.Write(n[:])
			h.Write([]byte(s))
		}
	}
	write(layerVersion, base)
	for _, s := range script.Steps {
		write(append([]string{s.Name, s.Command.Dir}, s.Command.Args...)...)
	}
	env := c.Environment()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		write(name, env[name])
	}
	if len(c.Commands) > 0 {
		files := slices.SortedFunc(slices.Values(c.Files), func(a, b File) int { return strings.Compare(a.Path, b.Path) })
		for _, f := range files {
			write("file", f.Path, f.FileID, f.Digest)
		}
		for _, k := range slices.SortedFunc(slices.Values(c.Skills), func(a, b Skill) int { return strings.Compare(a.Name, b.Name) }) {
			write("skill", k.Name, k.SkillID, k.Version, k.Digest)
		}
		for _, g := range slices.SortedFunc(slices.Values(c.Plugins), func(a, b Plugin) int { return strings.Compare(a.Name, b.Name) }) {
			write("plugin", g.Name, g.Digest)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
