package seal

import (
	"cmp"
	"context"
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

// Unwrap returns the key that an entry of the configuration stands for which is no key itself: a KMS has wrapped it. It returns nil
// for what is no such entry.
type Unwrap func(ctx context.Context, entry string) ([]byte, error)

// Load returns the node's keys: see Read.
func Load(ctx context.Context, dir, configured string, unwrap Unwrap) (*Keys, error) {
	all, err := Read(ctx, dir, configured, unwrap)
	if err != nil {
		return nil, err
	}
	return New(all[0], all[1:]...)
}

// Read returns the node's keys as they are. configured has one, or several with commas between them, the first of which seals: each
// in base64, or wrapped. If it is empty, the keys are those of the file in dir, which is made if it is not there. Whoever gets them keeps
// them as secret as the file.
func Read(ctx context.Context, dir, configured string, unwrap Unwrap) ([][]byte, error) {
	if configured != "" {
		return parse(ctx, configured, unwrap)
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
	var refused error // what a KMS says of a key that is one: the file is not to be moved away for that
	k, err := parse(ctx, strings.TrimSpace(string(text)), func(ctx context.Context, part string) (key []byte, err error) {
		if unwrap != nil {
			key, err = unwrap(ctx, part)
		}
		refused = cmp.Or(refused, err)
		return key, err
	})
	if refused == nil && stead.KindOf(err) == stead.KindInvalid {
		e := stead.Errorf(stead.KindUnavailable, "the file %s in the data directory holds no key", KeyFile)
		e.Hint = "Put it back from a backup. If there is none, move it away: a new one is made, and the secrets that it kept are lost."
		return nil, e
	}
	return k, err
}

// parse reads keys with commas between them.
func parse(ctx context.Context, text string, unwrap Unwrap) ([][]byte, error) {
	var keys [][]byte
	for n, part := range strings.Split(text, ",") {
		key, err := one(ctx, strings.TrimSpace(part), unwrap)
		if err != nil {
			return nil, err
		}
		if len(key) != KeyBytes {
			e := stead.Invalid("seal_key", "seal_key must be %d bytes in base64, and its part %d is not", KeyBytes, n+1)
			e.Hint = "Make one: head -c 32 /dev/urandom | base64"
			return nil, e
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func one(ctx context.Context, part string, unwrap Unwrap) ([]byte, error) {
	if unwrap != nil {
		if key, err := unwrap(ctx, part); key != nil || err != nil {
			return key, err
		}
	}
	key, err := base64.StdEncoding.DecodeString(part)
	if err != nil {
		return nil, nil // it has not the length of a key
	}
	return key, nil
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
