package server

import (
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// vectorFields sets what a request says about a store; what it leaves out stays.
func vectorFields(o param.Object, f *vectorstore.Fields) error {
	if err := setString(o, "name", &f.Name); err != nil {
		return err
	}
	if err := setMetadata(o, &f.Metadata); err != nil {
		return err
	}
	expiry, ok, err := o.Object("expires_after")
	if !ok || err != nil {
		if o.Null("expires_after") {
			f.LifeDays = 0
			err = nil
		}
		return err
	}
	if _, err := param.Need(expiry.Enum("anchor", anchorActive))(expiry.Path("anchor")); err != nil {
		return err
	}
	days, err := param.Need(expiry.Int("days", 1, vectorstore.MaxLifeDays))(expiry.Path("days"))
	f.LifeDays = int(days)
	return err
}

// attachments reads file_ids with the strategy for all of them.
func attachments(o param.Object) ([]vectorstore.Attachment, error) {
	ids, _, err := o.Strings("file_ids")
	if err != nil {
		return nil, err
	}
	if len(ids) > vectorstore.MaxBatch {
		return nil, stead.Invalid(o.Path("file_ids"), "file_ids must have at most %d entries", vectorstore.MaxBatch)
	}
	attributes, err := attributesOf(o)
	if err != nil {
		return nil, err
	}
	plan, err := planOf(o)
	if err != nil {
		return nil, err
	}
	out := make([]vectorstore.Attachment, len(ids))
	for i, id := range ids {
		out[i] = vectorstore.Attachment{File: id, Attributes: attributes, Plan: plan}
	}
	return out, nil
}

// batchAttachments reads either file_ids, or files with strategies of their own.
func batchAttachments(o param.Object) ([]vectorstore.Attachment, error) {
	list, ok, err := o.List("files")
	if err != nil {
		return nil, err
	}
	if !ok {
		return attachments(o)
	}
	if o.Has("file_ids") {
		return nil, stead.Invalid(o.Path("files"), "files and file_ids can't be given at once")
	}
	out := make([]vectorstore.Attachment, min(len(list), vectorstore.MaxBatch+1)) // one too many is refused
	for i := range out {
		one, err := param.Parse(param.Index(o.Path("files"), i), list[i])
		if err != nil {
			return nil, err
		}
		if out[i], err = oneAttachment(one); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func oneAttachment(o param.Object) (vectorstore.Attachment, error) {
	var a vectorstore.Attachment
	var err error
	if a.File, err = param.Need(o.String("file_id"))(o.Path("file_id")); err != nil {
		return a, err
	}
	if a.Attributes, err = attributesOf(o); err != nil {
		return a, err
	}
	a.Plan, err = planOf(o)
	return a, err
}

// attributesOf reads attributes: package vectorstore says what they may be.
func attributesOf(o param.Object) (map[string]any, error) {
	raw, ok := o.Raw("attributes")
	if !ok || o.Null("attributes") {
		return nil, nil
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, stead.Invalid(o.Path("attributes"), "attributes must be an object")
	}
	return m, nil
}

func planOf(o param.Object) (passage.Plan, error) {
	strategy, ok, err := o.Object("chunking_strategy")
	if !ok || err != nil {
		return passage.Plan{}, err
	}
	kind, err := param.Need(strategy.Enum("type", "auto", "static"))(strategy.Path("type"))
	if err != nil || kind == "auto" {
		return passage.Plan{}, err
	}
	static, err := param.Need(strategy.Object("static"))(strategy.Path("static"))
	if err != nil {
		return passage.Plan{}, err
	}
	size, err := param.Need(static.Int("max_chunk_size_tokens", passage.MinSize, passage.MaxSize))(static.Path("max_chunk_size_tokens"))
	if err != nil {
		return passage.Plan{}, err
	}
	overlap, err := param.Need(static.Int("chunk_overlap_tokens", 0, size/2))(static.Path("chunk_overlap_tokens"))
	return passage.Plan{Size: int(size), Overlap: int(overlap)}, err
}

func vectorSearch(o param.Object) (vectorstore.Search, error) {
	var q vectorstore.Search
	var err error
	if q.Queries, err = queriesOf(o); err != nil {
		return q, err
	}
	if rewrite, _, err := o.Bool("rewrite_query"); err != nil || rewrite {
		if err == nil {
			err = stead.Invalid(o.Path("rewrite_query"), "queries are searched as they are: rewrite_query can't be true")
		}
		return q, err
	}
	n, _, err := o.Int("max_num_results", 1, vectorstore.MaxResults)
	if err != nil {
		return q, err
	}
	q.Limit = int(n)
	if q.Least, err = leastScore(o); err != nil {
		return q, err
	}
	q.Filter, err = filterOf(o)
	return q, err
}

func queriesOf(o param.Object) ([]string, error) {
	if list, ok, err := o.Strings("query"); err == nil && ok {
		return list, nil
	}
	text, err := param.Need(o.String("query"))(o.Path("query"))
	if err != nil && o.Has("query") {
		err = stead.Invalid(o.Path("query"), "query must be a string or a list of strings")
	}
	return []string{text}, err
}

// leastScore reads ranking_options: there is one ranker, whatever it is called.
func leastScore(o param.Object) (float64, error) {
	ranking, ok, err := o.Object("ranking_options")
	if !ok || err != nil {
		return 0, err
	}
	if _, _, err := ranking.Enum("ranker", "none", "auto", "default-2024-11-15"); err != nil {
		return 0, err
	}
	if ranking.Has("hybrid_search") && !ranking.Null("hybrid_search") {
		return 0, stead.Invalid(ranking.Path("hybrid_search"), "there are no embeddings to weigh: hybrid_search can't be set")
	}
	least, err := ranking.Number("score_threshold", 0, 1)
	if least == nil {
		return 0, err
	}
	return *least, err
}

func filterOf(o param.Object) (vectorstore.Filter, error) {
	f, ok, err := o.Object("filters")
	if !ok || err != nil {
		return vectorstore.Filter{}, err
	}
	return readFilter(f, 0)
}

// maxFilterDepth is the deepest that filters are read: package vectorstore refuses less than that.
const maxFilterDepth = 32

func readFilter(o param.Object, depth int) (vectorstore.Filter, error) {
	kind, err := param.Need(o.Enum("type", append(vectorstore.Comparisons(), "and", "or")...))(o.Path("type"))
	f := vectorstore.Filter{Type: kind}
	if err != nil {
		return f, err
	}
	if slices.Contains(vectorstore.Comparisons(), kind) {
		err = comparison(o, &f)
		return f, err
	}
	list, err := param.Need(o.List("filters"))(o.Path("filters"))
	if err == nil && depth == maxFilterDepth {
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

func comparison(o param.Object, f *vectorstore.Filter) error {
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
