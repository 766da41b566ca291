package audit

import (
	"bufio"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Keys change, and what was signed by one must be believed by who kept the other. While a node has both, each note that it signs says so in a line that both
// have signed, behind the signature; readers of signed notes pass over it, since it is by another name:
//
//	— stead-keys <base64 of the two public keys, and a signature of each over both>
//
// The two vouch for each other: whoever knows one believes the other. A line that one of them has not signed says nothing, so that nobody
// can put a key of their own beside one that is known.

const (
	pairPrefix = "— " + keyName + "-keys "
	pairBytes  = 2*ed25519.PublicKeySize + 2*ed25519.SignatureSize
	// maxKeys bounds the keys that a reader learns.
	maxKeys = 1000
)

func pairText(a, b Verifier) []byte { return fmt.Appendf(nil, "stead keys of one log\n%s\n%s\n", a, b) }

func pairing(a, b ed25519.PrivateKey) string {
	va, vb := verifierOf(a), verifierOf(b)
	text := pairText(va, vb)
	out := slices.Concat(va.key, vb.key, ed25519.Sign(a, text), ed25519.Sign(b, text))
	return pairPrefix + base64.StdEncoding.EncodeToString(out) + "\n"
}

// paired adds the keys that a note's lines pair with those that are known, and reports whether there were any.
func paired(note string, keys []Verifier) ([]Verifier, bool) {
	_, rest, _ := strings.Cut(note, "\n\n")
	learned := false
	for line := range strings.Lines(rest) {
		encoded, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), pairPrefix)
		b, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || len(b) != pairBytes || len(keys) >= maxKeys {
			continue
		}
		one, other := pairOf(b)
		has := func(v Verifier) bool {
			return slices.ContainsFunc(keys, func(k Verifier) bool { return k.key.Equal(v.key) })
		}
		if has(one) == has(other) || !signedPair(b, one, other) {
			continue
		}
		if has(one) {
			one = other
		}
		keys, learned = append(slices.Clone(keys), one), true
	}
	return keys, learned
}

// plainNote reports whether a note has one signature, and behind it lines alone that pair keys and hold: what a log signs. What a reader of signed notes
// passes over was added by somebody.
func plainNote(note string) bool {
	_, rest, _ := strings.Cut(note, "\n\n")
	sigs := 0
	for line := range strings.Lines(rest) {
		line, ended := strings.CutSuffix(line, "\n")
		if !ended {
			return false
		}
		if strings.HasPrefix(line, sigPrefix) {
			sigs++
			continue
		}
		encoded, pairs := strings.CutPrefix(line, pairPrefix)
		b, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !pairs || sigs == 0 || err != nil || len(b) != pairBytes || base64.StdEncoding.EncodeToString(b) != encoded {
			return false
		}
		if one, other := pairOf(b); !signedPair(b, one, other) {
			return false
		}
	}
	return sigs == 1
}

// pairOf are the two keys of a line that pairs.
func pairOf(b []byte) (one, other Verifier) {
	return Verifier{b[:ed25519.PublicKeySize]}, Verifier{b[ed25519.PublicKeySize : 2*ed25519.PublicKeySize]}
}

// signedPair reports whether both have signed that they are one log's.
func signedPair(b []byte, one, other Verifier) bool {
	text, sigs := pairText(one, other), b[2*ed25519.PublicKeySize:]
	return ed25519.Verify(one.key, text, sigs[:ed25519.SignatureSize]) && ed25519.Verify(other.key, text, sigs[ed25519.SignatureSize:])
}

// Vouched are the given keys, or the one that an export names, with those that they vouch for in it, directly or by others in between.
func Vouched(r io.Reader, keys []Verifier) ([]Verifier, error) {
	var pairs []string
	in := newNotes(r, keys)
	for in.next() {
		if lines := onlyPairs(in.note); lines != "" && !slices.Contains(pairs, lines) {
			pairs = append(pairs, lines)
		}
	}
	keys = in.keys
	if err := in.lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) { // Verify says where
		return keys, stead.Wrap(stead.KindUnavailable, err, "the export can't be read")
	}
	for learned := true; learned && len(keys) < maxKeys; {
		learned = false
		for _, p := range pairs {
			var more bool
			keys, more = paired("\n\n"+p, keys)
			learned = learned || more
		}
	}
	return keys, nil
}

// onlyPairs are the lines of a note that pair keys: most notes of a log pair the same.
func onlyPairs(note string) (out string) {
	for line := range strings.Lines(note) {
		if strings.HasPrefix(line, pairPrefix) {
			out += line
		}
	}
	return out
}
