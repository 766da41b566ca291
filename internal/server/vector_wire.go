package server

import "github.com/stead-dev/stead/internal/vectorstore"

type wireVectorStore struct {
	ID           string            `json:"id"`
	Object       string            `json:"object"`     // "vector_store"
	CreatedAt    int64             `json:"created_at"` // Unix seconds, as all times
	LastActiveAt int64             `json:"last_active_at"`
	Name         string            `json:"name"`
	Description  string            `json:"description"`
	Status       string            `json:"status"` // "completed", "in_progress", "expired"
	UsageBytes   int64             `json:"usage_bytes"`
	FileCounts   wireFileCounts    `json:"file_counts"`
	ExpiresAfter *wireExpiry       `json:"expires_after"`
	ExpiresAt    *int64            `json:"expires_at"`
	Metadata     map[string]string `json:"metadata"`
}

type wireExpiry struct {
	Anchor string `json:"anchor"` // "last_active_at"
	Days   int    `json:"days"`
}

type wireFileCounts struct {
	InProgress int `json:"in_progress"`
	Completed  int `json:"completed"`
	Failed     int `json:"failed"`
	Cancelled  int `json:"cancelled"`
	Total      int `json:"total"`
}

func wireCountsOf(c vectorstore.Counts) wireFileCounts {
	return wireFileCounts{c.InProgress, c.Completed, c.Failed, c.Cancelled, c.Total()}
}

func wireVectorStoreOf(v vectorstore.Store) wireVectorStore {
	w := wireVectorStore{
		ID: v.ID, Object: "vector_store", CreatedAt: v.CreatedAt / millis, LastActiveAt: v.LastActiveAt / millis, Name: v.Name, Description: v.Description,
		Status: "completed", UsageBytes: v.Bytes, FileCounts: wireCountsOf(v.Files), ExpiresAt: moment(v.ExpiresAt), Metadata: orEmpty(v.Metadata),
	}
	if v.LifeDays > 0 {
		w.ExpiresAfter = &wireExpiry{anchorActive, v.LifeDays}
	}
	switch {
	case v.Expired:
		w.Status = "expired"
	case v.Files.InProgress > 0:
		w.Status = "in_progress"
	}
	return w
}

// anchorActive is what the life of a vector store is counted from.
const anchorActive = "last_active_at"

type wireVectorFile struct {
	ID         string               `json:"id"`
	Object     string               `json:"object"` // "vector_store.file"
	CreatedAt  int64                `json:"created_at"`
	StoreID    string               `json:"vector_store_id"`
	Status     vectorstore.Status   `json:"status"`
	LastError  *vectorstore.Failure `json:"last_error"`
	UsageBytes int64                `json:"usage_bytes"`
	Attributes map[string]any       `json:"attributes"`
	Chunking   wireChunking         `json:"chunking_strategy"`
	Charset    string               `json:"charset,omitempty"` // that it was read in: ours
	Source     *wireOrigin          `json:"source,omitempty"`  // of a document
}

// wireOrigin says where a document comes from, in the version that is found now.
type wireOrigin struct {
	ID         string           `json:"id"` // of the source
	Type       string           `json:"type"`
	Path       string           `json:"path"`
	URI        string           `json:"uri"`
	Version    string           `json:"version"`
	Labels     []string         `json:"labels"`
	Superseded []wireSuperseded `json:"superseded,omitempty"` // earlier versions, newest first; of a file, not of a result
}

type wireSuperseded struct {
	Version      string `json:"version"`
	SupersededAt int64  `json:"superseded_at"`
}

func wireOriginOf(o *vectorstore.Origin, history bool) *wireOrigin {
	if o == nil {
		return nil
	}
	w := &wireOrigin{ID: o.Source, Type: o.Kind, Path: o.Path, URI: o.URI, Version: o.Version, Labels: o.Labels}
	if w.Labels == nil {
		w.Labels = []string{}
	}
	if history {
		for _, s := range o.Superseded {
			w.Superseded = append(w.Superseded, wireSuperseded{s.Version, s.At / millis})
		}
	}
	return w
}

type wireChunking struct {
	Type   string           `json:"type"` // "static"
	Static wireStaticChunks `json:"static"`
}

type wireStaticChunks struct {
	Size    int `json:"max_chunk_size_tokens"`
	Overlap int `json:"chunk_overlap_tokens"`
}

func wireVectorFileOf(store string, f vectorstore.File) wireVectorFile {
	return wireVectorFile{
		ID: f.ID, Object: "vector_store.file", CreatedAt: f.CreatedAt / millis, StoreID: store, Status: f.Status, LastError: f.Failure, UsageBytes: f.Bytes,
		Attributes: orNone(f.Attributes), Chunking: wireChunking{"static", wireStaticChunks{f.Plan.Size, f.Plan.Overlap}}, Source: wireOriginOf(f.Origin, true), Charset: f.Charset,
	}
}

func orNone(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

type wireVectorBatch struct {
	ID         string             `json:"id"`
	Object     string             `json:"object"` // "vector_store.files_batch"
	CreatedAt  int64              `json:"created_at"`
	StoreID    string             `json:"vector_store_id"`
	Status     vectorstore.Status `json:"status"`
	FileCounts wireFileCounts     `json:"file_counts"`
}

func wireVectorBatchOf(b vectorstore.Batch) wireVectorBatch {
	return wireVectorBatch{b.ID, "vector_store.files_batch", b.CreatedAt / millis, b.Store, b.Status, wireCountsOf(b.Files)}
}

type wireVectorContent struct {
	Object     string           `json:"object"` // "vector_store.file_content.page"
	FileID     string           `json:"file_id"`
	Filename   string           `json:"filename"`
	Attributes map[string]any   `json:"attributes"`
	Data       []wireVectorText `json:"data"`
	HasMore    bool             `json:"has_more"`
	NextPage   *string          `json:"next_page"`
}

type wireVectorText struct {
	Type string `json:"type"` // "text"
	Text string `json:"text"`
}

type wireVectorResults struct {
	Object   string             `json:"object"` // "vector_store.search_results.page"
	Query    []string           `json:"search_query"`
	Data     []wireVectorResult `json:"data"` // best first
	HasMore  bool               `json:"has_more"`
	NextPage *string            `json:"next_page"`
}

type wireVectorResult struct {
	FileID     string           `json:"file_id"`
	Filename   string           `json:"filename"`
	Score      float64          `json:"score"`
	Attributes map[string]any   `json:"attributes"`
	Content    []wireVectorText `json:"content"`
	Source     *wireOrigin      `json:"source,omitempty"`
	Passage    *wirePassage     `json:"passage,omitempty"`
}

// wirePassage says where in a file a passage stands.
type wirePassage struct {
	Heading string `json:"heading,omitempty"`
	Lines   []int  `json:"lines,omitempty"` // first and last
	Page    int    `json:"page,omitempty"`
}

func wirePassageOf(r vectorstore.Result) *wirePassage {
	w := wirePassage{r.Heading, r.Lines, r.Page()}
	if w.Heading == "" && w.Lines == nil && w.Page == 0 {
		return nil
	}
	return &w
}

func wireVectorResultsOf(q vectorstore.Search, found []vectorstore.Result) wireVectorResults {
	out := wireVectorResults{Object: "vector_store.search_results.page", Query: q.Queries, Data: make([]wireVectorResult, len(found))}
	for i, f := range found {
		out.Data[i] = wireVectorResult{f.File.ID, f.File.Filename, f.Score, orNone(f.File.Attributes), []wireVectorText{{"text", f.Text}}, wireOriginOf(f.File.Origin, false), wirePassageOf(f)}
	}
	return out
}
