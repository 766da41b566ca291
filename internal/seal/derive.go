package seal

import (
	"crypto/hmac"
	"crypto/sha256"
)

// Derive makes a secret for a place out of the key that seals now: nothing needs to be stored for it,
// and nobody without the key can make it. Rotating the key changes it.
func (k *Keys) Derive(l Label) []byte { return derive(k.now.Load().secret, l) }

// Others are what Derive makes, or made, while one of the other keys seals: how a place vouches for what it will be, and was.
func (k *Keys) Others(l Label) (all [][]byte) {
	for _, secret := range k.now.Load().others {
		all = append(all, derive(secret, l))
	}
	return all
}

func derive(secret []byte, l Label) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("stead derive\x00"))
	mac.Write(l.bytes())
	return mac.Sum(nil)
}
