package environment

import (
	"os"
	"path/filepath"
	"strconv"
)

// EgressVariables tell the programs of a box of the way out, and whom to trust on it; none when there is no way. A
// Spec's own variables go over them. The authorities are told when CAFile is in Spec.Services.
//
// Source: what curl, Python's requests and pip, Node, npm, git, Go and OpenSSL read. npm's own name is there because a
// machine's npmrc may name a file of authorities, and npm then does not look at Node's.
func EgressVariables(s Spec) map[string]string {
	if !s.Egress || s.Services == "" {
		return nil
	}
	v := map[string]string{}
	for _, name := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
		v[name] = "http://127.0.0.1:" + strconv.Itoa(EgressPort)
	}
	v["no_proxy"], v["NO_PROXY"] = "localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"
	if _, err := os.Stat(filepath.Join(s.Services, CAFile)); err == nil {
		for _, name := range TrustVariables() {
			v[name] = ServicesDir + "/" + CAFile
		}
	}
	return v
}

// TrustVariables name a file of authorities to the usual programs.
func TrustVariables() []string {
	return []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS", "npm_config_cafile", "GIT_SSL_CAINFO"}
}
