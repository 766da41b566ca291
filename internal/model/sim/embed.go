package sim

import (
	"context"
	"hash/fnv"
	"math"
	"strings"
	"unicode"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// The sizes of vectors, in numbers.
const (
	DefaultDimensions = 256
	MaxDimensions     = 4096

	wordWeight    = 1.0
	trigramWeight = 0.4 // near words share some of theirs: plurals, misspellings, compounds
)

// Embed implements model.Embedder without a model: texts with the same words, or with words that are
// written alike, are near each other, and the same text always has the same vector.
//
// A vector counts features: the words of the text, in lower case, and the trigrams of characters of each
// of them with its ends marked. Each feature is hashed (FNV-1a) to a place and a sign, so that features
// which share a place do not add up on average; the sum has length 1. A text without a word has 1 at the
// first place.
//
// Source: feature hashing, Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (2009).
func (s *simulator) Embed(ctx context.Context, req model.EmbedRequest) (model.EmbedReply, error) {
	size := req.Dimensions
	if size == 0 {
		size = DefaultDimensions
	}
	if size < 0 || size > MaxDimensions {
		return model.EmbedReply{}, &model.Error{Code: model.CodeInvalid, Param: "dimensions", Message: "sim makes vectors of 1 to 4096 numbers"}
	}
	reply := model.EmbedReply{Vectors: make([][]float32, len(req.Texts)), Model: req.Model, Usage: &stead.Usage{}}
	if reply.Model == "" {
		reply.Model = s.name
	}
	for i, text := range req.Texts {
		if err := ctx.Err(); err != nil {
			return model.EmbedReply{}, &model.Error{Code: model.CodeConnection, Message: "the model call was cancelled", Err: err}
		}
		reply.Vectors[i] = embed(text, size)
		reply.Usage.InputTokens += tokens(len(text))
	}
	return reply, nil
}

func embed(text string, size int) []float32 {
	sum := make([]float64, size)
	add := func(kind, feature string, weight float64) {
		h := fnv.New64a()
		_, _ = h.Write([]byte(kind + feature)) // never fails
		n := h.Sum64()
		if n>>63 == 1 {
			weight = -weight
		}
		sum[n%uint64(size)] += weight
	}
	apart := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }
	for _, word := range strings.FieldsFunc(strings.ToLower(text), apart) {
		add("word ", word, wordWeight)
		for _, r := range word {
			if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) {
				add("word ", string(r), wordWeight) // written without spaces
			}
		}
		marked := []rune(" " + word + " ")
		for i := range len(marked) - 2 {
			add("trigram ", string(marked[i:i+3]), trigramWeight)
		}
	}
	length := 0.0
	for _, x := range sum {
		length += x * x
	}
	out := make([]float32, size)
	if length == 0 {
		out[0] = 1
		return out
	}
	for i, x := range sum {
		out[i] = float32(x / math.Sqrt(length))
	}
	return out
}
