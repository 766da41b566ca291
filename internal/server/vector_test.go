package server

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// realFiles are the real services of files and what they stand on.
func realFiles(t *testing.T) (*sqlite.Store, *file.Service) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	blobs, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	return db, file.NewService(file.Config{Documents: db, Assets: asset.New(db, blobs, time.Now), Policy: policy.AllowLocal{}, Now: time.Now})
}

// vectorDoor is a door with the real services of files and vector stores, one store, and a file in it.
func vectorDoor(t *testing.T, change ...func(*Config)) (d *door, store, fileID string) {
	t.Helper()
	db, files := realFiles(t)
	vectors := vectorstore.NewService(vectorstore.Config{Documents: db, Records: db, Files: files, Policy: policy.AllowLocal{}, Now: time.Now})
	done := make(chan struct{})
	go func() { defer close(done); vectors.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	d = open(t, filled(), append(change, func(c *Config) { c.Files, c.Vectors = files, vectors })...)
	res, body := d.form("/v1/files", []field{{"purpose", "", "assistants"}, {"file", "shop.md", "# Shop\n\nRefunds take thirty days."}})
	fileID = d.id(200, res, body)
	res, body = d.call("POST", "/v1/vector_stores", `{"name":"manuals","description":"of the shop","metadata":{"a":"b"},"expires_after":{"anchor":"last_active_at","days":7},
		"file_ids":["`+fileID+`"],"chunking_strategy":{"type":"static","static":{"max_chunk_size_tokens":200,"chunk_overlap_tokens":100}}}`)
	store = "/v1/vector_stores/" + d.id(200, res, body)
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, body := d.call("GET", store, ""); strings.Contains(body, `"completed":1`) {
			return d, store, fileID
		} else if time.Now().After(until) {
			t.Fatal("the file is not completed", body)
		}
	}
}

func TestVectorStores(t *testing.T) {
	d, store, _ := vectorDoor(t)
	d.says("GET "+store, "", 200, `"object":"vector_store"`, `"name":"manuals"`, `"description":"of the shop"`, `"status":"completed"`, `"total":1`, `"expires_after":{"anchor":"last_active_at","days":7}`)
	d.says("POST "+store, `{"name":"books","expires_after":null}`, 200, `"name":"books"`, `"expires_after":null`, `"expires_at":null`, `"metadata":{"a":"b"}`)
	d.says("GET /v1/vector_stores?limit=1", "", 200, `"has_more":false`, `"name":"books"`)
	d.says("GET /v1/vector_stores?before=file_1", "", 400, `"param":"before"`)
	d.says("POST "+store, `{"expires_after":{"anchor":"created_at","days":7}}`, 400, `"param":"expires_after.anchor"`)
	d.says("POST /v1/vector_stores", `{"file_ids":["file_0"]}`, 404, `file_0`)
	d.says("DELETE "+store, "", 200, `"object":"vector_store.deleted"`)
	d.says("GET "+store, "", 404)
}

func TestVectorStoreFiles(t *testing.T) {
	d, store, id := vectorDoor(t)
	one := store + "/files/" + id
	d.says("GET "+one, "", 200, `"object":"vector_store.file"`, `"status":"completed"`, `"last_error":null`, `"attributes":{}`, `"max_chunk_size_tokens":200`)
	d.says("POST "+one, `{"attributes":{"year":2026,"draft":false,"lang":"en"}}`, 200, `"year":2026`, `"draft":false`)
	d.says("POST "+one, `{"attributes":{"year":[1]}}`, 400, `"param":"attributes.year"`)
	d.says("POST "+one, `{}`, 400, `"param":"attributes"`)
	d.says("GET "+store+"/files?filter=completed&order=asc", "", 200, id)
	d.says("GET "+store+"/files?filter=failed", "", 200, `"data":[]`)
	d.says("GET "+store+"/files?filter=done", "", 400, `"param":"filter"`)
	d.says("GET "+one+"/content", "", 200, `"object":"vector_store.file_content.page"`, `# Shop\n\nRefunds take thirty days.`)
	d.says("POST "+store+"/files", `{"file_id":"`+id+`","chunking_strategy":{"type":"static","static":{"max_chunk_size_tokens":100,"chunk_overlap_tokens":51}}}`, 400, `"param":"chunking_strategy.static.chunk_overlap_tokens"`)
	res, body := d.call("POST", store+"/file_batches", `{"files":[{"file_id":"`+id+`","attributes":{"lang":"de"}}]}`)
	batch := store + "/file_batches/" + d.id(200, res, body)
	d.says("GET "+batch, "", 200, `"object":"vector_store.files_batch"`, `"total":1`)
	d.says("GET "+batch+"/files", "", 200, id)
	d.says("POST "+batch+"/cancel", "", 200)
	d.says("POST "+store+"/file_batches", `{"files":[],"file_ids":[]}`, 400, `"param":"files"`)
	d.says("POST "+store+"/file_batches", `{"file_ids":[]}`, 400, `"param":"file_ids"`)
	d.says("DELETE "+one, "", 200, `"object":"vector_store.file.deleted"`)
	d.says("GET "+one, "", 404)
}

func TestVectorStoreSearch(t *testing.T) {
	d, store, id := vectorDoor(t)
	d.says("POST "+store+"/files/"+id, `{"attributes":{"year":2026}}`, 200)
	d.says("POST "+store+"/search", `{"query":"how long do refunds take?","max_num_results":1,"rewrite_query":false,
		"filters":{"type":"and","filters":[{"type":"gte","key":"year","value":2026},{"type":"in","key":"year","value":[2026]}]},
		"ranking_options":{"ranker":"auto","score_threshold":0.1}}`, 200, `"object":"vector_store.search_results.page"`, `"search_query":["how long do refunds take?"]`, id, `"filename":"shop.md"`, `Refunds take thirty days.`)
	d.says("POST "+store+"/search", `{"query":["refunds"],"filters":{"type":"lt","key":"year","value":2026}}`, 200, `"data":[]`)
	for body, param := range map[string]string{
		`{}`:                                 "query",
		`{"query":1}`:                        "query",
		`{"query":"x","max_num_results":51}`: "max_num_results",
		`{"query":"x","rewrite_query":true}`: "rewrite_query",
		`{"query":"x","ranking_options":{"hybrid_search":{}}}`:                                                                                       "ranking_options.hybrid_search",
		`{"query":"x","ranking_options":{"score_threshold":2}}`:                                                                                      "ranking_options.score_threshold",
		`{"query":"x","filter":{"type":"eq","key":"k","value":1}}`:                                                                                   "filter",
		`{"query":"x","filters":{"type":"and","filters":[{"type":"eq","key":"k","value":1,"values":[2]}]}}`:                                          "filters.filters[0].values",
		`{"query":"x","ranking_options":{"threshold":1}}`:                                                                                            "ranking_options.threshold",
		`{"query":"x","filters":{"type":"like","key":"k","value":1}}`:                                                                                "filters.type",
		`{"query":"x","filters":{"type":"in","key":"k","value":1}}`:                                                                                  "filters.value",
		`{"query":"x","filters":{"type":"or","filters":[{"type":"eq"}]}}`:                                                                            "filters.filters[0].key",
		`{"query":"x","filters":` + strings.Repeat(`{"type":"and","filters":[`, 40) + `{"type":"and","filters":[]}` + strings.Repeat(`]}`, 40) + `}`: "",
	} {
		d.says("POST "+store+"/search", body, 400, `"param":"`+param)
	}
}
