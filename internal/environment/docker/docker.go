// Package docker is the driver for any OCI engine that speaks the Docker Engine API at a unix socket:
// Docker, Podman, Docker Desktop, Colima, OrbStack. One environment is one container.
//
// Shape:
//
//	Provider ── HTTP over a unix socket ──▶ engine ──▶ container: pid 1 is the guest
//	    └──────── attached standard streams ───────────▶ package guest: commands, egress bridge
//
// The container has no network, a read-only root, no capabilities, no new privileges, the engine's
// seccomp profile, and limits for memory, processes, CPU and open files; the workspace is a bind mount,
// so that files and checkpoints are package workspace's.
//
// Commands do not go through the engine's exec: it can't signal what it started, its streams have no
// window for one slow reader, and an exec outlives the connection that asked for it. A guest of ours
// is pid 1 instead, and one attached stream carries everything: see package guest. The guest is a
// static Linux binary, mounted read-only: the stead binary itself where it is one for the engine's
// processor, or stead-guest-linux-ARCH beside it, which macOS always needs.
//
// Death: the guest ends with its stream. A server that is killed closes its sockets, the engine closes
// the container's standard input, the guest exits as pid 1 and the kernel ends the rest; AutoRemove
// takes the container away. Labels name each container's server, and what an engine kept all the same
// is removed when the next server starts (Sweep).
//
// Users: commands run as the owner of the workspace. When that is root, which a server that is root
// makes, the workspace is given to DefaultUID. Engines without root, and those with user namespaces of
// their own, are asked for the user that is the workspace's owner outside.
//
// Layers: an engine mounts nothing of ours over an image's root, and may be in a virtual machine or run
// as somebody else. So a layer is an archive of our own here, environment.LayerArchive in its directory:
//
//	set-up   container with a root that can be written ── guest: record … pack ──▶ Root.Upper/layer.tar
//	use      container of the base image ── guest: apply ──▶ commit ──▶ image of (base, layers)
//
// The guest compares the root with what it was (package layer), because engines tell what changed each
// in another way, or with the whole image around it. The archive is a plain file, so that a server without
// root stores it with the owners, modes, links and removals that are in it. All of the root counts, not
// only the four directories of the contract: images have programs in /bin and /lib as well. The container
// that becomes an image has seen no command and no variable of an environment, so that no secret is in
// its history or configuration. An image is made once an engine; its name is the hash of the base image's
// id and of the archives. It is a cache: what Prune removed is made again.
//
// What it can't do: Root.Image (the engine has its own images: Options.Image names one), and Root.Upper
// without AsRoot: KindNotImplemented.
//
// Units and limits: bytes, milliseconds where the API has them; an answer of the engine is at most
// MaxAnswerBytes. Disk is watched, not limited: a workspace above its limit has its processes killed
// within WatchEvery, and a set-up's root is looked at every two seconds.
//
// Errors: Close of a set-up says when its layer could not be stored: there is none then. KindUnavailable when the engine does not answer or refuses, KindInvalid for an image that
// the engine does not have, KindNotImplemented as said above.
//
// Source: Docker Engine API v1.41 (the reference's sections on containers and on attach, whose stream
// format is in stream.go); Podman's compatible API behaves the same where it is used.
package docker

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Defaults.
const (
	// DefaultImage is used where the configuration names none: small, with a C library and a shell.
	DefaultImage = "debian:bookworm-slim"
	// DefaultUID is who commands run as when the workspace is root's.
	DefaultUID = 65532
)

// Limits and timing.
const (
	// MaxAnswerBytes is the largest answer of the engine that is read.
	MaxAnswerBytes = 8 << 20
	// WatchEvery is how often a workspace's size is looked at, unless looking takes long.
	WatchEvery = 500 * time.Millisecond
	// RemoveTime is the longest that Close waits for the engine to remove a container.
	RemoveTime = 30 * time.Second
	// PullTime is the longest that pulling an image may take.
	PullTime = 15 * time.Minute
	// probeTime is the longest that a probe takes.
	probeTime = 30 * time.Second
)

// Options say how to use an engine.
type Options struct {
	// Socket is the path of the engine's unix socket.
	Socket string
	// Image is the image of every environment; "": DefaultImage.
	Image string
	// Pull lets the engine fetch an image that it does not have.
	Pull bool
	// Runtime names one of the engine's runtimes, "runsc" or "kata" for a kernel of its own; "": the
	// engine's default.
	Runtime string
	// Dir is a directory of the server's that the engine sees under the same path. The guest is put
	// there, and trial workspaces.
	Dir string
	// Guest is a static Linux binary for the engine's processor that is the guest when its name is
	// guest.Argv0; "": one is looked for, see the package comment.
	Guest string
}

// Provider opens containers at one engine.
type Provider struct {
	opts Options
	api  *api

	guest func() (string, error) // the guest's path, put into Dir once
	owner owner
	open  environment.Registry

	layered layered
}

// New makes a provider. It does not speak to the engine yet: Probe and Open do.
func New(opts Options) *Provider {
	if opts.Image == "" {
		opts.Image = DefaultImage
	}
	p := &Provider{opts: opts, api: newAPI(opts.Socket), owner: self()}
	p.guest = sync.OnceValues(func() (string, error) { return placeGuest(opts) })
	return p
}

var _ environment.Provider = (*Provider)(nil)

// Name implements environment.Provider.
func (p *Provider) Name() string { return "docker" }

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
	switch {
	case spec.Root.Image != "":
		e := stead.Errorf(stead.KindNotImplemented, "the docker driver takes its root file system from the engine's images, not from a directory")
		e.Hint = "Name the image in the driver's configuration."
		return e
	case spec.Root.Upper != "" && !spec.AsRoot:
		return stead.Errorf(stead.KindNotImplemented, "the docker driver makes layers with commands of root alone")
	}
	return nil
}

// Close implements environment.Provider.
func (p *Provider) Close(ctx context.Context) error {
	err := p.open.Close(ctx)
	p.api.http.CloseIdleConnections()
	return err
}

// image makes sure that the engine has the image, and pulls it if that is allowed.
func (p *Provider) image(ctx context.Context) error {
	err := p.api.call(ctx, http.MethodGet, "/images/"+p.opts.Image+"/json", nil, nil)
	if stead.KindOf(err) != stead.KindNotFound {
		return err
	}
	if !p.opts.Pull {
		e := stead.Invalid("docker.image", "the engine has no image %.200s", p.opts.Image)
		e.Hint = "Pull it once (docker pull " + p.opts.Image + "), or let the driver do so with `pull: true`."
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, PullTime)
	defer cancel()
	return p.api.pull(ctx, p.opts.Image)
}
