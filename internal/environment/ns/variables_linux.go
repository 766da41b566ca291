package ns

import (
	"maps"

	"github.com/stead-dev/stead/internal/environment"
)

// variables are those of every command: what programs need to find their way here, under the Spec's.
func variables(s environment.Spec) map[string]string {
	env := map[string]string{
		"PATH": defaultPath, "HOME": environment.WorkspaceDir, "USER": "agent", "LOGNAME": "agent", "SHELL": "/bin/sh",
		"LANG": "C.UTF-8", "TMPDIR": "/tmp", "XDG_CACHE_HOME": "/tmp/.cache", // not into checkpoints
	}
	if s.AsRoot {
		env["HOME"], env["USER"], env["LOGNAME"] = "/tmp", "root", "root"
	}
	maps.Copy(env, environment.EgressVariables(s))
	maps.Copy(env, s.Env)
	return env
}
