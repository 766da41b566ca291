package held

import (
	"errors"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
)

func TestLeasesShareABudget(t *testing.T) {
	b := New("uploads", 100)
	one, two := b.Lease(), b.Lease()
	if err := one.Take(60); err != nil {
		t.Fatal(err)
	}
	err := two.Take(41)
	if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindLimited || e.RetryAfter == 0 {
		t.Errorf("above the budget: %v", err)
	}
	if err := two.Take(40); err != nil || b.Used() != 100 {
		t.Errorf("what is left: %v, %d are used", err, b.Used())
	}
	one.Release()
	one.Release() // there is nothing left of it
	if err := two.Take(60); err != nil || b.Used() != 100 {
		t.Errorf("what was given back: %v, %d are used", err, b.Used())
	}
	two.Release()
	if b.Used() != 0 {
		t.Errorf("%d are used by nobody", b.Used())
	}
}

// TestABudgetIsNeverPassed, however many take at once.
func TestABudgetIsNeverPassed(t *testing.T) {
	b := New("uploads", 1000)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				l := b.Lease()
				taken := 0
				for l.Take(90) == nil {
					taken += 90
				}
				if taken > 1000 {
					t.Errorf("one has %d", taken)
				}
				l.Release()
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("%d are used by nobody", b.Used())
	}
}
