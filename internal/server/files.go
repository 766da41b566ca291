package server

import (
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/file"
)

// Files keeps uploaded files: see package file, which implements it.
type Files interface {
	Create(ctx context.Context, p stead.Principal, body io.Reader, describe func() (file.New, error), idempotency string) (file.File, error)
	Get(ctx context.Context, p stead.Principal, id string) (file.File, error)
	List(ctx context.Context, p stead.Principal, q file.Query) ([]file.File, bool, error)
	Content(ctx context.Context, p stead.Principal, id string) (io.ReadCloser, file.File, error)
	Delete(ctx context.Context, p stead.Principal, id string) error
}

type wireUpload struct {
	ID        string `json:"id"`
	Object    string `json:"object"` // "file"
	Bytes     int64  `json:"bytes"`
	CreatedAt int64  `json:"created_at"` // Unix seconds
	ExpiresAt int64  `json:"expires_at,omitempty"`
	Filename  string `json:"filename"`
	Purpose   string `json:"purpose"`
	Status    string `json:"status"` // "processed": deprecated, and always true here
}

// millis is how many Unix milliseconds a second of the wire has.
const millis = 1000

func wireUploadOf(f file.File) wireUpload {
	return wireUpload{f.ID, "file", f.Bytes, f.CreatedAt / millis, f.ExpiresAt / millis, f.Filename, f.Purpose, "processed"}
}

// uploadFields are the fields of an upload: they may stand before the file or behind it.
type uploadFields struct {
	file.New
	anchor, seconds string
}

func (u *uploadFields) set(name, value string) {
	switch name {
	case "purpose":
		u.Purpose = value
	case "expires_after[anchor]":
		u.anchor = value
	case "expires_after[seconds]":
		u.seconds = value
	}
}

func (u *uploadFields) finish() (file.New, error) {
	if u.anchor == "" && u.seconds == "" {
		return u.New, nil
	}
	if u.anchor != "created_at" {
		return u.New, stead.Invalid("expires_after.anchor", `expires_after.anchor must be "created_at", not %.40q`, u.anchor)
	}
	n, err := strconv.ParseInt(u.seconds, 10, 32)
	if err != nil || n <= 0 {
		return u.New, stead.Invalid("expires_after.seconds", "expires_after.seconds must be a whole number, not %.40q", u.seconds)
	}
	u.Life = time.Duration(n) * time.Second
	return u.New, nil
}

func (s *server) createFile(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	f, err := openForm(w, r, file.MaxBytes, "file")
	if err != nil {
		return err
	}
	var fields uploadFields
	part, err := f.until(&fields)
	if errors.Is(err, io.EOF) {
		return stead.Invalid("file", "file is required")
	}
	if err != nil {
		return err
	}
	fields.Filename = part.FileName()
	s.streams(w)
	body := hashed(filePart{f, part})
	made, err := s.Files.Create(r.Context(), p, body, func() (file.New, error) {
		switch _, err := f.until(&fields); {
		case err == nil:
			return file.New{}, stead.Invalid("file", "there are two files: one request stores one")
		case !errors.Is(err, io.EOF):
			return file.New{}, err
		}
		n, err := fields.finish()
		if err != nil {
			return n, err
		}
		return n, s.brought(w, struct {
			File    shownFile `json:"file"`
			Purpose string    `json:"purpose"`
			Life    int64     `json:"expires_after_seconds,omitempty"`
		}{body.shown(n.Filename), n.Purpose, int64(n.Life / time.Second)})
	}, f.key)
	if err != nil {
		return err
	}
	return s.write(w, wireUploadOf(made))
}

// until reads fields up to the next file, or io.EOF.
func (f *form) until(fields *uploadFields) (*multipart.Part, error) {
	for {
		part, err := f.next()
		if err != nil || part.FormName() == "file" {
			return part, err
		}
		text, err := f.text(part)
		if err != nil {
			return nil, err
		}
		fields.set(part.FormName(), text)
	}
}

func (s *server) listFiles(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), file.Prefix)
	if err != nil {
		return err
	}
	found, more, err := s.Files.List(r.Context(), p, file.Query{After: q.After, Limit: q.Limit, Desc: q.Desc, Purpose: r.URL.Query().Get("purpose")})
	if err != nil {
		return err
	}
	data := make([]wireUpload, len(found))
	for i, f := range found {
		data[i] = wireUploadOf(f)
	}
	return s.write(w, listOf(data, more, func(f wireUpload) string { return f.ID }))
}

func (s *server) getFile(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	f, err := s.Files.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, wireUploadOf(f))
}

func (s *server) getFileContent(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	content, f, err := s.Files.Content(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	defer content.Close()
	w.Header().Set("Content-Length", strconv.FormatInt(f.Bytes, 10))
	return s.sendFile(w, r, mediaBytes, f.Filename, content)
}

func (s *server) deleteFile(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.Files.Delete(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "file"})
}
