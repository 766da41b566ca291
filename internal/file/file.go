// Package file keeps uploaded files: what clients put into environments by id, and read back.
//
// Shape: Create(stream) → File {id, size, name, purpose}; Content(id) → stream. A file is a document
// that names its parts, blobs of PartBytes each; it never changes.
//
// Delivery: a file is there whole, and on stable storage, when Create returned. One that has expired
// is not found any more; Sweep deletes it.
//
// Units and limits: bytes; MaxBytes of a file. Times are Unix milliseconds.
//
// Errors: KindNotFound; KindTooLarge; KindInvalid with the field of the contract; KindForbidden by
// policy; KindConflict for an idempotency key that stored another file.
//
// Source: npm openai 7.57.0, resources/files.d.ts.
package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

const (
	// MaxBytes is the largest file (Agents API).
	MaxBytes = 512 << 20
	// PartBytes is the size of the blobs that a file consists of.
	PartBytes = 4 << 20
	// MaxNameBytes is the longest file name.
	MaxNameBytes = 512
	// MinLife and MaxLife bound expires_after (Files API).
	MinLife = time.Hour
	MaxLife = 30 * 24 * time.Hour
	// BatchLife is how long a file of purpose "batch" stays if nothing is said (Files API).
	BatchLife = 30 * 24 * time.Hour
	// sweepLimit is the most files of one sweep.
	sweepLimit = 200
)

const kind document.Kind = "file"

// Prefix begins a file's id.
const Prefix = "file_"

// Purposes are those that an upload may have.
func Purposes() []string {
	return []string{"assistants", "batch", "fine-tune", "vision", "user_data", "evals"}
}

// File is an uploaded file.
type File struct {
	ID        string
	Bytes     int64
	CreatedAt int64 // Unix milliseconds
	ExpiresAt int64 // Unix milliseconds; 0: never
	Filename  string
	Purpose   string
}

// stored is the data of a file's document.
type stored struct {
	Filename string   `json:"filename"`
	Bytes    int64    `json:"bytes"`
	Parts    []string `json:"parts"`        // digests, in order
	By       string   `json:"by,omitempty"` // id of the principal that uploaded it; "": it was before that was kept
	// Owner is who uploaded it with a key that is bound to its own sessions, as KIND:ID: to other such keys it is not there. "": it is everybody's of the project.
	Owner string `json:"owner,omitempty"`
}

// owner is whose a principal's uploads are; "": everybody's.
func owner(p stead.Principal) string {
	if !p.Bound {
		return ""
	}
	return string(p.Kind) + ":" + p.ID
}

func (f stored) sees(p stead.Principal) bool { return !p.Bound || f.Owner == "" || f.Owner == owner(p) }

// New is what is said about an upload besides its bytes.
type New struct {
	Filename string
	Purpose  string
	Life     time.Duration // 0: as the purpose has it
}

// Query selects files.
type Query struct {
	After   string
	Limit   int
	Desc    bool
	Purpose string
}

// Config is what a Service stands on.
type Config struct {
	Documents document.Store
	Assets    *asset.Store
	Policy    policy.Authorizer
	Now       func() time.Time
	// Removed is told of each file before it is deleted, and if it fails, the file stays; and once more after
	// that, for what began with the file meanwhile. nil: nobody is told.
	Removed func(ctx context.Context, project stead.ProjectID, id string) error
}

// Service keeps files. It is safe for concurrent use.
type Service struct{ cfg Config }

// NewService makes a Service.
func NewService(c Config) *Service { return &Service{c} }

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: id})
	return err
}

func keyOf(p stead.Principal, id string) document.Key {
	return document.Key{Project: p.Project, Kind: kind, ID: id}
}

func claimOf(k document.Key) asset.Claim { return asset.Claim{Document: k, Owner: k.ID} }

// Create stores what body gives until its end, and then asks describe, because in a multipart
// request the fields may stand behind the file. idempotency is a key, or "".
func (s *Service) Create(ctx context.Context, p stead.Principal, body io.Reader, describe func() (New, error), idempotency string) (File, error) {
	refused := s.allow(ctx, p, policy.FileWrite, "")
	if refused != nil && !policy.Wants(refused) {
		return File{}, refused
	}
	key := keyOf(p, document.NewID(Prefix))
	claim := claimOf(key)
	if err := s.cfg.Assets.Reserve(ctx, claim); err != nil {
		return File{}, err
	}
	d, digest, err := s.receive(ctx, key, p, body, describe)
	if err == nil && refused != nil { // it is known by now what somebody would approve
		err = s.allow(ctx, p, policy.FileWrite, "")
	}
	if err != nil {
		s.cfg.Assets.Settle(ctx, claim, nil) // nothing can be stored any more
		return File{}, err
	}
	d, err = s.cfg.Documents.CreateDocument(ctx, d, idempotency, digest)
	s.cfg.Assets.Settle(ctx, claim, err)
	if err != nil {
		return File{}, err
	}
	return fileOf(d)
}

// receive stores the bytes and makes the document that is to own them, and the digest of all of it.
func (s *Service) receive(ctx context.Context, key document.Key, by stead.Principal, body io.Reader, describe func() (New, error)) (document.Document, string, error) {
	data := stored{Parts: []string{}, Owner: owner(by)}
	if err := s.storeParts(ctx, key, body, &data); err != nil {
		return document.Document{}, "", err
	}
	n, err := describe()
	if err == nil {
		err = n.check()
	}
	if err != nil {
		return document.Document{}, "", err
	}
	data.Filename = n.Filename
	raw, err := json.Marshal(data)
	if err != nil {
		return document.Document{}, "", stead.Wrap(stead.KindInternal, err, "encode file")
	}
	now := s.cfg.Now()
	d := document.Document{Key: key, CreatedAt: now.UnixMilli(), UpdatedAt: now.UnixMilli(), Tag: n.Purpose, Data: raw}
	if n.Life > 0 {
		d.ExpiresAt = now.Add(n.Life).UnixMilli()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", raw, n.Purpose, n.Life))
	data.By = by.ID // who asks is no part of the request, unless the file is theirs alone
	if d.Data, err = json.Marshal(data); err != nil {
		return document.Document{}, "", stead.Wrap(stead.KindInternal, err, "encode file")
	}
	return d, hex.EncodeToString(sum[:]), nil
}

func (s *Service) storeParts(ctx context.Context, key document.Key, body io.Reader, data *stored) error {
	buf := make([]byte, PartBytes)
	for {
		n, err := io.ReadFull(body, buf)
		end := err == io.EOF || err == io.ErrUnexpectedEOF // as ReadFull says it: a broken request wraps them
		if err != nil && !end {
			return err // the reader's error says what is wrong with the request
		}
		if data.Bytes += int64(n); data.Bytes > MaxBytes {
			e := stead.Errorf(stead.KindTooLarge, "file is larger than the limit of %d bytes", MaxBytes)
			e.Param = "file"
			return e
		}
		if n > 0 {
			digest, err := s.cfg.Assets.Put(ctx, claimOf(key), buf[:n])
			if err != nil {
				return err
			}
			data.Parts = append(data.Parts, digest)
		}
		if end {
			return nil
		}
	}
}

func (n *New) check() error {
	if n.Filename == "" || len(n.Filename) > MaxNameBytes || !utf8.ValidString(n.Filename) {
		return stead.Invalid("file", "file must have a name of 1 to %d bytes of UTF-8", MaxNameBytes)
	}
	if !slices.Contains(Purposes(), n.Purpose) {
		return stead.Invalid("purpose", "purpose must be one of %q, not %.40q", Purposes(), n.Purpose)
	}
	if n.Life != 0 && (n.Life < MinLife || n.Life > MaxLife) {
		return stead.Invalid("expires_after.seconds", "expires_after.seconds must be from %d to %d", int64(MinLife/time.Second), int64(MaxLife/time.Second))
	}
	if n.Life == 0 && n.Purpose == "batch" {
		n.Life = BatchLife
	}
	return nil
}

func decode(d document.Document) (stored, error) {
	var data stored
	if err := json.Unmarshal(d.Data, &data); err != nil {
		return data, stead.Wrap(stead.KindInternal, err, "read file %s", d.ID)
	}
	return data, nil
}

func fileOf(d document.Document) (File, error) {
	data, err := decode(d)
	return File{
		ID: d.ID, Bytes: data.Bytes, CreatedAt: d.CreatedAt, ExpiresAt: d.ExpiresAt, Filename: data.Filename, Purpose: d.Tag,
	}, err
}

// document returns a file's document, unless it has expired.
func (s *Service) document(ctx context.Context, p stead.Principal, id string) (document.Document, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, keyOf(p, id))
	if err == nil && d.ExpiresAt != 0 && d.ExpiresAt <= s.cfg.Now().UnixMilli() {
		err = d.NotFound()
	}
	if err == nil && p.Bound {
		var data stored
		if data, err = decode(d); err == nil && !data.sees(p) {
			err = d.NotFound()
		}
	}
	return d, err
}

// Get returns a file without its bytes.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (File, error) {
	if err := s.allow(ctx, p, policy.FileRead, id); err != nil {
		return File{}, err
	}
	d, err := s.document(ctx, p, id)
	if err != nil {
		return File{}, err
	}
	return fileOf(d)
}

// Size is how many bytes a file has.
func (s *Service) Size(ctx context.Context, p stead.Principal, id string) (int64, error) {
	f, err := s.Get(ctx, p, id)
	return f.Bytes, err
}

// List returns a page of files, and whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, q Query) ([]File, bool, error) {
	if err := s.allow(ctx, p, policy.FileRead, ""); err != nil {
		return nil, false, err
	}
	files := []File{}
	from := document.Query{Project: p.Project, Kind: kind, After: q.After, Desc: q.Desc, Limit: q.Limit + 1, Tag: q.Purpose, Now: s.cfg.Now().UnixMilli()}
	if p.Bound { // others' are passed over
		from.Limit = stead.MaxPageSize
	}
	for {
		docs, err := s.cfg.Documents.ListDocuments(ctx, from)
		if err != nil {
			return nil, false, err
		}
		for _, d := range docs {
			from.After = d.ID
			data, err := decode(d)
			if err != nil {
				return nil, false, err
			}
			if !data.sees(p) {
				continue
			}
			if len(files) == q.Limit {
				return files, true, nil
			}
			f, err := fileOf(d)
			if err != nil {
				return nil, false, err
			}
			files = append(files, f)
		}
		if len(docs) < from.Limit {
			return files, false, nil
		}
	}
}

// Delete removes a file and its bytes. Environments that it was copied into keep their copy.
func (s *Service) Delete(ctx context.Context, p stead.Principal, id string) error {
	if err := s.allow(ctx, p, policy.FileWrite, id); err != nil {
		return err
	}
	d, err := s.document(ctx, p, id)
	if err != nil {
		return err
	}
	return s.remove(ctx, d.Key)
}

// DeleteOf removes the files that a principal uploaded, and returns them. Those that were there before uploads kept who made
// them are nobody's.
func (s *Service) DeleteOf(ctx context.Context, p stead.Principal, by string) (gone []File, err error) {
	q := document.Query{Project: p.Project, Kind: kind, Limit: stead.MaxPageSize}
	for {
		docs, err := s.cfg.Documents.ListDocuments(ctx, q)
		if err != nil || len(docs) == 0 {
			return gone, err
		}
		for _, d := range docs {
			q.After = d.ID
			var data stored
			if json.Unmarshal(d.Data, &data) != nil || data.By != by || by == "" {
				continue
			}
			f, err := fileOf(d)
			if err == nil {
				err = s.Delete(ctx, p, d.ID)
			}
			if stead.KindOf(err) == stead.KindNotFound {
				continue
			}
			if err != nil {
				return gone, err
			}
			gone = append(gone, f)
		}
	}
}

// DeleteBefore removes the files of a project that were uploaded before a time (Unix milliseconds), and says how many.
func (s *Service) DeleteBefore(ctx context.Context, p stead.Principal, before int64) (n int, err error) {
	var kept []error // of files that may not be deleted, or can't: the others go
	q := document.Query{Project: p.Project, Kind: kind, Limit: stead.MaxPageSize}
	for {
		docs, err := s.cfg.Documents.ListDocuments(ctx, q)
		if err != nil || len(docs) == 0 {
			return n, errors.Join(append(kept, err)...)
		}
		for _, d := range docs { // in the order of creation
			if q.After = d.ID; d.CreatedAt >= before {
				return n, errors.Join(kept...)
			}
			switch err := s.Delete(ctx, p, d.ID); stead.KindOf(err) {
			case stead.KindNotFound:
			case stead.KindUnavailable:
				return n, errors.Join(append(kept, err)...)
			default:
				if err == nil {
					n++
				} else {
					kept = append(kept, fmt.Errorf("file %s: %w", d.ID, err))
				}
			}
		}
	}
}

func (s *Service) remove(ctx context.Context, k document.Key) error {
	if s.cfg.Removed != nil {
		if err := s.cfg.Removed(ctx, k.Project, k.ID); err != nil {
			return err
		}
	}
	if err := s.cfg.Assets.Release(ctx, claimOf(k)); err != nil {
		return err
	}
	err := s.cfg.Documents.DeleteDocument(ctx, k, 0)
	s.cfg.Assets.Settle(ctx, claimOf(k), err)
	if err == nil && s.cfg.Removed != nil {
		err = s.cfg.Removed(ctx, k.Project, k.ID)
	}
	return err
}

// Sweep deletes files that have expired, and says how many.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	due, err := s.cfg.Documents.ExpiredDocuments(ctx, kind, s.cfg.Now().UnixMilli(), sweepLimit)
	for i, d := range due {
		if err := s.remove(ctx, d.Key); err != nil && stead.KindOf(err) != stead.KindNotFound {
			return i, err
		}
	}
	return len(due), err
}
