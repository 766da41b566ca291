package docker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/guest"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// Environment is one container.
type Environment struct {
	*workspace.Dir
	client *guest.Client
	api    *api
	id     string // of the container
	limits environment.Limits
	setUp  *setUp // nil: the root can't be written

	end  sync.Once
	stop context.CancelFunc // of the watch
	done chan struct{}      // closed when the container is gone
	err  error              // of its removal; read after done

	mu   sync.Mutex
	seen environment.Usage // what the engine and the disk say
}

// start makes and starts a container, and waits for its guest.
func (p *Provider) start(ctx context.Context, spec environment.Spec) (_ *Environment, err error) {
	guestFile, err := p.guest()
	if err != nil {
		return nil, err
	}
	at, err := p.place(ctx, spec)
	if err != nil {
		return nil, err
	}
	dir, err := workspace.Open(spec.Workspace)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			dir.Close()
		}
	}()
	image, err := p.root(ctx, spec.Root.Layers)
	if err != nil {
		return nil, err
	}
	c := p.container(spec, at, guestFile, image)
	c.HostConfig.ReadonlyRootfs = spec.Root.Upper == ""
	id, err := p.create(ctx, c, func() error {
		if len(spec.Root.Layers) > 0 {
			return p.makeLayered(ctx, image, spec.Root.Layers)
		}
		return p.image(ctx)
	})
	if err != nil {
		return nil, err
	}
	client, err := p.run(ctx, id, spec)
	if err != nil {
		_ = p.removed(id) // the first error matters; what stays is swept
		return nil, err
	}
	e := &Environment{Dir: dir, client: client, api: p.api, id: id, limits: spec.Limits.OrDefault(), done: make(chan struct{})}
	if spec.Root.Upper != "" {
		e.setUp = &setUp{upper: spec.Root.Upper, maxBytes: e.limits.DiskBytes}
		if err := e.record(ctx); err != nil {
			client.Close()
			_ = p.removed(id) // the first error matters
			return nil, err
		}
	}
	watch, stop := context.WithCancel(context.Background())
	e.stop = stop
	go e.watch(watch)
	return e, nil
}

// create makes the container; the image is looked for, or made, only when the engine misses it.
func (p *Provider) create(ctx context.Context, c create, missing func() error) (string, error) {
	id, err := p.api.createContainer(ctx, c)
	if stead.KindOf(err) == stead.KindNotFound {
		if err := missing(); err != nil {
			return "", err
		}
		id, err = p.api.createContainer(ctx, c)
	}
	return id, refused(err, "make a container")
}

// run attaches before it starts, so that no word of the guest is missed.
func (p *Provider) run(ctx context.Context, id string, spec environment.Spec) (*guest.Client, error) {
	conn, err := p.api.attach(ctx, id)
	if err != nil {
		return nil, refused(err, "attach to a container")
	}
	if err := p.api.start(ctx, id); err != nil {
		conn.Close()
		return nil, refused(err, "start a container")
	}
	client, err := guest.New(ctx, conn, conn, conn, guest.Options{
		Env: variables(spec), Limits: spec.Limits, Services: spec.Services, Listen: listening(spec), GiveBack: spec.AsRoot,
	})
	if err != nil {
		e := stead.Wrap(stead.KindUnavailable, err, "the guest in the container does not answer")
		e.Hint = "The image must be for the engine's processor, and the server's data directory visible to the engine under the same path."
		if words := conn.demux.stderr(); words != "" {
			e.Err = errors.Join(err, errors.New(words))
		}
		return nil, e
	}
	return client, nil
}

// refused gives the engine's refusals one kind: whatever it is, the environment can't be started now.
func refused(err error, what string) error {
	switch stead.KindOf(err) {
	case "", stead.KindUnavailable, stead.KindNotImplemented:
		return err
	case stead.KindInvalid:
		if e, ok := errors.AsType[*stead.Error](err); ok && e.Param != "" {
			return err // about our configuration
		}
	}
	return stead.Wrap(stead.KindUnavailable, err, "the container engine refuses to %s", what)
}

// removed removes a container within RemoveTime, whatever became of the call that it is for.
func (p *Provider) removed(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), RemoveTime)
	defer cancel()
	return p.api.remove(ctx, id)
}

// Exec implements environment.Environment.
func (e *Environment) Exec(ctx context.Context, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	return e.client.Exec(ctx, c, out)
}

// Done implements environment.Environment.
func (e *Environment) Done() <-chan struct{} { return e.done }

// Usage implements environment.Environment. CPU and memory of what no command waited for are the
// engine's numbers, at most a few seconds old.
func (e *Environment) Usage() environment.Usage {
	u := e.client.Usage()
	e.mu.Lock()
	defer e.mu.Unlock()
	u.CPU = max(u.CPU, e.seen.CPU)
	u.MemoryBytes, u.DiskBytes = e.seen.MemoryBytes, e.seen.DiskBytes
	return u
}

// Close implements environment.Environment.
func (e *Environment) Close(ctx context.Context) error {
	go e.finish()
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the container is still being removed")
	}
}

// finish ends the environment, once.
func (e *Environment) finish() {
	e.end.Do(func() {
		e.stop()
		e.measure(context.Background())
		if e.setUp != nil {
			e.err = e.pack()
		}
		e.client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), RemoveTime)
		defer cancel()
		if err := e.api.remove(ctx, e.id); e.err == nil {
			e.err = err
		}
		e.Dir.Close()
		close(e.done)
	})
}

// statsEvery is how often the engine is asked what a container uses.
const statsEvery = 10 * time.Second

// watch ends the environment when its lifetime is over or its guest is gone, and looks at its disk.
func (e *Environment) watch(ctx context.Context) {
	life := time.NewTimer(e.limits.Lifetime)
	defer life.Stop()
	disk := time.NewTimer(0) // measured before a command has changed it
	defer disk.Stop()
	lookout := diskWatch{box: e}
	measure := time.NewTicker(statsEvery)
	defer measure.Stop()
	var root <-chan time.Time // never, unless there is a root that can be written
	if e.setUp != nil {
		t := time.NewTicker(rootEvery)
		defer t.Stop()
		root = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.client.Done():
			go e.finish()
			return
		case <-life.C:
			e.client.Kill(environment.ReasonExpired)
			go e.finish()
			return
		case <-measure.C:
			e.measure(ctx)
		case <-root:
			e.watchRoot(ctx)
		case <-disk.C:
			disk.Reset(lookout.look(ctx))
		}
	}
}

// measure takes the engine's numbers; without an answer the old ones stay.
func (e *Environment) measure(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := e.api.stats(ctx, e.id)
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen.CPU = max(e.seen.CPU, time.Duration(s.CPU.Usage.Total))
	e.seen.MemoryBytes = max(e.seen.MemoryBytes, s.Memory.Usage, s.Memory.Max)
}
