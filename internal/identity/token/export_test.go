package token

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Signed reports whether a token is believed to be signed with a key that an issuer publishes.
func Signed(t *testing.T, published json.RawMessage, raw string) bool {
	key, ok := keyOf(published)
	if !ok {
		return false
	}
	sig, err := jose.ParseSignedCompact(raw, Algorithms())
	if err != nil {
		return false
	}
	s := &keySet{now: time.Now, keys: []jose.JSONWebKey{key}, at: time.Now(), tried: time.Now()}
	_, err = s.verify(t.Context(), sig)
	return err == nil
}
