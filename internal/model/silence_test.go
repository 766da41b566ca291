package model

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The clocks of a call stand still while it waits in a queue, those around an attempt as well, and those of another attempt not.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var mu sync.Mutex // guards late
		late := map[string]time.Duration{}
		ends := func(name string) func() {
			return func() {
				mu.Lock()
				defer mu.Unlock()
				late[name] = time.Since(begun)
			}
		}
		is := func(what string, want map[string]time.Duration) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !maps.Equal(late, want) {
				t.Errorf("%s: %v, want %v", what, late, want)
			}
		}
		call, door := WithSilence(context.Background(), 10*time.Second, ends("door"))
		first, word := WithSilence(call, 3*time.Second, ends("first"))
		_, other := WithSilence(call, 4*time.Second, ends("other"))
		in := Queued(first)
		time.Sleep(20 * time.Second)
		want := map[string]time.Duration{"other": 4 * time.Second}
		is("while one waits", want)
		in()
		time.Sleep(2 * time.Second)
		word.Heard()
		time.Sleep(2 * time.Second)
		is("what was heard is no silence", want)
		time.Sleep(1500 * time.Millisecond)
		want["first"] = 25 * time.Second
		is("and then nothing", want)
		word.Stop()
		other.Stop()
		time.Sleep(20 * time.Second)
		want["door"] = 30 * time.Second
		is("the clock around them", want)
		door.Stop()
		Queued(first)() // of a call that has ended: nothing begins again
		time.Sleep(time.Minute)
		is("after the end", want)
		Queued(context.Background())() // nobody watches
	})
}
