package server

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

func (s *server) lifecycle(w http.ResponseWriter, r *http.Request, p stead.Principal, do func(context.Context, stead.Principal, stead.SessionID) (session.Session, error)) error {
	req, err := read(w, r)
	if err == nil {
		err = req.Only("this request") // an empty body, or an object that says nothing
	}
	if err != nil {
		return err
	}
	changed, err := do(r.Context(), p, sessionID(r))
	if err != nil {
		return err
	}
	return s.write(w, s.shown(p, changed))
}

func (s *server) exportSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	out := &download{w: w, media: mediaLines, name: string(sessionID(r)) + ".jsonl"}
	return s.finish(out, s.Sessions.Export(r.Context(), p, sessionID(r), out))
}

// download answers with a file, never as something that a browser would run.
type download struct {
	w           http.ResponseWriter
	media, name string
	begun       bool
}

// finish ends a download. What fails after the first byte cuts the connection, so that half a file is
// never taken for a whole one.
func (s *server) finish(d *download, err error) error {
	if err == nil {
		d.begin()
		return nil
	}
	if !d.begun {
		return err
	}
	s.Log.Error("download broke off", "file", d.name, "error", err)
	panic(http.ErrAbortHandler)
}

func (d *download) begin() {
	if d.begun {
		return
	}
	d.begun = true
	h := d.w.Header()
	h.Set("Content-Type", d.media)
	h.Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	d.w.WriteHeader(http.StatusOK)
}

// Write implements io.Writer.
func (d *download) Write(b []byte) (int, error) {
	d.begin()
	return d.w.Write(b)
}

func (s *server) importSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	body := &upload{r: http.MaxBytesReader(w, r.Body, MaxImportBytes), rc: http.NewResponseController(w)}
	s.streams(w)
	file := &ended{hashing: hashed(body)}
	file.end = func() error {
		return s.brought(w, struct {
			File shownFile `json:"file"`
		}{file.shown("")})
	}
	made, err := s.Sessions.Import(r.Context(), p, file)
	if body.err != nil {
		return bodyError(body.err)
	}
	if err != nil {
		return err
	}
	return s.write(w, s.shown(p, made))
}

// upload remembers how reading failed, so that a client that breaks off is told so, and gives each
// read its own time: a long file is fine, a silent client is not.
type upload struct {
	r   io.Reader
	rc  *http.ResponseController
	err error
}

// Read implements io.Reader.
func (u *upload) Read(b []byte) (int, error) {
	_ = u.rc.SetReadDeadline(time.Now().Add(BodyTimeout))
	n, err := u.r.Read(b)
	if err != nil {
		_ = u.rc.SetReadDeadline(time.Time{})
		if err != io.EOF {
			u.err = err
		}
	}
	return n, err
}
