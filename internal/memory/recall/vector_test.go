package recall

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func cosineOf(a, b []float32) float64 {
	ab, aa, bb := 0.0, 0.0, 0.0
	for i := range a {
		ab, aa, bb = ab+float64(a[i])*float64(b[i]), aa+float64(a[i])*float64(a[i]), bb+float64(b[i])*float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// TestPackedVectorsCompare: a byte a dimension is exact to a hundredth, whatever the vector's length.
func TestPackedVectorsCompare(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{3, 384, 1536} {
		for range 20 {
			a, b := make([]float32, size), make([]float32, size)
			for i := range a {
				a[i] = float32(rng.NormFloat64()) * 1e-3
				b[i] = a[i]*float32(rng.IntN(3)) + float32(rng.NormFloat64())*1e3
			}
			x := New(func(int) string { return "" })
			x.Put(Entry[int]{ID: "a", Text: "text"})
			if !x.SetVector("a", Pack(a)) {
				t.Fatal("the vector is not taken")
			}
			if got, want := x.vectors.ask(Pack(b), 2).cosine(0), cosineOf(a, b); math.Abs(got-want) > 0.01 {
				t.Errorf("%d dimensions: %.4f, exactly %.4f", size, got, want)
			}
		}
	}
	for name, v := range map[string][]float32{"empty": nil, "zero": {0, 0}, "no number": {1, float32(math.NaN())}, "infinite": {1, float32(math.Inf(1))}} {
		if Pack(v) != nil {
			t.Errorf("%s: it has a direction", name)
		}
	}
}

// TestVectorsComeAndGo: of an entry that goes nothing is left, and vectors of another length are not compared.
func TestVectorsComeAndGo(t *testing.T) {
	x := New(func(int) string { return "" })
	for i := range 5 {
		x.Put(Entry[int]{ID: fmt.Sprint(i), Text: fmt.Sprintf("entry%d", i)})
	}
	if x.SetVector("9", Pack([]float32{1, 2})) || x.SetVector("1", nil) || x.SetVector("1", []byte{1, 2, 3, 4}) {
		t.Error("a vector of nothing, or that is none, is taken")
	}
	for i := range 4 {
		v := []float32{0, 0, 0, 0}
		v[i] = 1
		x.SetVector(fmt.Sprint(i), Pack(v))
	}
	if x.SetVector("4", Pack([]float32{1, 2})) {
		t.Error("a vector of another length is taken")
	}
	if got := x.Search(Query[int]{Text: "unknown", Vector: Pack([]float32{0, 0, 1, 0}), Limit: 3, Explain: true}); len(got) != 1 || got[0].ID != "2" || got[0].Parts.Similarity < 0.99 || got[0].Share <= 0 {
		t.Errorf("found %+v", got)
	}
	if got := x.Search(Query[int]{Text: "unknown", Vector: Pack([]float32{1, 0}), Limit: 3}); len(got) != 0 {
		t.Errorf("by a vector of another length: %+v", got)
	}
	x.Remove("2")
	if got := x.Search(Query[int]{Text: "unknown", Vector: Pack([]float32{0, 0, 1, 0}), Limit: 3}); len(got) != 0 || x.Vectors() != 3 {
		t.Errorf("removed, and found: %+v", got)
	}
	if slices.ContainsFunc(x.vectors.codes[2*4:3*4], func(c int8) bool { return c != 0 }) || x.vectors.signs[2] != 0 {
		t.Error("what was removed is left in memory")
	}
	x.Put(Entry[int]{ID: "new", Text: "something else"}) // in its place
	if v, _ := x.Vector("new"); v != nil {
		t.Error("a new entry has an old vector")
	}
	if v, _ := x.Vector("1"); !bytes.Equal(v, Pack([]float32{0, 1, 0, 0})) {
		t.Errorf("the vector came back as %v", v)
	}
	if got := x.Search(Query[int]{Text: "entry1", Vector: Pack([]float32{0, 0, 0, 1}), Balance: &Balance{Words: 0, Vectors: 2}, Limit: 1}); len(got) != 1 || got[0].ID != "3" {
		t.Errorf("by vectors alone: %+v", got)
	}
}

// TestSketchesFindWhatIsNear: of the twenty nearest, that are compared one by one, sketches find nearly all; so also where one entry of
// fifty is allowed, and with vectors that are mostly zeros.
func TestSketchesFindWhatIsNear(t *testing.T) {
	const entries, topics = 20_000, 200
	for name, make1 := range map[string]func(rng *rand.Rand, topic int) []float32{
		"dense": func(rng *rand.Rand, topic int) []float32 {
			about := rand.New(rand.NewPCG(7, uint64(topic)))
			v := make([]float32, 192)
			for i := range v {
				v[i] = float32(about.NormFloat64() + 1.2*rng.NormFloat64())
			}
			return v
		},
		"sparse": func(rng *rand.Rand, topic int) []float32 {
			about := rand.New(rand.NewPCG(7, uint64(topic)))
			v := make([]float32, 1024)
			for range 12 {
				v[about.IntN(len(v))] += 1
			}
			for range 12 {
				v[rng.IntN(len(v))] += 1
			}
			return v
		},
	} {
		rng := rand.New(rand.NewPCG(3, 4))
		x := New(func(int) string { return "" })
		for i := range entries {
			id := fmt.Sprint(i)
			x.Put(Entry[int]{ID: id, Text: "w", Facets: i})
			x.SetVector(id, Pack(make1(rng, i%topics)))
		}
		for _, every := range []int{1, 50} {
			found, all := 0, 0
			for range 10 {
				q := x.vectors.ask(Pack(make1(rng, rng.IntN(topics))), 2)
				nearest := func(work int) []float64 {
					x.vectors.work = work
					var list []float64
					allowed := func(n int32) bool { return int(n)%every == 0 }
					q.above(allowed, func(n int32, a float64) {
						if allowed(n) {
							list = append(list, a)
						}
					})
					slices.Sort(list)
					slices.Reverse(list)
					return list[:min(20, len(list))]
				}
				exact, quick := nearest(math.MaxInt), nearest(0)
				for i, a := range exact { // of equally near ones it does not matter which
					if all++; i < len(quick) && quick[i] >= a {
						found++
					}
				}
			}
			if share := float64(found) / float64(all); share < 0.95 || all < 40 {
				t.Errorf("%s, one of %d: %.3f of %d are found", name, every, share, all)
			}
		}
	}
}
