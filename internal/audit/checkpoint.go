package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/stead-dev/stead"
)

// Checkpoint says what a log was at a time. Its text form is a signed note:
//
//	stead/<project>
//	<size>
//	<root in base64>
//	time <Unix milliseconds>
//
//	— stead <base64 of the key's hash, 4 bytes, and the signature>
//
// Source: C2SP tlog-checkpoint and signed-note, as golang.org/x/mod/sumdb/note has it.
type Checkpoint struct {
	Project stead.ProjectID
	Size    int64
	Root    Hash
	At      int64 // Unix milliseconds
}

const (
	originPrefix = "stead/"
	keyName      = "stead"
	timePrefix   = "time "
	sigPrefix    = "— " + keyName + " "
	algEd25519   = 1 // the byte that stands before an Ed25519 key
	keyHashBytes = 4
)

func (c Checkpoint) text() string {
	return fmt.Sprintf("%s%s\n%d\n%s\n%s%d\n", originPrefix, escapeProject(c.Project), c.Size, c.Root, timePrefix, c.At)
}

// Signer signs checkpoints. The zero Signer can't. Copies of one are one: what Replace puts into its place, all have.
type Signer struct{ now *atomic.Pointer[signing] }

// Replace has another key sign from now on.
func (s Signer) Replace(by Signer) { s.now.Store(by.now.Load()) }

// signing is what a signer has at a time.
type signing struct {
	key      ed25519.PrivateKey
	pairings string // with the keys that signed before, or will
}

// SeedBytes is the length of a signer's secret.
const SeedBytes = ed25519.SeedSize

// NewSigner makes a signer of SeedBytes secret bytes. others are those of keys that signed before, or will: whatever it signs says that they are one's.
func NewSigner(seed []byte, others ...[]byte) (Signer, error) {
	s := &signing{}
	for i, seed := range append([][]byte{seed}, others...) {
		if len(seed) != SeedBytes {
			return Signer{}, stead.Errorf(stead.KindInvalid, "the key of the audit log must have %d bytes, not %d", SeedBytes, len(seed))
		}
		if key := ed25519.NewKeyFromSeed(seed); i == 0 {
			s.key = key
		} else {
			s.pairings += pairing(s.key, key)
		}
	}
	out := Signer{&atomic.Pointer[signing]{}}
	out.now.Store(s)
	return out, nil
}

// Sign is the text form of a checkpoint.
func (s Signer) Sign(c Checkpoint) string { return s.SignNote(c.text()) }

// SignNote is a text as a signed note. The text ends with a newline and has no empty line; its first line says what it is,
// so that none can be taken for another kind.
func (s Signer) SignNote(text string) string {
	now := s.now.Load()
	sig := append(verifierOf(now.key).hash(), ed25519.Sign(now.key, []byte(text))...)
	return text + "\n" + sigPrefix + base64.StdEncoding.EncodeToString(sig) + "\n" + now.pairings
}

// Verifier is the public half.
func (s Signer) Verifier() Verifier { return verifierOf(s.now.Load().key) }

func verifierOf(key ed25519.PrivateKey) Verifier {
	public, _ := key.Public().(ed25519.PublicKey) // that is its type
	return Verifier{public}
}

// Verifier checks signatures. Its text form, which operators keep apart from the server, is
// "stead+<hash>+<base64>", as in signed notes.
type Verifier struct{ key ed25519.PublicKey }

func (v Verifier) encoded() []byte { return append([]byte{algEd25519}, v.key...) }

func (v Verifier) hash() []byte {
	h := sha256.Sum256(append([]byte(keyName+"\n"), v.encoded()...))
	return h[:keyHashBytes]
}

func (v Verifier) String() string {
	return fmt.Sprintf("%s+%08x+%s", keyName, binary.BigEndian.Uint32(v.hash()), base64.StdEncoding.EncodeToString(v.encoded()))
}

// ParseVerifier reads the text form; KindInvalid for what is none.
func ParseVerifier(s string) (Verifier, error) {
	bad := stead.Invalid("key", "%.100q is no key of an audit log: it looks like %s+0a1b2c3d+AZ…", s, keyName)
	parts := strings.SplitN(strings.TrimSpace(s), "+", 3)
	if len(parts) != 3 {
		return Verifier{}, bad
	}
	b, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(b) != 1+ed25519.PublicKeySize || b[0] != algEd25519 {
		return Verifier{}, bad
	}
	v := Verifier{b[1:]}
	if v.String() != strings.TrimSpace(s) {
		return Verifier{}, bad
	}
	return v, nil
}

// Open reads a signed checkpoint and checks its signature by whichever of the keys made it;
// KindInvalid for what is none, or was signed by none of them.
func Open(note string, keys []Verifier) (Checkpoint, error) {
	text, _, ok := strings.Cut(note, "\n\n")
	c, parsed := parseText(text + "\n")
	if !ok || !parsed {
		return c, stead.Errorf(stead.KindInvalid, "this is no checkpoint of an audit log")
	}
	if _, err := OpenNote(note, keys); err != nil {
		return c, stead.Errorf(stead.KindInvalid, "the checkpoint of %d records: %s", c.Size, err)
	}
	return c, nil
}

// OpenNote is the text of a signed note; KindInvalid for what none of the keys signed.
func OpenNote(note string, keys []Verifier) (string, error) {
	text, rest, _ := strings.Cut(note, "\n\n")
	text += "\n"
	keys, _ = paired(note, keys)
	var by []string // keys that are not known
	for line := range strings.Lines(rest) {
		encoded, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), sigPrefix)
		sig, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || len(sig) != keyHashBytes+ed25519.SignatureSize {
			continue
		}
		for _, v := range keys {
			if bytes.Equal(sig[:keyHashBytes], v.hash()) && ed25519.Verify(v.key, []byte(text), sig[keyHashBytes:]) {
				return text, nil
			}
		}
		if known := func(v Verifier) bool { return bytes.Equal(sig[:keyHashBytes], v.hash()) }; !slices.ContainsFunc(keys, known) {
			by = append(by, fmt.Sprintf("%x", sig[:keyHashBytes]))
		}
	}
	if len(by) > 0 {
		return "", stead.Errorf(stead.KindInvalid, "it carries no signature by the given key: it names the key %s", strings.Join(by, ", "))
	}
	return "", stead.Errorf(stead.KindInvalid, "it carries no signature by the given key")
}

// parseText reads what Checkpoint.text wrote, and nothing else.
func parseText(text string) (Checkpoint, bool) {
	var c Checkpoint
	lines := strings.Split(text, "\n")
	const count = 5 // the last is empty
	if len(lines) != count {
		return c, false
	}
	project, ok := strings.CutPrefix(lines[0], originPrefix)
	at, timed := strings.CutPrefix(lines[3], timePrefix)
	if !ok || !timed || c.Root.UnmarshalText([]byte(lines[2])) != nil {
		return c, false
	}
	var err error
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.Size < 0 {
		return c, false
	}
	if c.At, err = strconv.ParseInt(at, 10, 64); err != nil {
		return c, false
	}
	name, err := unescapeProject(project)
	c.Project = name
	return c, err == nil && c.text() == text
}

// A project's name may hold anything: in the one line that it has it is escaped as in a URL.
func escapeProject(p stead.ProjectID) string { return url.PathEscape(string(p)) }

func unescapeProject(s string) (stead.ProjectID, error) {
	name, err := url.PathUnescape(s)
	return stead.ProjectID(name), err
}
