package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

const (
	// UploadIdleTimeout is how long a client of an upload may send nothing.
	UploadIdleTimeout = time.Minute
	// UploadTimeout is how long an upload may take as a whole.
	UploadTimeout = time.Hour
	// MaxFieldBytes is the longest field of a multipart body that is no file.
	MaxFieldBytes = 4 << 10
	// formOverhead is what a multipart body may have beside its files.
	formOverhead = 1 << 20
)

// form reads a multipart body part by part, as it arrives.
type form struct {
	parts *multipart.Reader
	body  *slowBody
	key   string // Idempotency-Key
}

// openForm begins to read a multipart body of at most limit bytes of files.
func openForm(w http.ResponseWriter, r *http.Request, limit int64, field string) (*form, error) {
	key := r.Header.Get(idempotencyKey)
	if len(key) > stead.MaxIdempotencyKeyBytes {
		return nil, stead.Invalid("Idempotency-Key", "the Idempotency-Key is longer than %d bytes", stead.MaxIdempotencyKeyBytes)
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		e := stead.Invalid(field, "%s is required, in a body of type multipart/form-data", field)
		e.Hint = "The official SDKs send such a body when they are given a file."
		return nil, e
	}
	if r.ContentLength > limit+formOverhead {
		return nil, bodyTooLarge(limit)
	}
	body := &slowBody{
		r: http.MaxBytesReader(w, r.Body, limit+formOverhead), rc: http.NewResponseController(w), end: time.Now().Add(UploadTimeout),
	}
	return &form{multipart.NewReader(body, params["boundary"]), body, key}, nil
}

// next returns the next part, io.EOF behind the last.
func (f *form) next() (*multipart.Part, error) {
	part, err := f.parts.NextPart()
	if err == nil || err == io.EOF && f.body.err == nil { // one that is wrapped is no end but a break
		return part, err
	}
	return nil, f.broken(err)
}

// broken says what a failed read means to the client.
func (f *form) broken(err error) error {
	if f.body.err != nil {
		err = f.body.err
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return bodyError(err)
	}
	// Only the words of the cause: it may wrap io.EOF, and must not be taken for a good end.
	return stead.Wrap(stead.KindInvalid, errors.New(err.Error()), "the multipart body broke off, or is none")
}

// text reads a part that is a short text.
func (f *form) text(part *multipart.Part) (string, error) {
	b, err := io.ReadAll(io.LimitReader(part, MaxFieldBytes+1))
	if err != nil {
		return "", f.broken(err)
	}
	if len(b) > MaxFieldBytes {
		return "", stead.Invalid(part.FormName(), "%.80q is longer than %d bytes", part.FormName(), MaxFieldBytes)
	}
	return string(b), nil
}

// filePart gives the bytes of a part; its errors are those of the request.
type filePart struct {
	f    *form
	part *multipart.Part
}

// Read implements io.Reader.
func (p filePart) Read(b []byte) (int, error) {
	n, err := p.part.Read(b)
	if err != nil && err != io.EOF {
		err = p.f.broken(err)
	}
	return n, err
}

// fileName is the name that a part has with the directories in front of it, which
// multipart.Part.FileName leaves out.
func fileName(part *multipart.Part) string {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}

// slowBody bounds how long the client may be silent, and how long it may take.
type slowBody struct {
	r   io.Reader
	rc  *http.ResponseController
	end time.Time
	err error // the first failure but io.EOF
}

// Read implements io.Reader.
func (s *slowBody) Read(b []byte) (int, error) {
	next := time.Now().Add(UploadIdleTimeout)
	if next.After(s.end) {
		next = s.end
	}
	_ = s.rc.SetReadDeadline(next) // writers without a connection have none
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && s.err == nil {
		s.err = err
	}
	return n, err
}

// digestOf names a request by its call and what it holds.
func digestOf(r *http.Request, contents ...[]byte) string {
	sum := sha256.New()
	io.WriteString(sum, r.Method+" "+r.URL.Path+"\n") //nolint:errcheck // a hash does not fail
	for _, c := range contents {
		sum.Write(c)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// sendFile answers with bytes that somebody uploaded: to be saved, never to be shown by a browser.
func (s *server) sendFile(w http.ResponseWriter, r *http.Request, media, name string, content io.Reader) error {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": plainName(name)}))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "no-store")
	if _, err := io.Copy(w, content); err != nil {
		if !errors.Is(err, context.Canceled) {
			s.Log.Error("download broke off", "id", h.Get("X-Request-Id"), "path", r.URL.Path, "error", err)
		}
		panic(http.ErrAbortHandler) // the client must see that it is not whole
	}
	return nil
}

// plainName leaves out of a file's name what has no place in a header.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '/' || r == '\\' {
			return '_'
		}
		return r
	}, name)
}
