package recall

import (
	"math"
	"math/bits"
)

// In a large index vectors are first compared by sketches: a bit a dimension, the sign of each number after a rotation that is the
// same for all. Two vectors differ in about as many bits as the angle between them says; those that differ least are then compared
// exactly. The rotation (a random sign for each number, then a Walsh-Hadamard transform, twice) spreads every vector
// over all of its dimensions, so that vectors with few numbers have sketches too.
//
// Source: M. Charikar, "Similarity Estimation Techniques from Rounding Algorithms" (2002); N. Ailon and B. Chazelle, "The Fast
// Johnson-Lindenstrauss Transform" (2009).

const (
	// exactWork is the most numbers that are compared one by one: some 15 ms.
	exactWork = 16 << 20
	// sketched is how many of the nearest sketches are compared exactly.
	sketched = 2000
	// sampled is from how many vectors it is taken how near the query is to anything.
	sampled  = 4096
	wordBits = 64 // bits
)

// sketchWords is how many words a sketch of so many dimensions has.
func sketchWords(size int) int {
	n := wordBits
	for n < size {
		n *= 2
	}
	return n / wordBits
}

// sketch makes the sketch of a vector, into out. room is as long as out has bits.
func sketch(codes []int8, room []float32, out []uint64) {
	clear(room)
	for i, c := range codes {
		room[i] = float32(c)
	}
	for round := range uint64(2) {
		for i := range room {
			if mix(uint64(i)<<1|round)&1 == 1 {
				room[i] = -room[i]
			}
		}
		hadamard(room)
	}
	clear(out)
	for i, v := range room {
		if v > 0 {
			out[i/wordBits] |= 1 << (i % wordBits)
		}
	}
}

// hadamard is the Walsh-Hadamard transform, but for a factor.
func hadamard(v []float32) {
	for h := 1; h < len(v); h *= 2 {
		for i := 0; i < len(v); i += 2 * h {
			a, b := v[i:i+h], v[i+h:i+2*h]
			for j := range a {
				a[j], b[j] = a[j]+b[j], a[j]-b[j]
			}
		}
	}
}

// mix makes a number look random (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// likeliest calls found with the entries whose sketches differ least from the query's, of those that are allowed, and at least
// sketched of them if there are so many.
func (v *vectors) likeliest(asked []uint64, allowed func(int32) bool, found func(int32)) {
	words := len(asked)
	differ := make([]uint16, len(v.scales))
	counts := make([]int, words*wordBits+1)
	for n := range v.scales {
		if v.scales[n] == 0 {
			differ[n] = math.MaxUint16
			continue
		}
		d := 0
		for i, w := range v.signs[n*words : (n+1)*words] {
			d += bits.OnesCount64(w ^ asked[i])
		}
		differ[n] = uint16(d) //nolint:gosec // at most 4096
		counts[d]++
	}
	from, got, want := -1, 0, sketched
	for from < words*wordBits && got < sketched { // further and further away, where much is not allowed
		to, sum := from, 0
		for to < words*wordBits && sum < want {
			to++
			sum += counts[to]
		}
		for n, d := range differ {
			if int(d) > from && int(d) <= to && d != math.MaxUint16 && allowed(int32(n)) {
				found(int32(n))
				got++
			}
		}
		const wider = 8
		from, want = to, want*wider
	}
}
