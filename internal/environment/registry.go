package environment

import (
	"context"
	"sync"

	"github.com/stead-dev/stead"
)

// Registry is what a provider has open, so that its Close reaches all of it. Its zero value is ready.
type Registry struct {
	mu     sync.Mutex
	open   map[Environment]bool
	closed bool
}

// Open starts an environment, and knows it until it is done. After Close it is KindUnavailable; driver
// is the driver's name.
func (r *Registry) Open(ctx context.Context, driver string, start func() (Environment, error)) (Environment, error) {
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return nil, stead.Errorf(stead.KindUnavailable, "the %s driver is closed", driver)
	}
	e, err := start()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	if closed = r.closed; !closed {
		if r.open == nil {
			r.open = map[Environment]bool{}
		}
		r.open[e] = true
	}
	r.mu.Unlock()
	if closed { // meanwhile
		return nil, stead.Wrap(stead.KindUnavailable, e.Close(ctx), "the %s driver is closed", driver)
	}
	go func() {
		<-e.Done()
		r.mu.Lock()
		delete(r.open, e)
		r.mu.Unlock()
	}()
	return e, nil
}

// Close closes all of them at once, and returns the first error.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	var open []Environment
	for e := range r.open {
		open = append(open, e)
	}
	r.mu.Unlock()
	errs := make(chan error, len(open))
	for _, e := range open {
		go func() { errs <- e.Close(ctx) }()
	}
	var first error
	for range open {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}
