package recall

import (
	"encoding/binary"
	"math"
)

// Vectors are kept as a byte a dimension with one scale (the largest number is 127): a cosine of two such vectors
// differs from the exact one by less than a hundredth, and a thousand dimensions take a kilobyte.

const (
	// scaleBytes is the length of a packed vector's scale, in front of its numbers.
	scaleBytes = 4
	mostCode   = 127
)

// Pack makes a vector that Unpack and SetVector read: a float32 scale, little end first, and an int8 a dimension, of
// length 1 when they are multiplied. nil for one that has no direction: empty, all zero, or not of numbers.
func Pack(v []float32) []byte {
	length, largest := 0.0, 0.0
	for _, x := range v {
		length += float64(x) * float64(x)
		largest = max(largest, math.Abs(float64(x)))
	}
	if length = math.Sqrt(length); length == 0 || math.IsNaN(length) || math.IsInf(length, 0) {
		return nil
	}
	out := make([]byte, scaleBytes, scaleBytes+len(v))
	sum := 0.0
	for _, x := range v {
		n := math.Round(float64(x) / largest * mostCode)
		out = append(out, byte(int8(n)))
		sum += n * n
	}
	binary.LittleEndian.PutUint32(out, math.Float32bits(float32(1/math.Sqrt(sum))))
	return out
}

// vectors are those of an index's entries, by their numbers.
type vectors struct {
	size   int       // dimensions; 0: there are none yet
	codes  []int8    // size each
	scales []float32 // 0: this entry has none
	signs  []uint64  // sketches
	count  int
	room   []float32 // of a sketch in the making
	work   int       // the most numbers that are compared one by one
}

// SetVector gives an entry its vector, as Pack makes it. It reports false, and does nothing, when there is no such
// entry, or the vector is of another length than those that are there.
func (x *Index[T]) SetVector(id string, packed []byte) bool {
	n, ok := x.byID[id]
	if !ok || len(packed) <= scaleBytes {
		return false
	}
	return x.vectors.set(n, packed)
}

// Vector is the vector of an entry and what the entry is filtered by; nil: it has none.
func (x *Index[T]) Vector(id string) (packed []byte, facets T) {
	if n, ok := x.byID[id]; ok {
		return x.vectors.at(n), x.entries[n].facets
	}
	return nil, facets
}

func (v *vectors) set(n int32, packed []byte) bool {
	size := len(packed) - scaleBytes
	if v.size == 0 || v.count == 0 {
		*v = vectors{size: size, room: make([]float32, sketchWords(size)*wordBits), work: exactWork}
	}
	if v.size != size {
		return false
	}
	for int(n) >= len(v.scales) {
		v.scales = append(v.scales, 0)
		v.codes = append(v.codes, make([]int8, size)...)
		v.signs = append(v.signs, make([]uint64, len(v.room)/wordBits)...)
	}
	if v.scales[n] == 0 {
		v.count++
	}
	v.scales[n] = math.Float32frombits(binary.LittleEndian.Uint32(packed))
	for i, c := range packed[scaleBytes:] {
		v.codes[int(n)*size+i] = int8(c)
	}
	words := len(v.room) / wordBits
	sketch(v.codes[int(n)*size:(int(n)+1)*size], v.room, v.signs[int(n)*words:(int(n)+1)*words])
	return true
}

// at is a copy of an entry's vector; nil: it has none.
func (v *vectors) at(n int32) []byte {
	if int(n) >= len(v.scales) || v.scales[n] == 0 {
		return nil
	}
	out := binary.LittleEndian.AppendUint32(nil, math.Float32bits(v.scales[n]))
	for _, c := range v.codes[int(n)*v.size : (int(n)+1)*v.size] {
		out = append(out, byte(c))
	}
	return out
}

// drop takes an entry's vector away.
func (v *vectors) drop(n int32) {
	if int(n) >= len(v.scales) || v.scales[n] == 0 {
		return
	}
	v.scales[n] = 0
	v.count--
	clear(v.codes[int(n)*v.size : (int(n)+1)*v.size])
	words := len(v.room) / wordBits
	clear(v.signs[int(n)*words : (int(n)+1)*words])
}

// What is believed of a store's cosines before they are known, and how many entries that weighs: among few
// entries nobody can tell which cosine is a high one.
const (
	usualCosine    = 0.25
	usualDeviation = 0.1
	usualWeight    = 4
	usualFloor     = 8 // entries from which on the floor is as many deviations up as it says
)

// asking is a query's vector, to be compared.
type asking struct {
	v     *vectors
	codes []int8
	scale float32
	floor float64 // the cosine from which on an entry is nearer than most: so many deviations above the mean
}

// ask prepares a query; nil: there is nothing to compare it with.
func (v *vectors) ask(packed []byte, deviations float64) *asking {
	if len(packed)-scaleBytes != v.size || v.count == 0 {
		return nil
	}
	q := &asking{v: v, codes: make([]int8, v.size), scale: math.Float32frombits(binary.LittleEndian.Uint32(packed))}
	for i, c := range packed[scaleBytes:] {
		q.codes[i] = int8(c)
	}
	sum, squares, count := float64(usualWeight*usualCosine), float64(usualWeight*(usualCosine*usualCosine+usualDeviation*usualDeviation)), 0.0
	step := 1
	if !v.exact() {
		step = max(1, len(v.scales)/sampled)
	}
	for n := 0; n < len(v.scales); n += step {
		if v.scales[n] != 0 {
			c := q.cosine(int32(n))
			sum, squares, count = sum+c, squares+c*c, count+1
		}
	}
	mean := sum / (count + usualWeight)
	deviation := math.Sqrt(max(0, squares/(count+usualWeight)-mean*mean))
	q.floor = mean + deviations*count/(count+usualFloor)*deviation
	return q
}

// exact reports whether every vector is compared.
func (v *vectors) exact() bool { return v.count*v.size <= v.work }

// cosine is how near an entry is, from -1 to 1; 0: it has no vector.
func (q *asking) cosine(n int32) float64 {
	v := q.v
	if int(n) >= len(v.scales) || v.scales[n] == 0 {
		return 0
	}
	return float64(v.scales[n] * q.scale * float32(dot(q.codes, v.codes[int(n)*v.size:(int(n)+1)*v.size])))
}

// above calls found with the entries that are nearer than most, and by how much: 1 is the query itself.
func (q *asking) above(allowed func(int32) bool, found func(n int32, above float64)) {
	if q.floor >= 1 {
		return
	}
	look := func(n int32) {
		if a := (q.cosine(n) - q.floor) / (1 - q.floor); a > 0 && q.v.scales[n] != 0 {
			found(n, a)
		}
	}
	if q.v.exact() {
		for n := range q.v.scales {
			look(int32(n))
		}
		return
	}
	room, asked := make([]float32, len(q.v.room)), make([]uint64, len(q.v.room)/wordBits)
	sketch(q.codes, room, asked)
	q.v.likeliest(asked, allowed, look)
}

// dot is the product of two vectors of the same length. Four sums at once keep the processor's adders busy.
func dot(a, b []int8) int32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 int32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += int32(x[0]) * int32(y[0])
		s1 += int32(x[1]) * int32(y[1])
		s2 += int32(x[2]) * int32(y[2])
		s3 += int32(x[3]) * int32(y[3])
	}
	for ; i < len(a); i++ {
		s0 += int32(a[i]) * int32(b[i])
	}
	return s0 + s1 + s2 + s3
}

// DropVectors takes all vectors away: those that come are of another model.
func (x *Index[T]) DropVectors() { x.vectors = vectors{} }

// Vectors is how many entries have one.
func (x *Index[T]) Vectors() int { return x.vectors.count }
