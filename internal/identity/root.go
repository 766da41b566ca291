package identity

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-dev/stead"
)

// RootFile is where a data directory keeps its root key.
const RootFile = "root.key"

// LoadRoot returns the root key: the configured one, or the data directory's, which it makes when there
// is none. path is where it was read, "" for a configured one.
func LoadRoot(dir, configured string) (key, path string, err error) {
	if configured != "" {
		return configured, "", nil
	}
	path = filepath.Join(dir, RootFile)
	data, err := os.ReadFile(path)
	if err == nil {
		key = strings.TrimSpace(string(data))
		if len(key) < MinRootBytes {
			return "", path, stead.Errorf(stead.KindUnavailable, "the root key in %s is shorter than %d characters", path, MinRootBytes)
		}
		return key, path, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", path, stead.Wrap(stead.KindUnavailable, err, "the root key can't be read")
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	key = prefix + rootID + "-" + hex.EncodeToString(b)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", path, stead.Wrap(stead.KindUnavailable, err, "the root key can't be kept")
	}
	_, err = f.WriteString(key + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", path, stead.Wrap(stead.KindUnavailable, err, "the root key can't be kept")
	}
	return key, path, nil
}
