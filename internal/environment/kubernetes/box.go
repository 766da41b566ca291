package kubernetes

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/guest"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// closeTime is the longest that a closing message takes.
const closeTime = time.Second

// Environment is one claim with its pod.
type Environment struct {
	client *guest.Client
	api    *api
	name   string // of the claim
	pod    string
	limits environment.Limits
	now    func() time.Time
	dir    *workspace.Dir // the copy on this machine

	copying sync.Mutex // one copy of the workspace at a time
	root    *os.Root   // the same directory
	mirror  *guest.Mirror

	end  sync.Once
	stop context.CancelFunc // of the watch
	done chan struct{}      // closed when the claim is gone
	err  error              // of its end; read after done

	mu   sync.Mutex
	disk int64 // bytes of the copy
}

// start claims a pod, starts the guest in it, and fills the workspace.
func (p *Provider) start(ctx context.Context, spec environment.Spec) (_ *Environment, err error) {
	e := &Environment{api: p.api, limits: spec.Limits.OrDefault(), now: p.opts.Now, done: make(chan struct{})}
	if e.dir, err = workspace.Open(spec.Workspace); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.dir.Close()
		}
	}()
	if e.root, err = os.OpenRoot(spec.Workspace); err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "open workspace")
	}
	defer func() {
		if err != nil {
			e.root.Close()
		}
	}()
	c, err := p.api.createClaim(ctx, spec.ID, p.opts.Now().Add(LeaseTime))
	if err != nil {
		return nil, refused(err)
	}
	e.name = c.Metadata.Name
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), deleteTime)
			defer cancel()
			_ = p.api.deleteClaim(ctx, e.name) // the first error matters; what stays has a lease
		}
	}()
	if e.pod, err = p.api.ready(ctx, c); err != nil {
		return nil, refused(err)
	}
	conn, err := p.api.exec(ctx, e.pod)
	if err != nil {
		return nil, refused(err)
	}
	e.client, err = guest.New(ctx, conn, conn, conn, guest.Options{Env: variables(spec), Limits: spec.Limits, Services: spec.Services, Listen: listening(spec)})
	if err != nil {
		if words := conn.words(); words != "" {
			err = errors.Join(err, errors.New(words))
		}
		e := stead.Wrap(stead.KindUnavailable, err, "the guest in the pod does not answer")
		e.Hint = "The SandboxTemplate must have this release's guest at " + GuestPath + ": see docs/kubernetes.md."
		return nil, e
	}
	e.mirror = e.client.NewMirror(e.root, e.limits.DiskBytes)
	if err := e.fill(ctx, spec); err != nil {
		e.client.Close()
		return nil, refused(err)
	}
	watch, stop := context.WithCancel(context.Background())
	e.stop = stop
	go e.watch(watch)
	go e.watchDisk(watch)
	return e, nil
}

// fill puts the workspace and the files of the services into the pod.
func (e *Environment) fill(ctx context.Context, spec environment.Spec) error {
	if err := e.mirror.Push(ctx); err != nil {
		return err
	}
	if spec.Services == "" {
		return nil
	}
	services, err := os.OpenRoot(spec.Services)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "open services")
	}
	defer services.Close()
	return e.client.PushServices(ctx, services)
}

// refused gives the cluster's refusals the kinds that the contract has.
func refused(err error) error {
	switch stead.KindOf(err) {
	case stead.KindUnavailable, stead.KindForbidden:
		return err
	}
	return stead.Wrap(stead.KindUnavailable, err, "the cluster can't make the environment")
}

// variables are those of every command.
func variables(spec environment.Spec) map[string]string {
	env := map[string]string{}
	maps.Copy(env, environment.EgressVariables(spec))
	maps.Copy(env, spec.Env)
	return env
}

// listening is what the guest bridges: there is no mount that a socket could come by.
func listening(spec environment.Spec) map[string]string {
	if spec.Services == "" {
		return nil
	}
	l := map[string]string{environment.ToolsSocket: "unix:" + environment.ServicesDir + "/" + environment.ToolsSocket}
	if spec.Egress {
		l[environment.EgressSocket] = "tcp:127.0.0.1:" + strconv.Itoa(environment.EgressPort)
	}
	return l
}

// Exec implements environment.Environment.
func (e *Environment) Exec(ctx context.Context, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	return e.client.Exec(ctx, c, out)
}

// ReadFile implements environment.Environment. The guest's answer is the inside's own: it is a file
// that the inside could have written.
func (e *Environment) ReadFile(ctx context.Context, path string, max int64) ([]byte, error) {
	return e.client.ReadFile(ctx, path, max)
}

// CopyFile implements environment.Environment.
func (e *Environment) CopyFile(ctx context.Context, path string, max int64, w io.Writer) error {
	return e.client.CopyFile(ctx, path, max, w)
}

// WriteFile implements environment.Environment.
func (e *Environment) WriteFile(ctx context.Context, path string, data []byte, executable bool) error {
	return e.client.WriteFile(ctx, path, data, executable)
}

// List implements environment.Environment.
func (e *Environment) List(ctx context.Context, q environment.ListQuery) (environment.FilePage, error) {
	return e.client.List(ctx, q)
}

// Sync brings the directory on this machine up to date.
func (e *Environment) Sync(ctx context.Context) error {
	e.copying.Lock()
	defer e.copying.Unlock()
	return e.mirror.Pull(ctx)
}

// Checkpoint implements environment.Environment.
func (e *Environment) Checkpoint(ctx context.Context, blobs environment.Blobs, previous string) (environment.Checkpoint, error) {
	e.copying.Lock()
	defer e.copying.Unlock()
	if err := e.mirror.Pull(ctx); err != nil {
		return environment.Checkpoint{}, err
	}
	c, err := e.dir.Checkpoint(ctx, blobs, previous)
	if err == nil {
		e.mu.Lock()
		e.disk = c.Bytes
		e.mu.Unlock()
	}
	return c, err
}

// Usage implements environment.Environment: what commands used that were waited for.
func (e *Environment) Usage() environment.Usage {
	u := e.client.Usage()
	e.mu.Lock()
	defer e.mu.Unlock()
	u.DiskBytes = e.disk
	return u
}

// Done implements environment.Environment.
func (e *Environment) Done() <-chan struct{} { return e.done }

// Close implements environment.Environment. An error says that the copy of the workspace is not of the
// last moment, or that the claim may still be there.
func (e *Environment) Close(ctx context.Context) error {
	go e.finish(ctx)
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the environment's claim is still being deleted")
	}
}

// finish ends the environment, once: commands, then the last copy, then the claim.
func (e *Environment) finish(ctx context.Context) {
	e.end.Do(func() {
		e.stop()
		e.client.Kill(environment.ReasonCancelled)
		var copied error
		select {
		case <-e.client.Done(): // there is nobody to ask
		default:
			e.client.Interrupt(ctx, environment.ReasonCancelled)
			copied = e.Sync(ctx)
		}
		e.client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), deleteTime)
		defer cancel()
		e.err = errors.Join(copied, e.api.deleteClaim(ctx, e.name))
		if e.err != nil {
			e.err = refused(e.err)
		}
		e.root.Close()
		e.dir.Close()
		close(e.done)
	})
}

// watch keeps the claim and the connection alive, and ends the environment in time.
func (e *Environment) watch(ctx context.Context) {
	life := time.NewTimer(e.limits.Lifetime)
	defer life.Stop()
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.client.Done():
			go e.finish(context.Background())
			return
		case <-life.C:
			e.client.Kill(environment.ReasonExpired)
			go e.finish(context.Background())
			return
		case <-renew.C:
			// One that fails is tried again at the next tick; a claim that is gone takes its pod along,
			// and the connection then ends.
			_ = e.api.renew(ctx, e.name, e.now().Add(LeaseTime))
		case <-beat.C:
			beat, cancel := context.WithTimeout(ctx, beatEvery)
			_ = e.client.Ping(beat) // a guest that does not answer is given up by the client
			cancel()
		}
	}
}
