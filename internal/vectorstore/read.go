package vectorstore

import (
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory/recall"
	"github.com/stead-dev/stead/internal/param"
)

// ReadOptions reads how to search, as the API's search and its file_search tool have it: max_num_results,
// ranking_options and filters. Its errors name the field.
func ReadOptions(o param.Object) (Search, error) {
	var q Search
	n, _, err := o.Int("max_num_results", 1, MaxResults)
	if err != nil {
		return q, err
	}
	q.Limit = int(n)
	if err := q.readRanking(o); err != nil {
		return q, err
	}
	if q.Filter, err = filterOf(o); err != nil {
		return q, err
	}
	left := MaxFilters
	return q, q.Filter.check(1, &left)
}

// Known refuses what ReadOptions passes over, of a request: a filter that is misspelt would find what it was to leave out.
func Known(o param.Object) error {
	ranking, _, err := o.Object("ranking_options")
	if err == nil {
		err = ranking.Only("ranking options", "ranker", "score_threshold", "hybrid_search")
	}
	if err != nil {
		return err
	}
	filters, has, err := o.Object("filters")
	if !has || err != nil {
		return err
	}
	return knownFilter(filters, 0)
}

func knownFilter(o param.Object, depth int) error {
	if list, has, err := o.List("filters"); has && err == nil && depth < readFilterDepth {
		for i, raw := range list {
			sub, err := param.Parse(param.Index(o.Path("filters"), i), raw)
			if err == nil {
				err = knownFilter(sub, depth+1)
			}
			if err != nil {
				return err
			}
		}
		return o.Only("filters of this type", "type", "filters")
	}
	return o.Only("a comparison", "type", "key", "value")
}

// readRanking reads ranking_options: there is one ranker, whatever it is called.
func (q *Search) readRanking(o param.Object) error {
	ranking, ok, err := o.Object("ranking_options")
	if !ok || err != nil {
		return err
	}
	if _, _, err := ranking.Enum("ranker", "none", "auto", "default-2024-11-15"); err != nil {
		return err
	}
	if q.Balance, err = readBalance(ranking); err != nil {
		return err
	}
	least, err := ranking.Number("score_threshold", 0, 1)
	if least != nil {
		q.Least = *least
	}
	return err
}

// maxWeight is the largest weight of hybrid_search.
const maxWeight = 1e6

// readBalance reads hybrid_search: how much vectors count beside words. Only the ratio of the two matters.
func readBalance(ranking param.Object) (*recall.Balance, error) {
	hybrid, ok, err := ranking.Object("hybrid_search")
	if !ok || err != nil {
		return nil, err
	}
	vectors, err := weight(hybrid, "embedding_weight")
	if err != nil {
		return nil, err
	}
	words, err := weight(hybrid, "text_weight")
	if err != nil {
		return nil, err
	}
	if vectors+words == 0 {
		return nil, stead.Invalid(hybrid.Path("embedding_weight"), "one of embedding_weight and text_weight must be greater than 0")
	}
	const both = 2 // equal weights are what a search has without them
	return &recall.Balance{Words: both * words / (vectors + words), Vectors: both * vectors / (vectors + words)}, nil
}

func weight(o param.Object, name string) (float64, error) {
	n, err := o.Number(name, 0, maxWeight)
	if err == nil && n == nil {
		err = stead.Invalid(o.Path(name), "%s is required", o.Path(name))
	}
	if err != nil {
		return 0, err
	}
	return *n, nil
}

func filterOf(o param.Object) (Filter, error) {
	f, ok, err := o.Object("filters")
	if !ok || err != nil {
		return Filter{}, err
	}
	return readFilter(f, 0)
}

// readFilterDepth is the deepest that filters are read: a search refuses less than that.
const readFilterDepth = 32

func readFilter(o param.Object, depth int) (Filter, error) {
	kind, err := param.Need(o.Enum("type", append(Comparisons(), "and", "or")...))(o.Path("type"))
	f := Filter{Type: kind}
	if err != nil {
		return f, err
	}
	if slices.Contains(Comparisons(), kind) {
		err = comparison(o, &f)
		return f, err
	}
	list, err := param.Need(o.List("filters"))(o.Path("filters"))
	if err == nil && depth == readFilterDepth {
		err = stead.Invalid(o.Path("filters"), "filters lie too deep")
	}
	if err != nil {
		return f, err
	}
	for i, raw := range list {
		sub, err := param.Parse(param.Index(o.Path("filters"), i), raw)
		if err != nil {
			return f, err
		}
		one, err := readFilter(sub, depth+1)
		if err != nil {
			return f, err
		}
		f.Filters = append(f.Filters, one)
	}
	return f, nil
}

func comparison(o param.Object, f *Filter) error {
	var err error
	if f.Key, err = param.Need(o.String("key"))(o.Path("key")); err != nil {
		return err
	}
	raw, ok := o.Raw("value")
	var v any
	if !ok || json.Unmarshal(raw, &v) != nil {
		return stead.Invalid(o.Path("value"), "%s is required", o.Path("value"))
	}
	list, isList := v.([]any)
	if isList != (f.Type == "in" || f.Type == "nin") {
		return stead.Invalid(o.Path("value"), `value must be a list for "in" and "nin", and none for the others`)
	}
	if !isList {
		list = []any{v}
	}
	for _, v := range list {
		switch v.(type) {
		case string, float64, bool:
		default:
			return stead.Invalid(o.Path("value"), "value must be made of strings, numbers and booleans")
		}
	}
	f.Values = list
	return nil
}
