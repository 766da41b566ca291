package ns

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"

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
	if s.Egress && s.Services != "" {
		proxy := "http://127.0.0.1:" + strconv.Itoa(environment.EgressPort)
		for _, name := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
			env[name] = proxy
		}
		env["no_proxy"], env["NO_PROXY"] = "localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"
		if _, err := os.Stat(filepath.Join(s.Services, environment.CAFile)); err == nil {
			ca := path.Join(environment.ServicesDir, environment.CAFile)
			for _, name := range []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "PIP_CERT"} {
				env[name] = ca
			}
		}
	}
	maps.Copy(env, s.Env)
	return env
}
