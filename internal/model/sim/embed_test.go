package sim_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/sim"
)

func embedded(t *testing.T, size int, texts ...string) [][]float32 {
	t.Helper()
	e, ok := sim.New(sim.Options{}).(model.Embedder)
	if !ok {
		t.Fatal("sim does not embed")
	}
	r, err := e.Embed(t.Context(), model.EmbedRequest{Texts: texts, Dimensions: size})
	if err != nil || len(r.Vectors) != len(texts) || r.Usage == nil || r.Model != sim.Name {
		t.Fatalf("%+v, %v", r, err)
	}
	return r.Vectors
}

func near(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// Texts are nearer the more words they share, and words that are written alike.
func TestEmbedNearness(t *testing.T) {
	v := embedded(t, 0, "The invoice of March is not paid.", "the INVOICE of march: not paid!", "Invoices of March are unpaid.",
		"Whales sing in the deep sea.", "发票三月未付", "三月的发票", "...")
	for i := range v {
		if n := near(v[i], v[i]); len(v[i]) != sim.DefaultDimensions || math.Abs(n-1) > 1e-5 {
			t.Errorf("vector %d: %d numbers, length %g", i, len(v[i]), n)
		}
	}
	same, alike, apart := near(v[0], v[1]), near(v[0], v[2]), near(v[0], v[3])
	if same < 0.8 || alike < apart+0.2 || apart > 0.35 || same < alike {
		t.Errorf("same words %.2f, like words %.2f, others %.2f", same, alike, apart)
	}
	if near(v[4], v[5]) <= near(v[4], v[3]) {
		t.Errorf("texts without spaces: %.2f, others %.2f", near(v[4], v[5]), near(v[4], v[3]))
	}
	if again := embedded(t, 0, "The invoice of March is not paid."); !slices.Equal(again[0], v[0]) {
		t.Error("the same text has another vector")
	}
}

func TestEmbedDimensions(t *testing.T) {
	if v := embedded(t, 3, "a b c", "d"); len(v[0]) != 3 || len(v[1]) != 3 {
		t.Errorf("%v", v)
	}
	e, _ := sim.New(sim.Options{}).(model.Embedder)
	for _, n := range []int{-1, sim.MaxDimensions + 1} {
		_, err := e.Embed(t.Context(), model.EmbedRequest{Texts: []string{"a"}, Dimensions: n})
		if x, ok := errors.AsType[*model.Error](err); !ok || x.Code != model.CodeInvalid || x.Param != "dimensions" {
			t.Errorf("%d: %v", n, err)
		}
	}
}
