package kubernetes

import (
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-dev/stead"
)

// AccountDir is where a pod finds its service account.
const AccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// InCluster fills what a pod knows of its cluster into the fields of o that are empty: server,
// authorities, token and namespace. dir is AccountDir, env os.LookupEnv. The token's file is read for
// each request, since the kubelet replaces it.
func InCluster(o Options, dir string, env func(string) (string, bool)) (Options, error) {
	host, _ := env("KUBERNETES_SERVICE_HOST")
	port, _ := env("KUBERNETES_SERVICE_PORT")
	if o.Server == "" {
		if host == "" || port == "" {
			e := stead.Invalid("kubernetes.server", "this server runs in no pod, so that the cluster's API server has to be named")
			e.Hint = "Set kubernetes.server, its ca_file and token_file."
			return o, e
		}
		o.Server = "https://" + net.JoinHostPort(host, port)
	}
	if o.CA == nil {
		ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
		if err != nil && !os.IsNotExist(err) {
			return o, stead.Wrap(stead.KindUnavailable, err, "read the cluster's authorities")
		}
		o.CA = ca
	}
	if o.Namespace == "" {
		namespace, err := os.ReadFile(filepath.Join(dir, "namespace"))
		if err != nil {
			return o, stead.Invalid("kubernetes.namespace", "the namespace of the claims has to be named")
		}
		o.Namespace = strings.TrimSpace(string(namespace))
	}
	if o.Token == nil {
		o.Token = TokenFile(filepath.Join(dir, "token"))
	}
	return o, nil
}

// TokenFile is an Options.Token that reads a file each time.
func TokenFile(name string) func() (string, error) {
	return func() (string, error) {
		data, err := os.ReadFile(name)
		return strings.TrimSpace(string(data)), err
	}
}
