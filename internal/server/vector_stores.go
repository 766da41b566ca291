package server

import (
	"context"
	"net/http"
	"net/url"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// Vectors keeps vector stores: see package vectorstore, which implements it.
type Vectors interface {
	CreateStore(ctx context.Context, p stead.Principal, f vectorstore.Fields, files []vectorstore.Attachment, key, digest string) (vectorstore.Store, error)
	GetStore(ctx context.Context, p stead.Principal, id string) (vectorstore.Store, error)
	ListStores(ctx context.Context, p stead.Principal, q vectorstore.Page) ([]vectorstore.Store, bool, error)
	UpdateStore(ctx context.Context, p stead.Principal, id string, change func(*vectorstore.Fields) error) (vectorstore.Store, error)
	DeleteStore(ctx context.Context, p stead.Principal, id string) error
	Search(ctx context.Context, p stead.Principal, store string, q vectorstore.Search) ([]vectorstore.Result, error)

	Attach(ctx context.Context, p stead.Principal, store string, a vectorstore.Attachment) (vectorstore.File, error)
	GetFile(ctx context.Context, p stead.Principal, store, id string) (vectorstore.File, error)
	ListFiles(ctx context.Context, p stead.Principal, store string, q vectorstore.FileQuery) ([]vectorstore.File, bool, error)
	UpdateAttributes(ctx context.Context, p stead.Principal, store, id string, attributes map[string]any) (vectorstore.File, error)
	Detach(ctx context.Context, p stead.Principal, store, id string) error
	Content(ctx context.Context, p stead.Principal, store, id string) ([]string, vectorstore.File, error)

	CreateBatch(ctx context.Context, p stead.Principal, store string, files []vectorstore.Attachment, key, digest string) (vectorstore.Batch, error)
	GetBatch(ctx context.Context, p stead.Principal, store, id string) (vectorstore.Batch, error)
	CancelBatch(ctx context.Context, p stead.Principal, store, id string) (vectorstore.Batch, error)
}

func (s *server) createVectorStore(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	var f vectorstore.Fields
	if err := setString(req.Object, "description", &f.Description); err != nil {
		return err
	}
	if err := vectorFields(req.Object, &f); err != nil {
		return err
	}
	files, err := attachments(req.Object)
	if err != nil {
		return err
	}
	made, err := s.Vectors.CreateStore(r.Context(), p, f, files, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, wireVectorStoreOf(made))
}

// vectorPage reads after, before, limit and order of a list whose ids begin with prefix.
func vectorPage(q url.Values, prefix string) (vectorstore.Page, error) {
	read, err := idPage(q, prefix)
	if err != nil {
		return vectorstore.Page{}, err
	}
	p := vectorstore.Page{After: read.After, Before: q.Get("before"), Limit: read.Limit, Desc: read.Desc}
	if p.Before == "" {
		return p, nil
	}
	if p.After != "" {
		return p, stead.Invalid("before", "before and after can't be given at once")
	}
	_, err = idPage(url.Values{"after": {p.Before}}, prefix)
	if err != nil {
		err = stead.Invalid("before", "before must be an id of this list, %s…, not %.40q", prefix, p.Before)
	}
	return p, err
}

func (s *server) listVectorStores(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := vectorPage(r.URL.Query(), vectorstore.Prefix)
	if err != nil {
		return err
	}
	found, more, err := s.Vectors.ListStores(r.Context(), p, q)
	if err != nil {
		return err
	}
	data := make([]wireVectorStore, len(found))
	for i, v := range found {
		data[i] = wireVectorStoreOf(v)
	}
	return s.write(w, listOf(data, more, func(v wireVectorStore) string { return v.ID }))
}

func (s *server) getVectorStore(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Vectors.GetStore(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, wireVectorStoreOf(found))
}

func (s *server) updateVectorStore(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	made, err := s.Vectors.UpdateStore(r.Context(), p, r.PathValue("id"), func(f *vectorstore.Fields) error { return vectorFields(req.Object, f) })
	if err != nil {
		return err
	}
	return s.write(w, wireVectorStoreOf(made))
}

func (s *server) deleteVectorStore(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.Vectors.DeleteStore(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "vector_store.deleted"})
}

func (s *server) searchVectorStore(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	q, err := vectorSearch(req.Object)
	if err != nil {
		return err
	}
	found, err := s.Vectors.Search(r.Context(), p, r.PathValue("id"), q)
	if err != nil {
		return err
	}
	return s.write(w, wireVectorResultsOf(q, found))
}

func (s *server) attachFile(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	a, err := oneAttachment(req.Object)
	if err != nil {
		return err
	}
	made, err := s.Vectors.Attach(r.Context(), p, r.PathValue("id"), a)
	if err != nil {
		return err
	}
	return s.write(w, wireVectorFileOf(r.PathValue("id"), made))
}

// listVectorFiles lists the files of a store, or those of one of its batches.
func (s *server) listVectorFiles(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	params := r.URL.Query()
	page, err := vectorPage(params, file.Prefix)
	if err != nil { // documents of sources are in the same list
		if page, err = vectorPage(params, vectorstore.DocumentPrefix); err != nil {
			return err
		}
	}
	q := vectorstore.FileQuery{Page: page, Batch: r.PathValue("batch"), Status: vectorstore.Status(params.Get("filter"))}
	switch q.Status {
	case "", vectorstore.InProgress, vectorstore.Completed, vectorstore.Failed, vectorstore.Cancelled:
	default:
		return stead.Invalid("filter", `filter must be "in_progress", "completed", "failed" or "cancelled", not %.40q`, string(q.Status))
	}
	store := r.PathValue("id")
	found, more, err := s.Vectors.ListFiles(r.Context(), p, store, q)
	if err != nil {
		return err
	}
	data := make([]wireVectorFile, len(found))
	for i, f := range found {
		data[i] = wireVectorFileOf(store, f)
	}
	return s.write(w, listOf(data, more, func(f wireVectorFile) string { return f.ID }))
}

func (s *server) getVectorFile(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Vectors.GetFile(r.Context(), p, r.PathValue("id"), r.PathValue("file"))
	if err != nil {
		return err
	}
	return s.write(w, wireVectorFileOf(r.PathValue("id"), found))
}

func (s *server) updateVectorFile(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if !req.Has("attributes") {
		return stead.Invalid("attributes", "attributes is required")
	}
	attributes, err := attributesOf(req.Object)
	if err != nil {
		return err
	}
	made, err := s.Vectors.UpdateAttributes(r.Context(), p, r.PathValue("id"), r.PathValue("file"), attributes)
	if err != nil {
		return err
	}
	return s.write(w, wireVectorFileOf(r.PathValue("id"), made))
}

func (s *server) detachFile(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("file")
	if err := s.Vectors.Detach(r.Context(), p, r.PathValue("id"), id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "vector_store.file.deleted"})
}

func (s *server) getVectorFileContent(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	texts, f, err := s.Vectors.Content(r.Context(), p, r.PathValue("id"), r.PathValue("file"))
	if err != nil {
		return err
	}
	data := make([]wireVectorText, len(texts))
	for i, text := range texts {
		data[i] = wireVectorText{"text", text}
	}
	return s.write(w, wireVectorContent{
		Object: "vector_store.file_content.page", FileID: f.ID, Filename: f.Filename, Attributes: orNone(f.Attributes), Data: data,
	})
}

func (s *server) createFileBatch(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	files, err := batchAttachments(req.Object)
	if err != nil {
		return err
	}
	made, err := s.Vectors.CreateBatch(r.Context(), p, r.PathValue("id"), files, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, wireVectorBatchOf(made))
}

func (s *server) getFileBatch(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Vectors.GetBatch(r.Context(), p, r.PathValue("id"), r.PathValue("batch"))
	if err != nil {
		return err
	}
	return s.write(w, wireVectorBatchOf(found))
}

func (s *server) cancelFileBatch(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	made, err := s.Vectors.CancelBatch(r.Context(), p, r.PathValue("id"), r.PathValue("batch"))
	if err != nil {
		return err
	}
	return s.write(w, wireVectorBatchOf(made))
}
