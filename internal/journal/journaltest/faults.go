package journaltest

import (
	"math/rand/v2"

	"github.com/stead-dev/stead"
)

// faults are the failures that Memory's Send and Append have before them.
type faults struct {
	failBefore, failAfter int // how many calls fail
	chance                *rand.Rand
	pBefore, pAfter       float64
}

// FailBefore makes the next k calls of Send or Append fail with KindUnavailable, storing nothing.
func (m *Memory) FailBefore(k int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.failBefore = k
}

// FailAfter makes the next k calls of Send or Append that store something, or replay, fail with
// KindUnavailable all the same: the acknowledgement is lost on its way.
func (m *Memory) FailAfter(k int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.failAfter = k
}

// Chance makes calls of Send and Append fail by chance, before storing and after it; two zeros end
// that. The same seed and the same calls give the same failures.
func (m *Memory) Chance(seed uint64, before, after float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.chance = rand.New(rand.NewPCG(seed, seed))
	m.faults.pBefore, m.faults.pAfter = before, after
}

func (f *faults) before() error {
	if hit(&f.failBefore, f.chance, f.pBefore) {
		return stead.Errorf(stead.KindUnavailable, "a fault was asked for before storing")
	}
	return nil
}

func (f *faults) after() error {
	if hit(&f.failAfter, f.chance, f.pAfter) {
		return stead.Errorf(stead.KindUnavailable, "a fault was asked for after storing")
	}
	return nil
}

func hit(count *int, chance *rand.Rand, p float64) bool {
	if *count > 0 {
		*count--
		return true
	}
	return chance != nil && p > 0 && chance.Float64() < p
}

// Steal takes a session from its holder as if its node had been silent too long: the holder is
// fenced, and the session is due. It reports false when nobody holds it.
func (m *Memory) Steal(key stead.SessionKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[key]
	if s == nil || s.head.Holder == "" {
		return false
	}
	s.head.Epoch++
	m.orphan(s)
	m.signal()
	return true
}

// Crash ends and restarts the store's process: what was acknowledged stays, and so does what was
// stored with its acknowledgement lost; leases, heartbeats and snapshots are gone, and every held
// session is due. Nodes that outlive the crash must beat and acquire again.
func (m *Memory) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.nodes)
	for _, s := range m.sessions {
		if s.head.Holder != "" {
			m.orphan(s)
		}
		s.snapshotSeq, s.snapshot = 0, nil
	}
	m.signal()
}

// orphan makes a held session due without a holder.
func (m *Memory) orphan(s *memSession) {
	s.head.Holder = ""
	if now := m.now().UnixMilli(); s.due == 0 || s.due > now {
		s.due = max(now, 1)
	}
}
