package recall

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAlikeCountsAllWords: passing over what can't be alike any more changes nothing of what is.
func TestAlikeCountsAllWords(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	was := map[bool]int{}
	for range 20_000 {
		var a, b []int32
		both, share := 0, 0.6+0.4*rng.Float64()
		for w := range int32(rng.IntN(40)) {
			switch in := rng.Float64(); {
			case in < share:
				a, b, both = append(a, w), append(b, w), both+1
			case rng.IntN(2) == 0:
				a = append(a, w)
			default:
				b = append(b, w)
			}
		}
		want := both > 0 && float64(both) >= nearlySame*float64(len(a)+len(b)-both)
		if was[want]++; alike(a, b) != want || alike(b, a) != want {
			t.Fatalf("%v and %v: want %t", a, b, want)
		}
	}
	if min(was[true], was[false]) < 1000 {
		t.Errorf("the cases are one-sided: %v", was)
	}
}

// BenchmarkAlike: of texts as long as a memory may be, three hundred are compared while somebody waits.
func BenchmarkAlike(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	long := make([][]int32, 300)
	for i := range long {
		seen := map[int32]bool{}
		for range 4000 {
			seen[int32(rng.IntN(12_000))] = true
		}
		for w := range seen {
			long[i] = append(long[i], w)
		}
		slices.Sort(long[i])
	}
	for b.Loop() {
		for i := range long {
			for j := range i {
				alike(long[i], long[j])
			}
		}
	}
}
