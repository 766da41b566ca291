package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
)

// blobFiles keeps blobs as files below a directory: DIR/PROJECT/SESSION/DIGEST.
type blobFiles struct{ dir string }

func openBlobs(dir string) (blob.Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "the blob directory can't be made")
	}
	return &blobFiles{dir}, nil
}

func (b *blobFiles) session(key stead.SessionKey) string {
	return filepath.Join(b.dir, filepath.Base(string(key.Project)), filepath.Base(string(key.Session)))
}

// Put implements blob.Store: the file and its directories are synced before it returns.
func (b *blobFiles) Put(_ context.Context, key stead.SessionKey, data []byte) (string, error) {
	digest, dir := blob.Digest(data), b.session(key)
	if _, err := os.Stat(filepath.Join(dir, digest)); err == nil {
		return digest, nil
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = writeSynced(dir, digest, data)
	}
	for d := dir; err == nil && d != filepath.Dir(b.dir); d = filepath.Dir(d) {
		err = syncDir(d)
	}
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "put blob %s", digest)
	}
	return digest, nil
}

func writeSynced(dir, name string, data []byte) error {
	f, err := os.CreateTemp(dir, ".put-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get implements blob.Store.
func (b *blobFiles) Get(_ context.Context, key stead.SessionKey, digest string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(b.session(key), filepath.Base(digest)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, stead.NotFound("blob", digest)
	}
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "get blob %s", digest)
	}
	if blob.Digest(data) != digest {
		return nil, stead.Errorf(stead.KindInternal, "blob %s does not match its digest", digest)
	}
	return data, nil
}

// DeleteAll implements blob.Store.
func (b *blobFiles) DeleteAll(_ context.Context, key stead.SessionKey) error {
	if err := os.RemoveAll(b.session(key)); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "delete blobs of %s", key)
	}
	return nil
}
