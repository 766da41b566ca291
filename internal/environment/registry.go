package environment

import (
	"context"
	"sync"

	"github.com/stead-dev/stead"
)

// Registry is what a provider has open, so that its Close reaches all of it. Its zero value is ready.
type Registry struct {
	mu       sync.Mutex
	open     map[Environment]bool
	starting map[*context.CancelFunc]bool // calls of Open that are under way: what breaks each off
	starts   sync.WaitGroup               // the same
	closed   bool
	left     bool // Close waits no longer for what is starting
}

// Open starts an environment, and knows it until it is done. Close ends start's context, and waits for it for as long as its own lasts; what
// is started behind that is closed here.
// After Close it is KindUnavailable; driver is the driver's name.
func (r *Registry) Open(ctx context.Context, driver string, start func(context.Context) (Environment, error)) (Environment, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !r.begin(&cancel) {
		return nil, stead.Errorf(stead.KindUnavailable, "the %s driver is closed", driver)
	}
	e, err := start(ctx)
	closed, left := r.end(&cancel, e)
	if left && e != nil {
		err = e.Close(context.WithoutCancel(ctx))
	}
	if left || closed && err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "the %s driver is closed", driver)
	}
	if err != nil {
		return nil, err
	}
	go func() {
		<-e.Done()
		r.mu.Lock()
		delete(r.open, e)
		r.mu.Unlock()
	}()
	return e, nil
}

func (r *Registry) begin(cancel *context.CancelFunc) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	if r.open == nil {
		r.open, r.starting = map[Environment]bool{}, map[*context.CancelFunc]bool{}
	}
	r.starting[cancel] = true
	r.starts.Add(1)
	return true
}

// end takes what was started, nil if nothing was: if Close is under way meanwhile, it closes it; left: it does not.
func (r *Registry) end(cancel *context.CancelFunc, e Environment) (closed, left bool) {
	defer r.starts.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.starting, cancel)
	if e != nil && !r.left {
		r.open[e] = true
	}
	return r.closed, r.left
}

// Close closes all of them at once, those too that are just starting, and returns the first error: the end of ctx, where one of these did not
// stop by then.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	for cancel := range r.starting {
		(*cancel)()
	}
	r.mu.Unlock()
	first := r.started(ctx)
	r.mu.Lock()
	r.left = true
	var open []Environment
	for e := range r.open {
		open = append(open, e)
	}
	r.mu.Unlock()
	errs := make(chan error, len(open))
	for _, e := range open {
		go func() { errs <- e.Close(ctx) }()
	}
	for range open {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// started waits for what is starting: not for long, since its contexts are over.
func (r *Registry) started(ctx context.Context) error {
	over := make(chan struct{})
	go func() {
		r.starts.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
