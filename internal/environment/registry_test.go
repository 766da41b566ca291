package environment_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// opened is an environment of which only the end matters.
type opened struct {
	environment.Environment
	done   chan struct{}
	closed atomic.Bool
}

func (o *opened) Done() <-chan struct{} { return o.done }

func (o *opened) Close(context.Context) error {
	if !o.closed.Swap(true) {
		close(o.done)
	}
	return nil
}

// TestRegistryClosesWhatIsStarting: Close returns when nothing runs, neither what was open nor what was about to be.
func TestRegistryClosesWhatIsStarting(t *testing.T) {
	failed := errors.New("it was broken off")
	for _, c := range []struct {
		name string
		ends func(o *opened) (environment.Environment, error)
	}{
		{"it starts all the same", func(o *opened) (environment.Environment, error) { return o, nil }},
		{"it is broken off", func(*opened) (environment.Environment, error) { return nil, failed }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r environment.Registry
			before, starting := &opened{done: make(chan struct{})}, &opened{done: make(chan struct{})}
			if _, err := r.Open(t.Context(), "test", func(context.Context) (environment.Environment, error) { return before, nil }); err != nil {
				t.Fatal(err)
			}
			began, result, returned := make(chan struct{}), make(chan error, 1), atomic.Bool{}
			go func() {
				_, err := r.Open(context.Background(), "test", func(ctx context.Context) (environment.Environment, error) {
					close(began)
					<-ctx.Done() // as Close ends it
					if returned.Load() {
						t.Error("Close returned before the start did")
					}
					return c.ends(starting)
				})
				result <- err
			}()
			<-began
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
			returned.Store(true)
			err := <-result
			if e, _ := c.ends(starting); e != nil && (!starting.closed.Load() || err != nil) {
				t.Errorf("closed: %t, %v", starting.closed.Load(), err)
			} else if e == nil && (!errors.Is(err, failed) || stead.KindOf(err) != stead.KindUnavailable) {
				t.Errorf("open: %v", err)
			}
			if !before.closed.Load() {
				t.Error("what was open was not closed")
			}
			_, err = r.Open(t.Context(), "test", func(context.Context) (environment.Environment, error) { return starting, nil })
			if stead.KindOf(err) != stead.KindUnavailable {
				t.Errorf("open after close: %v", err)
			}
		})
	}
}

// TestRegistryDoesNotWaitForEver: a start that can't be broken off keeps Close no longer than its context lasts. What starts behind it all the same is closed.
func TestRegistryDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r environment.Registry
		before, late := &opened{done: make(chan struct{})}, &opened{done: make(chan struct{})}
		if _, err := r.Open(t.Context(), "test", func(context.Context) (environment.Environment, error) { return before, nil }); err != nil {
			t.Fatal(err)
		}
		starts, result := make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := r.Open(context.Background(), "test", func(context.Context) (environment.Environment, error) {
				<-starts
				return late, nil
			})
			result <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !before.closed.Load() {
			t.Errorf("closed: %t, %v", before.closed.Load(), err)
		}
		close(starts)
		if err := <-result; stead.KindOf(err) != stead.KindUnavailable || !late.closed.Load() {
			t.Errorf("what started late: closed: %t, %v", late.closed.Load(), err)
		}
	})
}
