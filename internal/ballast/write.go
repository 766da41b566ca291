package ballast

import (
	"crypto/rand"
	"io"
	"os"
)

// write fills a file up to a length. Its bytes are random, because some file systems keep nothing of zeros.
func write(f *os.File, size int64) error {
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil || at >= size {
		return err
	}
	if _, err := io.CopyN(f, rand.Reader, size-at); err != nil {
		return err
	}
	return f.Sync()
}
