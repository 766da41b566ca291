package workspace

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/stead-dev/stead/internal/environment"
)

// pieceBytes is how much of a file is in memory while it is passed on.
const pieceBytes = 64 << 10

// OpenFile opens a regular file for reading, and says how many bytes it has now: KindNotFound when it is
// not there, KindInvalid when it is something else. It stays open whatever becomes of its path; the
// caller closes it.
func (d *Dir) OpenFile(ctx context.Context, path string) (f *os.File, size int64, err error) {
	rel, err := cleanFile(path)
	if err != nil {
		return nil, 0, err
	}
	if err := ended(ctx); err != nil {
		return nil, 0, err
	}
	err = d.unlocked(rel, func() error {
		rel, err := d.follow(rel)
		if err != nil {
			return err
		}
		opened, info, err := openRegular(d.root, rel)
		if err == nil {
			f, size = opened, info.Size()
		}
		return err
	})
	return f, size, d.fault(err, path, "read")
}

// CopyFile writes a regular file to w, in pieces as it is read: it is never in memory as a whole. At most
// max bytes are written (environment.MaxFileBytes at most): KindTooLarge above, before the first one where
// the file's size says so already. Errors of w are returned as they are.
func (d *Dir) CopyFile(ctx context.Context, path string, max int64, w io.Writer) error {
	return d.copyFile(ctx, path, max, func(int64) io.Writer { return w })
}

// ReadFile is CopyFile into memory.
func (d *Dir) ReadFile(ctx context.Context, path string, max int64) ([]byte, error) {
	var b bytes.Buffer
	err := d.copyFile(ctx, path, max, func(size int64) io.Writer {
		b.Grow(int(size))
		return &b
	})
	if err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (d *Dir) copyFile(ctx context.Context, path string, max int64, to func(size int64) io.Writer) error {
	f, size, err := d.OpenFile(ctx, path)
	if err != nil {
		return err
	}
	defer f.Close()
	max = min(max, environment.MaxFileBytes)
	if size > max {
		return tooBig(path, size, max)
	}
	// The file may grow while it is read: the limit is on what comes out.
	left, w, piece := max, to(size), make([]byte, min(size+1, pieceBytes))
	for {
		n, err := f.Read(piece)
		if left -= int64(n); left < 0 {
			return tooBig(path, max-left, max)
		}
		if _, err := w.Write(piece[:n]); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return d.fault(err, path, "read")
		}
		if err := ended(ctx); err != nil {
			return err
		}
	}
}

func tooBig(path string, size, max int64) error {
	rel, err := cleanFile(path)
	if err != nil {
		return err
	}
	return tooLarge(rel, size, max)
}
