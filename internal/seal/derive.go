package seal

import (
	"crypto/hmac"
	"crypto/sha256"
)

// Derive makes a secret for a place out of the key that seals now: nothing needs to be stored for it,
// and nobody without the key can make it. Rotating the key changes it.
func (k *Keys) Derive(l Label) []byte {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte("stead derive\x00"))
	mac.Write(l.bytes())
	return mac.Sum(nil)
}
