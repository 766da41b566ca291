package main

import (
	"slices"
	"sync"
	"time"
)

// rate is what a load came to.
type rate struct {
	PerSecond float64       `json:"per_second"`
	P50       time.Duration `json:"p50"`
	P99       time.Duration `json:"p99"`
}

// drive lets workers repeat step until the window is over, and counts. A step that was begun
// within the window counts whole. The first error ends it.
func drive(workers int, window time.Duration, step func(worker int) error) (rate, error) {
	var (
		mu    sync.Mutex
		took  []time.Duration
		fault error
		wg    sync.WaitGroup
	)
	start := time.Now()
	for w := range workers {
		wg.Go(func() {
			mine, err := repeat(start, window, func() error { return step(w) })
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			if fault == nil {
				fault = err
			}
		})
	}
	wg.Wait()
	return newRate(took, time.Since(start)), fault
}

func repeat(start time.Time, window time.Duration, step func() error) ([]time.Duration, error) {
	var took []time.Duration
	for began := time.Now(); began.Sub(start) < window; {
		if err := step(); err != nil {
			return took, err
		}
		now := time.Now()
		took = append(took, now.Sub(began))
		began = now
	}
	return took, nil
}

func newRate(took []time.Duration, whole time.Duration) rate {
	r := rate{PerSecond: float64(len(took)) / whole.Seconds()}
	r.P50, r.P99 = quantile(took, 0.50), quantile(took, 0.99)
	return r
}

// quantile returns the q-th part of the sample; zero of an empty one. It sorts its argument.
func quantile(sample []time.Duration, q float64) time.Duration {
	if len(sample) == 0 {
		return 0
	}
	slices.Sort(sample)
	return sample[int(q*float64(len(sample)-1))]
}

// medianOf repeats a measurement and returns the run in the middle by rate: one busy moment of a
// shared machine must not decide.
func medianOf(times int, measure func() (rate, error)) (rate, error) {
	var runs []rate
	for range times {
		r, err := measure()
		if err != nil {
			return rate{}, err
		}
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b rate) int {
		switch {
		case a.PerSecond < b.PerSecond:
			return -1
		case a.PerSecond > b.PerSecond:
			return 1
		}
		return 0
	})
	return runs[len(runs)/2], nil
}
