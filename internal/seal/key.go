package seal

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-dev/stead"
)

// KeyFile is the name of the key's file in the data directory. It holds the key in base64, and a newline.
const KeyFile = "seal.key"

// Load returns the node's keys. configured is base64, of one key or of several with commas between
// them, the first of which seals. If it is empty, the key is that of the file in dir, which is made
// if it is not there.
func Load(dir, configured string) (*Keys, error) {
	if configured != "" {
		return Parse(configured)
	}
	file := filepath.Join(dir, KeyFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(dir); err == nil {
			text, err = os.ReadFile(file) // another process may have been quicker
		}
	}
	if err != nil {
		e := stead.Wrap(stead.KindUnavailable, err, "the key that keeps secrets can't be read or made")
		e.Hint = "See who may write to the data directory, or set STEAD_SEAL_KEY."
		return nil, e
	}
	k, err := Parse(strings.TrimSpace(string(text)))
	if err != nil {
		e := stead.Errorf(stead.KindUnavailable, "the file %s in the data directory holds no key", KeyFile)
		e.Hint = "Put it back from a backup. If there is none, move it away: a new one is made, and the secrets that it kept are lost."
		return nil, e
	}
	return k, nil
}

// Parse reads keys in base64, with commas between them.
func Parse(text string) (*Keys, error) {
	var keys [][]byte
	for _, part := range strings.Split(text, ",") {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(part))
		if err != nil || len(key) != KeyBytes {
			e := stead.Invalid("seal_key", "seal_key must be %d bytes in base64", KeyBytes)
			e.Hint = "Make one: head -c 32 /dev/urandom | base64"
			return nil, e
		}
		keys = append(keys, key)
	}
	return New(keys[0], keys[1:]...)
}

// makeKey puts a new key into dir. The file appears whole, and durably, or not at all; one that is
// there already stays.
func makeKey(dir string) error {
	key := make([]byte, KeyBytes)
	rand.Read(key) // never fails
	f, err := os.CreateTemp(dir, KeyFile+".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, does not replace the key of a process that was quicker.
	if err := os.Link(f.Name(), filepath.Join(dir, KeyFile)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
