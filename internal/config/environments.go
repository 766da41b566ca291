package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Environments says how the computers of agents are made.
type Environments struct {
	Driver    string `yaml:"driver"`    // one of Drivers; "": the best that Isolation lets through
	Isolation string `yaml:"isolation"` // "auto" or "strong"
	// Image is an OCI image for the root: a layout directory, an archive, or a reference. "": the
	// programs of this machine's /usr, read-only.
	Image string `yaml:"image"`
	// IdleSeconds is how long an environment that nothing needs stays resident; 0: stead.EnvironmentIdle.
	IdleSeconds int `yaml:"idle_seconds"`
	// ExpireSeconds is how long the workspace of an environment is kept after it was used last; 0: for ever.
	ExpireSeconds int64      `yaml:"expire_after_seconds"`
	GVisor        GVisor     `yaml:"gvisor"`
	Docker        Docker     `yaml:"docker"`
	Kubernetes    Kubernetes `yaml:"kubernetes"`
	Egress        Egress     `yaml:"egress"`
}

// GVisor says where its program is and how many sandboxes wait.
type GVisor struct {
	Binary string `yaml:"binary"` // "": stead-gvisor beside stead, or in PATH
	Pool   int    `yaml:"pool"`   // warm sandboxes
}

// Docker is any engine with Docker's API.
type Docker struct {
	Host    string `yaml:"host"`    // unix:///…; "": DOCKER_HOST, or the usual socket
	Runtime string `yaml:"runtime"` // for example runsc; "": the engine's
	Pull    bool   `yaml:"pull"`    // lets the engine fetch an image that it does not have
}

// Kubernetes runs environments as claims of agent-sandbox.
type Kubernetes struct {
	Namespace string `yaml:"namespace"`
	Template  string `yaml:"template"` // name of the SandboxTemplate, and of its warm pool
	Node      string `yaml:"node"`     // of this server, the same after a restart; "": the host's name
	// Outside of a cluster: its API server, the file of its authorities, the file of a token.
	Server    string `yaml:"server"`
	CAFile    string `yaml:"ca_file"`
	TokenFile string `yaml:"token_file"`
}

// Egress is what the operator says of every environment's way out.
type Egress struct {
	Private     []string     `yaml:"private"`     // names and CIDRs that may be reached although they are not public
	Proxy       string       `yaml:"proxy"`       // an HTTP proxy that the way out goes through; "": none
	Credentials []Credential `yaml:"credentials"` // that code may use and never read
	Limits      EgressLimits `yaml:"limits"`
}

// EgressLimits are the most that one environment's way out lets through while it is resident. What is 0 is the default
// of egress.Limits, whose fields these are, and whose bounds they have.
type EgressLimits struct {
	UpBytes        int64 `yaml:"up_bytes"`         // that may leave in all
	DownBytes      int64 `yaml:"down_bytes"`       // that may arrive in all
	BytesPerSecond int64 `yaml:"bytes_per_second"` // each way
	Connections    int   `yaml:"connections"`      // at once
	PerMinute      int   `yaml:"per_minute"`       // connections and requests
}

// Credential is a secret that the way out puts in towards its hosts. Code sees a placeholder in the
// variable.
type Credential struct {
	Variable string   `yaml:"variable"`
	Hosts    []string `yaml:"hosts"`
	Value    string   `yaml:"value"`
}

// Names of drivers.
const (
	DriverNS         = "ns"
	DriverLandlock   = "landlock"
	DriverGVisor     = "gvisor"
	DriverDocker     = "docker"
	DriverKubernetes = "kubernetes"
	DriverBare       = "bare" // no isolation at all: only ever by name
	DriverNone       = "none" // no hosted environments
)

// Drivers lists what environments.driver may say.
func Drivers() []string {
	return []string{DriverNS, DriverLandlock, DriverGVisor, DriverDocker, DriverKubernetes, DriverBare, DriverNone}
}

// The isolations.
const (
	IsolationAuto   = "auto"
	IsolationStrong = "strong"
)

// MaxPool is the most warm sandboxes; MaxCredentials the most credentials of the way out.
const (
	MaxPool        = 64
	MaxCredentials = 64
)

// Idle is how long an environment that nothing needs stays resident, 0 for the default.
func (e Environments) Idle() time.Duration { return time.Duration(e.IdleSeconds) * time.Second }

// Expire is how long workspaces are kept that nobody uses, 0 for ever.
func (e Environments) Expire() time.Duration { return time.Duration(e.ExpireSeconds) * time.Second }

// MinExpire and MaxExpire bound it. Below the minimum, blobs would still be too young to be removed (see
// package blob), and people would lose work overnight.
const (
	MinExpire = 2 * time.Hour
	MaxExpire = 10 * 365 * 24 * time.Hour
)

func (c *Config) checkEnvironments() error {
	e := &c.Environments
	if e.Isolation == "" {
		e.Isolation = IsolationAuto
	}
	switch {
	case e.Driver != "" && !slices.Contains(Drivers(), e.Driver):
		return invalid("environments.driver", "It is one of "+strings.Join(Drivers(), ", ")+"; leave it out to let the machine decide.", "environments.driver %q is unknown", e.Driver)
	case e.Isolation != IsolationAuto && e.Isolation != IsolationStrong:
		return invalid("environments.isolation", "auto takes the best that the machine has, strong refuses to start without a kernel of its own.", "environments.isolation %q is unknown", e.Isolation)
	case e.IdleSeconds < 0 || e.Idle() > MaxLimit:
		return invalid("environments.idle_seconds", "It counts whole seconds; 0 is the default.", "environments.idle_seconds is %d: it must be between 0 and %d", e.IdleSeconds, int(MaxLimit.Seconds()))
	case e.ExpireSeconds != 0 && (e.ExpireSeconds < int64(MinExpire.Seconds()) || e.ExpireSeconds > int64(MaxExpire.Seconds())):
		return invalid("environments.expire_after_seconds", "It deletes workspaces that nobody used for so long; leave it out to keep them.", "environments.expire_after_seconds is %d: it must be 0, or between %d and %d", e.ExpireSeconds, int64(MinExpire.Seconds()), int64(MaxExpire.Seconds()))
	case e.GVisor.Pool < 0 || e.GVisor.Pool > MaxPool:
		return invalid("environments.gvisor.pool", "Each waiting sandbox takes about 20 MB.", "environments.gvisor.pool is %d: it must be between 0 and %d", e.GVisor.Pool, MaxPool)
	case e.Driver == DriverBare && e.Isolation == IsolationStrong:
		return invalid("environments.driver", "Use gvisor, or isolation: auto.", "environments.driver bare isolates nothing, and isolation strong is asked for")
	}
	if err := e.Egress.check(); err != nil {
		return err
	}
	if err := c.checkSeal(); err != nil {
		return err
	}
	if c.PublicURL != "" {
		return checkURL("public_url", c.PublicURL)
	}
	return nil
}

func (e Egress) check() error {
	if len(e.Credentials) > MaxCredentials {
		return invalid("environments.egress.credentials", "Remove some.", "%d credentials are more than the limit of %d", len(e.Credentials), MaxCredentials)
	}
	seen := map[string]bool{}
	for i, k := range e.Credentials {
		at := fmt.Sprintf("environments.egress.credentials[%d]", i)
		switch {
		case k.Variable == "" || seen[k.Variable]:
			return invalid(at+".variable", "Name the environment variable that code reads, each once.", "%s.variable is %q", at, k.Variable)
		case len(k.Hosts) == 0:
			return invalid(at+".hosts", "Name the hosts that the secret is for, for example api.github.com.", "%s has no hosts: the secret would go nowhere", at)
		case k.Value == "":
			return invalid(at+".value", "Write value: ${NAME} and set NAME in the server's environment.", "%s has no value", at)
		}
		seen[k.Variable] = true
	}
	if e.Proxy == "" {
		return nil
	}
	if u, err := url.Parse(e.Proxy); err != nil || u.Scheme != "http" || u.Host == "" {
		return invalid("environments.egress.proxy", "Write http://HOST:PORT.", "environments.egress.proxy is not an http URL")
	}
	return nil
}
