// Package seal keeps confidential texts unreadable where they are stored.
//
// Shape: Seal(label, plain) → sealed; Open(label, sealed) → plain.
//
//	sealed:  version (1 byte) │ key id (8 bytes) │ nonce (12) │ ciphertext │ tag (16)
//	label:   project, kind, id: bound to the text, so that what was sealed for one place opens in no other
//
// Keys: 32 bytes. One key seals; more may be there to open what older ones sealed, told apart by the
// key id, which is a hash of the key: so a key can be replaced while both are configured. A node has
// its key from the configuration, or else from a file in its data directory that the first use makes.
// Nodes that share a database must be given the same key. In the configuration a key may stand wrapped by a key management service:
// see package kms. What it seals does not know of that.
//
// Units and limits: AES-256-GCM with random nonces is safe for 2^32 texts a key.
//
// Errors: KindInvalid for a key that is none; KindUnavailable when the key's file can't be read or
// made, or when the text was sealed with another key, which the hint says; KindInternal for sealed
// bytes that were damaged, or moved to another place. No error holds a key or a text.
//
// Source: NIST SP 800-38D.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/stead-dev/stead"
)

// KeyBytes is the length of a key.
const KeyBytes = 32

const (
	version    = 1
	keyIDBytes = 8
	headBytes  = 1 + keyIDBytes
)

// Label says where a sealed text belongs. It must be the same for Seal and Open.
type Label struct {
	Project  stead.ProjectID
	Kind, ID string // "template", its id
}

// bytes is the label in a form that two labels can't share.
func (l Label) bytes() []byte {
	var b []byte
	for _, s := range []string{string(l.Project), l.Kind, l.ID} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// Keys seal and open. They are safe for concurrent use.
type Keys struct {
	first string // id of the key that seals
	// secret is made of the first key: what is derived tells nothing of that.
	secret []byte
	all    map[string]cipher.AEAD // key id → cipher
}

// New makes Keys of one key that seals and older ones that only open.
func New(key []byte, older ...[]byte) (*Keys, error) {
	k := &Keys{all: map[string]cipher.AEAD{}}
	for i, raw := range append([][]byte{key}, older...) {
		if len(raw) != KeyBytes {
			return nil, stead.Errorf(stead.KindInvalid, "a seal key has %d bytes, it must have %d", len(raw), KeyBytes)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "make a cipher")
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "make a cipher")
		}
		id := keyID(raw)
		k.all[id] = aead
		if i == 0 {
			k.first = id
			mac := hmac.New(sha256.New, raw)
			mac.Write([]byte("stead derivation secret"))
			k.secret = mac.Sum(nil)
		}
	}
	return k, nil
}

// ID is what a key is known by, in hex.
func ID(key []byte) string { return hex.EncodeToString([]byte(keyID(key))) }

func keyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("stead seal key id\x00"), key...))
	return string(sum[:keyIDBytes])
}

// Seal makes a text unreadable to everybody without the key.
func (k *Keys) Seal(l Label, plain []byte) []byte {
	out := append([]byte{version}, k.first...)
	return k.all[k.first].Seal(out, nil, plain, l.bytes())
}

// Current reports whether a text was sealed with the key that seals now.
func (k *Keys) Current(sealed []byte) bool {
	return len(sealed) >= headBytes && sealed[0] == version && string(sealed[1:headBytes]) == k.first
}

// Open returns what was sealed under the same label.
func (k *Keys) Open(l Label, sealed []byte) ([]byte, error) {
	if len(sealed) < headBytes || sealed[0] != version {
		return nil, stead.Errorf(stead.KindInternal, "the confidential part of %s %.80q has a form that is not known", l.Kind, l.ID)
	}
	id := string(sealed[1:headBytes])
	aead, ok := k.all[id]
	if !ok {
		e := stead.Errorf(stead.KindUnavailable, "the confidential part of %s %.80q was sealed with another key (%s)", l.Kind, l.ID, hex.EncodeToString([]byte(id)))
		e.Hint = "Give this node the key that sealed it: seal_key in the configuration, STEAD_SEAL_KEY, or the file " + KeyFile + " of the data directory where it was made."
		return nil, e
	}
	plain, err := aead.Open(nil, nil, sealed[headBytes:], l.bytes())
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "the confidential part of %s %.80q is damaged, or belongs elsewhere", l.Kind, l.ID)
	}
	return slices.Clip(plain), nil
}
