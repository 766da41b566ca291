package server

import (
	"encoding/json"

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
	queries, err := queriesOf(o)
	if err != nil {
		return vectorstore.Search{}, err
	}
	if rewrite, _, err := o.Bool("rewrite_query"); err != nil || rewrite {
		if err == nil {
			err = stead.Invalid(o.Path("rewrite_query"), "queries are searched as they are: rewrite_query can't be true")
		}
		return vectorstore.Search{}, err
	}
	if err := o.Only("a search", "query", "filters", "max_num_results", "ranking_options", "rewrite_query"); err != nil {
		return vectorstore.Search{}, err
	}
	q, err := vectorstore.ReadOptions(o)
	if err == nil {
		err = vectorstore.Known(o)
	}
	q.Queries = queries
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
