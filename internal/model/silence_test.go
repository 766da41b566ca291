package model

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The clocks of a call stand still while it waits in a queue, those around an attempt as well, and those of another attempt not.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		late := map[string]time.Duration{}
		ends := func(name string) func() { return func() { late[name] = time.Since(begun) } }
		call, door := WithSilence(context.Background(), 10*time.Second, ends("door"))
		first, word := WithSilence(call, 3*time.Second, ends("first"))
		_, other := WithSilence(call, 4*time.Second, ends("other"))
		in := Queued(first)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if len(late) != 1 || late["other"] != 4*time.Second {
			t.Errorf("while one waits: %v", late)
		}
		in()
		time.Sleep(2 * time.Second)
		word.Heard()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(late) != 1 {
			t.Errorf("what was heard counts as silence: %v", late)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		word.Stop()
		other.Stop()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if late["first"] != 25*time.Second || late["door"] != 30*time.Second {
			t.Errorf("first %s, door %s", late["first"], late["door"])
		}
		door.Stop()
		Queued(first)() // of a call that has ended: nothing begins again
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(late) != 3 || late["door"] != 30*time.Second {
			t.Errorf("after the end: %v", late)
		}
		Queued(context.Background())() // nobody watches
	})
}
