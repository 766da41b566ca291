package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/stead-dev/stead"
)

// Open implements Store.
func (d *Dir) Open(ctx context.Context, key stead.SessionKey, digest string) (io.ReadCloser, error) {
	f, err := d.file(ctx, key, digest)
	if err != nil {
		return nil, err
	}
	return &reader{f: f, sum: sha256.New(), digest: digest}, nil
}

// file opens a blob's file; KindNotFound if there is none.
func (d *Dir) file(ctx context.Context, key stead.SessionKey, digest string) (*os.File, error) {
	name, err := d.name(ctx, key, digest)
	if err != nil {
		return nil, err
	}
	f, err := d.find(path.Dir(name), digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, stead.NotFound("blob", digest)
	}
	if err != nil {
		return nil, d.fault(err, "read blob")
	}
	return f, nil
}

// name is the file of a blob.
func (d *Dir) name(ctx context.Context, key stead.SessionKey, digest string) (string, error) {
	session, err := sessionDir(key)
	if err != nil {
		return "", err
	}
	if !isDigest(digest) {
		return "", stead.Invalid("digest", "%.80q is not a SHA-256 in lower-case hex", digest)
	}
	if err := ctx.Err(); err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "the request has ended")
	}
	return path.Join(session, digest[:2], digest), nil
}

// reader checks a blob while it is read. A file that is swept meanwhile is read to its end.
type reader struct {
	f      *os.File
	sum    hash.Hash
	digest string
}

// Read implements io.Reader.
func (r *reader) Read(b []byte) (int, error) {
	n, err := r.f.Read(b)
	r.sum.Write(b[:n])
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, stead.Wrap(stead.KindUnavailable, err, "read blob")
	case hex.EncodeToString(r.sum.Sum(nil)) != r.digest:
		return n, damaged(r.digest)
	}
	return n, io.EOF
}

// Close implements io.Closer.
func (r *reader) Close() error { return r.f.Close() }

func damaged(digest string) error {
	return stead.Errorf(stead.KindInternal, "the bytes of blob %s are damaged", digest)
}
