package inside

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/stead-dev/stead/internal/environment/census"
)

// sweepTime is how long a Sweep kills at most: the outside waits for its answer, and not for long.
const sweepTime = 15 * time.Second

// Sweep kills what belongs to no command that runs: what earlier ones left behind. The outside has stopped all but this process:
// nobody forks, and it is not waited until those that are killed are gone, which takes hundreds of them a while.
type Sweep struct {
	Running []int `json:"running"` // first processes of those that run, each of a session of its own
}

func (s Sweep) do(r *reaper) (killed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	running := map[int]uint32{} // session → any number but census.Rest
	for _, pid := range s.Running {
		running[pid] = 1
	}
	end, known := time.Now().Add(sweepTime), map[int]bool{}
	for time.Now().Before(end) {
		before := len(known)
		for _, pid := range census.ByCommand(census.Living(), running)[census.Rest] {
			if !known[pid] {
				known[pid] = true
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		if len(known) == before {
			break
		}
	}
	return len(known)
}

// reaper waits for processes that nobody else waits for.
type reaper struct {
	mu sync.Mutex // held while somebody is waited for, and for the whole of a Sweep: see package census
}

func (r *reaper) reap() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	for range died {
		r.all()
	}
}

// all waits for everybody who is dead.
func (r *reaper) all() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || pid <= 0 {
			return
		}
	}
}
