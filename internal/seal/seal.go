// Package seal keeps confidential texts unreadable where they are stored.
//
// Shape: Seal(label, plain) → sealed; Open(label, sealed) → plain.
//
//	sealed:    version (1 byte) │ key id (8 bytes) │ data key, wrapped │ nonce (12) │ ciphertext │ tag (16)
//	data key:  nonce (12) │ ciphertext (32) │ tag (16): the text's own, and the key's only text
//	label:     project, kind, id: bound to both, so that what was sealed for one place opens in no other
//
// It is an envelope: each text has a data key of its own, which the seal key wraps. Another seal key wraps the data keys anew (Rewrap),
// for which no text is opened.
//
// Keys: 32 bytes. One key seals; more may be there to open what older ones sealed, told apart by the
// key id, which is a hash of the key: so a key can be replaced while both are configured. A node has
// its key from the configuration, or else from a file in its data directory that the first use makes.
// Nodes that share a database must be given the same key. In the configuration a key may stand wrapped by a key management service:
// see package kms. What it seals does not know of that.
//
// Units and limits: AES-256-GCM with random nonces is safe for 2^32 texts a key. Overhead bytes are added to a text.
//
// Errors: KindInvalid for a key that is none; KindUnavailable when the key's file can't be read or
// made, or when the text was sealed with another key, which the hint says; KindInternal for sealed
// bytes that were damaged, or moved to another place. No error holds a key or a text.
//
// A text may be kept in two parts (Part): its head, which says by which key it is sealed and holds the wrapped data key, and the rest, which
// never changes. Rewrap takes heads too.
//
// Versions: texts of version 1, which the seal key sealed itself, open; Rewrap makes envelopes of them.
//
// Source: NIST SP 800-38D (GCM), SP 800-57 part 1 (keys that wrap keys).
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sync/atomic"

	"github.com/stead-dev/stead"
)

// KeyBytes is the length of a key.
const KeyBytes = 32

const (
	direct   = 1 // version: sealed by the seal key itself
	envelope = 2 // version: sealed by a data key
	parted   = 3 // version: an envelope whose head is kept elsewhere, see Part

	keyIDBytes = 8
	headBytes  = 1 + keyIDBytes
	gcmBytes   = 12 + 16 // nonce and tag
	dataKey    = KeyBytes + gcmBytes

	// Overhead is by how much a sealed text is longer than the text.
	Overhead = headBytes + dataKey + gcmBytes
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

// wrapping is the label of a text's data key, which is no text's.
func (l Label) wrapping() []byte { return append([]byte("stead data key\x00"), l.bytes()...) }

// Keys seal and open. They are safe for concurrent use, also while others take their place.
type Keys struct{ now atomic.Pointer[ring] }

// Replace puts others in the place of the keys, for all that have these.
func (k *Keys) Replace(by *Keys) { k.now.Store(by.now.Load()) }

// ring is some keys at a time.
type ring struct {
	first string // id of the key that seals
	// secret is made of the first key: what is derived tells nothing of that.
	secret []byte
	others [][]byte               // the same of the other keys, in their order
	all    map[string]cipher.AEAD // key id → cipher
}

// New makes Keys of one key that seals and older ones that only open.
func New(key []byte, older ...[]byte) (*Keys, error) {
	k := &ring{all: map[string]cipher.AEAD{}}
	for i, raw := range append([][]byte{key}, older...) {
		if len(raw) != KeyBytes {
			return nil, stead.Errorf(stead.KindInvalid, "a seal key has %d bytes, it must have %d", len(raw), KeyBytes)
		}
		aead, err := newAEAD(raw)
		if err != nil {
			return nil, err
		}
		id := keyID(raw)
		k.all[id] = aead
		mac := hmac.New(sha256.New, raw)
		mac.Write([]byte("stead derivation secret"))
		if secret := mac.Sum(nil); i == 0 {
			k.first, k.secret = id, secret
		} else if id != k.first {
			k.others = append(k.others, secret)
		}
	}
	out := &Keys{}
	out.now.Store(k)
	return out, nil
}

// newAEAD is AES-256-GCM, which makes its nonces.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCMWithRandomNonce(block); err == nil {
			return aead, nil
		}
	}
	return nil, stead.Wrap(stead.KindInternal, err, "make a cipher")
}

// ID is what a key is known by, in hex.
func ID(key []byte) string { return hex.EncodeToString([]byte(keyID(key))) }

func keyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("stead seal key id\x00"), key...))
	return string(sum[:keyIDBytes])
}

// Seal makes a text unreadable to everybody without the key.
func (k *Keys) Seal(l Label, plain []byte) []byte {
	data := make([]byte, KeyBytes)
	rand.Read(data) // never fails
	text, err := newAEAD(data)
	if err != nil {
		panic(err) // of a key of the right length
	}
	out := make([]byte, 0, Overhead+len(plain))
	return text.Seal(k.now.Load().wrap(out, l, data), nil, plain, l.bytes())
}

// wrap appends what stands in front of a text: which key, and the data key.
func (k *ring) wrap(out []byte, l Label, data []byte) []byte {
	out = append(append(out, envelope), k.first...)
	return k.all[k.first].Seal(out, nil, data, l.wrapping())
}

// Current reports whether a text was sealed with the key that seals now, as texts are sealed now.
func (k *Keys) Current(sealed []byte) bool {
	return formed(sealed) && sealed[0] == envelope && string(sealed[1:headBytes]) == k.now.Load().first
}

// Key is the id of the key that sealed a text, as ID has it, and whether it is one of these. "": the text has a form that is not known.
func (k *Keys) Key(sealed []byte) (id string, known bool) {
	if !formed(sealed) {
		return "", false
	}
	_, known = k.now.Load().all[string(sealed[1:headBytes])]
	return hex.EncodeToString(sealed[1:headBytes]), known
}

// First is the id of the key that seals.
func (k *Keys) First() string { return hex.EncodeToString([]byte(k.now.Load().first)) }

// formed reports whether a text begins as sealed ones do, and heads.
func formed(sealed []byte) bool {
	return len(sealed) >= headBytes && (sealed[0] == direct || sealed[0] == envelope && len(sealed) >= headBytes+dataKey)
}

// Open returns what was sealed under the same label.
func (k *Keys) Open(l Label, sealed []byte) ([]byte, error) {
	return k.now.Load().open(l, sealed)
}

func (k *ring) open(l Label, sealed []byte) ([]byte, error) {
	aead, err := k.of(l, sealed)
	if err != nil {
		return nil, err
	}
	rest := sealed[headBytes:]
	if sealed[0] == envelope {
		data, err := unwrap(aead, l, sealed)
		if err != nil {
			return nil, err
		}
		if aead, err = newAEAD(data); err != nil {
			return nil, err
		}
		rest = rest[dataKey:]
	}
	plain, err := aead.Open(nil, nil, rest, l.bytes())
	if err != nil {
		return nil, damaged(l, err)
	}
	return slices.Clip(plain), nil
}

// Rewrap returns a sealed text whose data key is wrapped by the key that seals now. What is sealed stays as it is.
func (k *Keys) Rewrap(l Label, sealed []byte) ([]byte, error) {
	now := k.now.Load()
	aead, err := now.of(l, sealed)
	if err != nil {
		return nil, err
	}
	if sealed[0] == direct {
		plain, err := now.open(l, sealed)
		if err != nil {
			return nil, err
		}
		return k.Seal(l, plain), nil
	}
	data, err := unwrap(aead, l, sealed)
	if err != nil {
		return nil, err
	}
	return append(now.wrap(nil, l, data), sealed[headBytes+dataKey:]...), nil
}

// of is the cipher of the seal key that a text names.
func (k *ring) of(l Label, sealed []byte) (cipher.AEAD, error) {
	if !formed(sealed) {
		return nil, stead.Errorf(stead.KindInternal, "the confidential part of %s %.80q has a form that is not known", l.Kind, l.ID)
	}
	id := string(sealed[1:headBytes])
	aead, ok := k.all[id]
	if !ok {
		e := stead.Errorf(stead.KindUnavailable, "the confidential part of %s %.80q was sealed with another key (%s)", l.Kind, l.ID, hex.EncodeToString([]byte(id)))
		e.Hint = "Give this node the key that sealed it: seal_key in the configuration, STEAD_SEAL_KEY, or the file " + KeyFile + " of the data directory where it was made."
		return nil, e
	}
	return aead, nil
}

// unwrap opens the data key of an envelope.
func unwrap(aead cipher.AEAD, l Label, sealed []byte) ([]byte, error) {
	data, err := aead.Open(nil, nil, sealed[headBytes:headBytes+dataKey], l.wrapping())
	if err != nil {
		return nil, damaged(l, err)
	}
	return data, nil
}

func damaged(l Label, err error) error {
	return stead.Wrap(stead.KindInternal, err, "the confidential part of %s %.80q is damaged, or belongs elsewhere", l.Kind, l.ID)
}
