package template

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/seal"
)

// Seal makes the secret part of a configuration unreadable, for the place that the label names.
func (s Secret) Seal(keys *seal.Keys, l seal.Label) []byte {
	return keys.Seal(l, encode(s))
}

// OpenSecret is the opposite of Seal. Its errors are those of package seal.
func OpenSecret(keys *seal.Keys, l seal.Label, sealed []byte) (Secret, error) {
	plain, err := keys.Open(l, sealed)
	if err != nil {
		return Secret{}, err
	}
	var s Secret
	if err := json.Unmarshal(plain, &s); err != nil { // its cause could quote the text
		return Secret{}, stead.Errorf(stead.KindInternal, "the confidential part of %s %.80q can't be read", l.Kind, l.ID)
	}
	return s, nil
}
