package capability

import (
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"time"

	"github.com/stead-dev/stead"
)

// encrypted is the bit of a ZIP entry's flags that says so.
const encrypted = 0x1

// Open unpacks an archive into memory.
func Open(data []byte) (Bundle, error) {
	if len(data) > MaxArchiveBytes {
		return nil, stead.Errorf(stead.KindTooLarge, "the archive has %d bytes, the limit is %d", len(data), MaxArchiveBytes)
	}
	// Only an insecure path makes both a reader and an error; the paths are checked below anyway.
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if r == nil {
		e := stead.Invalid("", "it is not a ZIP archive that can be read")
		e.Err = err
		return nil, e
	}
	if len(r.File) > MaxFiles {
		return nil, stead.Errorf(stead.KindTooLarge, "the archive has %d entries, the limit is %d", len(r.File), MaxFiles)
	}
	var files []File
	left := int64(MaxBytes)
	for _, entry := range r.File {
		f, ok, err := unpack(entry, left)
		if err != nil {
			return nil, err
		}
		if ok {
			left -= int64(len(f.Data))
			files = append(files, f)
		}
	}
	return New(files)
}

// unpack reads one entry, of at most left bytes, and says whether it is a file.
func unpack(entry *zip.File, left int64) (File, bool, error) {
	mode := entry.Mode()
	name := entry.Name
	if mode.IsDir() && len(name) > 1 && name[len(name)-1] == '/' {
		name = name[:len(name)-1]
	}
	if err := checkPath(name); err != nil {
		return File{}, false, err
	}
	switch {
	case mode.IsDir():
		return File{}, false, nil
	case mode&fs.ModeType != 0:
		return File{}, false, stead.Invalid("", "%.100q is a link or a device: an archive may hold regular files alone", name)
	case entry.Flags&encrypted != 0:
		return File{}, false, stead.Invalid("", "%.100q is encrypted", name)
	case entry.Method != zip.Store && entry.Method != zip.Deflate:
		return File{}, false, stead.Invalid("", "%.100q is compressed by method %d: store and deflate can be read", name, entry.Method)
	}
	data, err := unpackData(entry, min(left, MaxFileBytes))
	return File{Path: name, Data: data, Executable: mode&0o111 != 0}, true, err
}

// unpackData counts what comes out, and not what the entry says will.
func unpackData(entry *zip.File, limit int64) ([]byte, error) {
	r, err := entry.Open()
	if err != nil {
		return nil, damaged(entry, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(data)) > limit {
		return nil, tooLarge(entry.Name)
	}
	if err != nil {
		return nil, damaged(entry, err)
	}
	return data, nil
}

func damaged(entry *zip.File, cause error) error {
	e := stead.Invalid("", "%.100q is damaged in the archive", entry.Name)
	e.Err = cause
	return e
}

// Pack makes an archive: the same files give the same bytes.
func (b Bundle) Pack() ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range b {
		head := &zip.FileHeader{Name: f.Path, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)} // ZIP's first day
		head.SetMode(0o644)
		if f.Executable {
			head.SetMode(0o755)
		}
		entry, err := w.CreateHeader(head)
		if err == nil {
			_, err = entry.Write(f.Data)
		}
		if err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "pack %.100q", f.Path)
		}
	}
	if err := w.Close(); err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "pack an archive")
	}
	if out.Len() > MaxArchiveBytes {
		return nil, stead.Errorf(stead.KindTooLarge, "the files have %d bytes when they are packed, the limit is %d", out.Len(), MaxArchiveBytes)
	}
	return out.Bytes(), nil
}
