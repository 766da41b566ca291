package vectorstore

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/policy"
)

// GetFile returns a file of a store.
func (s *Service) GetFile(ctx context.Context, p stead.Principal, store, id string) (File, error) {
	if _, err := s.open(ctx, p, policy.VectorStoreRead, store); err != nil {
		return File{}, err
	}
	f, err := s.file(ctx, filesOf(p.Project, store), id)
	if err != nil {
		return f, err
	}
	v := s.sight(ctx, p, store)
	if !v.sees(f) {
		return File{}, cmp.Or(v.err, notIn(id))
	}
	s.heal(ctx, p.Project, store, f)
	return f, nil
}

// heal sees to it that a file is read which has been waiting for so long that its job may be lost: the process
// that attached it may have died before it made one.
func (s *Service) heal(ctx context.Context, project stead.ProjectID, store string, f File) {
	if f.Status == InProgress && f.Origin == nil && s.now()-f.CreatedAt > leaseTime.Milliseconds() {
		if err := s.nudge(ctx, project, store); err != nil {
			s.cfg.Log.Warn("begin the work on a vector store", "store", store, "error", err)
		}
	}
}

// FileQuery selects files of a store. Status and Batch "" are any.
type FileQuery struct {
	Page
	Status Status
	Batch  string
}

// ListFiles returns a page of files in the order in which they were attached, and whether there are more.
func (s *Service) ListFiles(ctx context.Context, p stead.Principal, store string, q FileQuery) ([]File, bool, error) {
	if _, err := s.open(ctx, p, policy.VectorStoreRead, store); err != nil {
		return nil, false, err
	}
	if q.Batch != "" {
		if _, err := s.batch(ctx, p.Project, store, q.Batch); err != nil {
			return nil, false, err
		}
	}
	var files []File
	var cursor File
	v := s.sight(ctx, p, store)
	err := s.tables.With(ctx, filesOf(p.Project, store), func(t *table) {
		if at := t.files[cmp.Or(q.After, q.Before)]; at.ID != "" && v.sees(at) {
			cursor = at
		}
		for _, f := range t.files {
			if f.Status != removed && (q.Status == "" || f.Status == q.Status) && (q.Batch == "" || f.Batch == q.Batch) && v.sees(f) {
				files = append(files, f)
			}
		}
	})
	if err = cmp.Or(err, v.err); err != nil {
		return nil, false, err
	}
	if cursor.ID == "" && q.After+q.Before != "" {
		return nil, false, stead.Invalid("after", "there is no file %.80q in this vector store to go on from", cmp.Or(q.After, q.Before))
	}
	files, more := q.of(files, cursor)
	return files, more, nil
}

// of cuts the page out of all files.
func (q FileQuery) of(files []File, cursor File) ([]File, bool) {
	order := func(a, b File) int {
		c := cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
		if q.Desc {
			return -c
		}
		return c
	}
	slices.SortFunc(files, order)
	switch {
	case q.After != "":
		files = slices.DeleteFunc(files, func(f File) bool { return order(f, cursor) <= 0 })
	case q.Before != "":
		files = slices.DeleteFunc(files, func(f File) bool { return order(f, cursor) >= 0 })
		return files[max(0, len(files)-q.Limit):], len(files) > q.Limit
	}
	return files[:min(q.Limit, len(files))], len(files) > q.Limit
}

// Content returns the text of a file as it was read, and the file. One that was not is not read for that. A document's is its
// passages.
func (s *Service) Content(ctx context.Context, p stead.Principal, store, id string) ([]string, File, error) {
	f, err := s.GetFile(ctx, p, store, id)
	if err != nil {
		return nil, f, err
	}
	switch f.Status {
	case Completed:
	case Failed:
		return nil, f, stead.Errorf(stead.KindInvalid, "file %.80q has failed: %s", id, f.Failure.Message)
	default:
		return nil, f, stead.Errorf(stead.KindConflict, "file %.80q is %s: it has no text yet", id, f.Status)
	}
	if f.Origin != nil {
		texts, err := s.texts(ctx, p.Project, store, f)
		return texts, f, err
	}
	text, err := s.text(ctx, p.Project, id)
	return []string{text}, f, err
}

// text reads a file, when nobody else on this node reads one.
func (s *Service) text(ctx context.Context, project stead.ProjectID, id string) (string, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	r := s.timed(ctx, func(ctx context.Context) reading {
		d, err := s.read(ctx, project, id)
		return reading{text: d.Text, err: err}
	})
	if r.failure != nil {
		return "", stead.Errorf(stead.KindInvalid, "file %.80q: %s", id, r.failure.Message)
	}
	return r.text, r.err
}

// read reads an uploaded file whole.
func (s *Service) read(ctx context.Context, project stead.ProjectID, id string) (passage.Document, error) {
	content, f, err := s.cfg.Files.Open(ctx, project, id)
	if err != nil {
		return passage.Document{}, err
	}
	defer content.Close()
	if f.Bytes > maxFileBytes {
		return passage.Document{}, stead.Errorf(stead.KindTooLarge, "file %s has %d bytes, a vector store takes files of %d", id, f.Bytes, maxFileBytes)
	}
	data := make([]byte, f.Bytes)
	if _, err := io.ReadFull(content, data); err != nil {
		return passage.Document{}, stead.Wrap(stead.KindUnavailable, err, "read file %s", id)
	}
	return s.cfg.Read(ctx, f.Filename, data)
}

// Detach takes a file out of a store, with everything that it said.
func (s *Service) Detach(ctx context.Context, p stead.Principal, store, id string) error {
	if _, err := s.open(ctx, p, policy.VectorStoreWrite, store); err != nil {
		return err
	}
	if err := s.uploaded(ctx, p, store, id); err != nil {
		return err
	}
	return s.remove(ctx, p.Project, store, id)
}

// remove takes a file out of a store: out of sight first, then its passages go, then it.
func (s *Service) remove(ctx context.Context, project stead.ProjectID, store, id string) error {
	f, err := s.change(ctx, filesOf(project, store), id, func(f *File) { f.Status = removed })
	if err != nil && stead.KindOf(err) != stead.KindNotFound {
		return err
	}
	if err == nil {
		err := s.bury(ctx, project, store, f)
		if stead.KindOf(err) == stead.KindConflict { // it was attached once more since it is out of sight: that one stays, with its use
			return nil
		}
		if err != nil {
			return err
		}
	}
	return gone(s.cfg.Documents.DeleteDocument(ctx, useKey(project, store, id), 0))
}

// bury forgets what a removed file said, and then the file.
func (s *Service) bury(ctx context.Context, project stead.ProjectID, store string, f File) error {
	if err := s.forget(ctx, passagesOf(project, store), f.attachments()...); err != nil {
		return err
	}
	place := filesOf(project, store)
	_, err := s.cfg.Records.WriteMemories(ctx, place, []memory.Change{{Record: memory.Record{Place: place, ID: f.ID}, Expected: f.version}})
	return gone(err)
}

// forget removes the passages of attachments.
func (s *Service) forget(ctx context.Context, place memory.Place, attachments ...string) error {
	for _, a := range attachments {
		for {
			records, err := s.cfg.Records.ListMemories(ctx, memory.Query{Place: place, After: a, Limit: memory.MaxChanges})
			if err != nil {
				return err
			}
			var changes []memory.Change
			for _, r := range records {
				if p, err := passageOf(r); err != nil {
					return err
				} else if p.Attachment == a {
					changes = append(changes, memory.Change{Record: memory.Record{Place: place, ID: r.ID}, Expected: r.Version})
				}
			}
			if len(changes) == 0 {
				break
			}
			_, err = s.cfg.Records.WriteMemories(ctx, place, changes)
			if k := stead.KindOf(err); err != nil && k != stead.KindNotFound && k != stead.KindConflict {
				return err // else somebody does the same, or has just given one its vector: look again
			}
		}
	}
	return nil
}

// FileRemoved takes a file out of every store, because it is being deleted.
func (s *Service) FileRemoved(ctx context.Context, project stead.ProjectID, id string) error {
	for {
		uses, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: project, Kind: useKind, Tag: id, Limit: stead.MaxPageSize})
		if err != nil || len(uses) == 0 {
			return err
		}
		for _, u := range uses {
			if err := s.remove(ctx, project, u.ID[len(id)+1:], id); err != nil {
				return err
			}
		}
	}
}

// Sweep forgets what is in the stores that have expired, and says how many they were.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	const most = 200
	due, err := s.cfg.Documents.ExpiredDocuments(ctx, storeKind, s.now(), most)
	for i, d := range due {
		_, err := s.changeStore(ctx, d.Key, func(_ document.Document, data *storedStore) error { return nil })
		if err == nil {
			err = s.empty(ctx, d.Key)
		}
		if gone(err) != nil {
			return i, err
		}
	}
	return len(due), err
}
