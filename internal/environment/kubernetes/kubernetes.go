// Package kubernetes is the driver for a cluster with kubernetes-sigs/agent-sandbox: one environment
// is one SandboxClaim, whose pod comes from a warm pool.
//
// Shape:
//
//	Provider ── SandboxClaim ──▶ agent-sandbox's controller ──▶ Sandbox ──▶ pod (runtimeClassName: gvisor)
//	    └─ exec over a WebSocket (v5.channel.k8s.io) ──▶ package guest in the pod: commands, files, bridge
//
// What the pod is made of (image, runtime class, limits, security context, network policy) is the
// operator's SandboxTemplate: docs/kubernetes.md has one, and says what of it is needed. The guest's
// binary must be in it, at GuestPath: it is the container's command ("hold") and what is executed.
//
// Workspace: the pod's is an emptyDir, filled from Spec.Workspace at Open. The host's directory is a
// copy: Checkpoint and Close bring it up to date (only what changed travels) and store it as all
// drivers do. So what lasts is what the last checkpoint has: a node that fails, an eviction or a
// deleted pod loses what came after it, and the environment's end says so by Done. Volumes that
// outlive pods are not used: they would tie a session to a zone, and checkpoints are needed anyway.
//
// Death: when the exec's connection ends, the guest kills all that it started. The claim is leased: its
// shutdownTime lies LeaseTime ahead and is moved while the server lives, so that the cluster deletes
// what a killed server leaves. Sweep deletes at once what the same server left before.
//
// What it can't do: Root, Mounts and AsRoot (the template decides): KindNotImplemented. Limits of
// memory, processes and CPU are the template's as well, whatever Spec.Limits says; time and output are
// the Spec's, and the workspace's bytes and files, which the guest measures.
//
// Units and limits: an answer of the API server is at most MaxAnswerBytes; a pod is waited for
// ReadyTime.
//
// Errors: KindUnavailable when the cluster does not answer, has no pod in time or loses it;
// KindForbidden when it refuses the server's account; KindNotImplemented as said above.
//
// Source: agent-sandbox's api/v1beta1 and extensions/api/v1beta1 (and v1alpha1, which older releases
// serve); KEP-4006 and KEP-3396 for exec over WebSockets; the Kubernetes API's conventions for watches.
package kubernetes

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/guest"
)

// GuestPath is where the guest's binary lies in the pod.
const GuestPath = "/.stead/" + guest.Argv0

// Limits and timing.
const (
	// MaxAnswerBytes is the largest answer, or event of a watch, of the API server.
	MaxAnswerBytes = 4 << 20
	// ReadyTime is the longest that a claim may take to have a pod: a node may have to be added.
	ReadyTime = 5 * time.Minute
	// LeaseTime is how long a claim outlives a server that does not renew it.
	LeaseTime = 10 * time.Minute
	// renewEvery is how often it does.
	renewEvery = 2 * time.Minute
	// beatEvery is how often an idle connection is used, for the proxies on its way.
	beatEvery = 20 * time.Second
	// deleteTime is the longest that Close waits for the claim to be gone.
	deleteTime = 60 * time.Second
	// probeTime is the longest that a probe takes: a pod may have to be scheduled.
	probeTime = 2 * time.Minute
)

// Options say which cluster, and what to claim there.
type Options struct {
	// Server is the API server's URL, https; CA its authorities, PEM; "": the system's.
	Server string
	CA     []byte
	// Token returns the bearer token of each request: tokens of pods are replaced while they run.
	Token func() (string, error)
	// Namespace holds the claims.
	Namespace string
	// Pool is the SandboxWarmPool (v1beta1) to claim from; Template the SandboxTemplate that clusters
	// with v1alpha1 are asked for; "": as Pool.
	Pool     string
	Template string
	// Container is the name of the container in the pod; "": the first.
	Container string
	// Node names this server, the same after a restart: a claim's label. At most 63 characters of
	// letters, digits, "-", "_" and ".".
	Node string
	// Transport is for tests; nil: made of CA.
	Transport http.RoundTripper
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Provider makes claims in one cluster.
type Provider struct {
	opts Options
	api  *api

	open environment.Registry
}

// New makes a provider. It does not speak to the cluster yet.
func New(opts Options) (*Provider, error) {
	if opts.Template == "" {
		opts.Template = opts.Pool
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Pool == "" || opts.Namespace == "" {
		return nil, stead.Invalid("kubernetes.pool", "the kubernetes driver needs the namespace and the name of a SandboxWarmPool")
	}
	if !isLabel(opts.Node) {
		return nil, stead.Invalid("kubernetes.node", "%.80q can't be the value of a label", opts.Node)
	}
	a, err := newAPI(opts)
	if err != nil {
		return nil, err
	}
	return &Provider{opts: opts, api: a}, nil
}

var _ environment.Provider = (*Provider)(nil)

// isLabel is the rule for values of labels, the empty one left out.
func isLabel(s string) bool {
	ends := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	if s == "" || len(s) > 63 || !ends(s[0]) || !ends(s[len(s)-1]) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r < 0x80 && ends(byte(r))) && !strings.ContainsRune("-_.", r)
	})
}

// Name implements environment.Provider.
func (p *Provider) Name() string { return "kubernetes" }

// Open implements environment.Provider.
func (p *Provider) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	if err := refuse(spec); err != nil {
		return nil, err
	}
	return p.open.Open(ctx, p.Name(), func(ctx context.Context) (environment.Environment, error) {
		e, err := p.start(ctx, spec)
		if err != nil {
			return nil, err // not a nil of a type
		}
		return e, nil
	})
}

// refuse says what of a Spec this driver can't do.
func refuse(spec environment.Spec) error {
	var what string
	switch {
	case spec.Root.Image != "" || len(spec.Root.Layers) > 0 || spec.Root.Upper != "":
		what = "images, packages and set-up commands"
	case len(spec.Mounts) > 0:
		what = "mounts of this machine's directories"
	case spec.AsRoot:
		what = "the user that commands run as"
	default:
		return nil
	}
	e := stead.Errorf(stead.KindNotImplemented, "the kubernetes driver leaves %s to the SandboxTemplate", what)
	e.Hint = "Build what agents need into the template's image."
	return e
}

// Close implements environment.Provider.
func (p *Provider) Close(ctx context.Context) error {
	err := p.open.Close(ctx)
	p.api.http.CloseIdleConnections()
	return err
}

// Sweep deletes the claims that this server left in an earlier life. It is called once, before the
// first Open.
func (p *Provider) Sweep(ctx context.Context) (deleted int, err error) {
	list, err := p.api.claims(ctx, labelNode+"="+p.opts.Node)
	if err != nil {
		return 0, err
	}
	for _, c := range list {
		if err := p.api.deleteClaim(ctx, c.Metadata.Name); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}

// Labels of our claims.
const (
	labelNode        = "stead.dev/node"
	labelEnvironment = "stead.dev/environment"
)
