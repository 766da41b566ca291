package audit

import (
	"crypto/sha256"
	"encoding/base64"
	"math/bits"
	"slices"

	"github.com/stead-dev/stead"
)

// Hash is a SHA-256 digest. Its text form is base64.
type Hash [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error {
	d, err := base64.StdEncoding.Strict().DecodeString(string(b))
	if err != nil || len(d) != len(h) {
		return stead.Errorf(stead.KindInvalid, "%.60q is no hash in base64", b)
	}
	copy(h[:], d)
	return nil
}

func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// What is hashed before leaves and nodes, so that neither can be taken for the other (RFC 6962, 2.1).
const (
	leafPrefix = 0
	nodePrefix = 1
)

// LeafHash is the hash of a record in its canonical form.
func LeafHash(record []byte) Hash {
	h := sha256.New()
	h.Write([]byte{leafPrefix})
	h.Write(record)
	return Hash(h.Sum(nil))
}

func nodeHash(left, right Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = nodePrefix
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// Tree is the right edge of a Merkle tree: what is needed to add leaves, and to know its root. The
// zero Tree is empty.
type Tree struct {
	Size  int64  // leaves
	Last  Hash   // of the last leaf; zeros for an empty tree
	Peaks []Hash // of the whole subtrees that Size is made of, the largest first: one for each bit of Size
}

// Add is the tree with one leaf more. It leaves t as it was.
func (t Tree) Add(leaf Hash) Tree {
	peaks := append(slices.Clone(t.Peaks), leaf)
	for size := t.Size; size&1 == 1; size >>= 1 {
		n := len(peaks)
		peaks = append(peaks[:n-2], nodeHash(peaks[n-2], peaks[n-1]))
	}
	return Tree{Size: t.Size + 1, Last: leaf, Peaks: peaks}
}

// Root is the tree's Merkle tree hash.
func (t Tree) Root() Hash {
	if len(t.Peaks) == 0 {
		return sha256.Sum256(nil)
	}
	root := t.Peaks[len(t.Peaks)-1]
	for _, peak := range slices.Backward(t.Peaks[:len(t.Peaks)-1]) {
		root = nodeHash(peak, root)
	}
	return root
}

// Bytes is the tree but for its size, for a store: the last leaf and the peaks.
func (t Tree) Bytes() []byte {
	b := slices.Clone(t.Last[:])
	for _, p := range t.Peaks {
		b = append(b, p[:]...)
	}
	return b
}

// TreeOf is the inverse of Bytes; KindInternal for what is no tree of that size.
func TreeOf(size int64, b []byte) (Tree, error) {
	want := (1 + bits.OnesCount64(uint64(size))) * sha256.Size
	if size == 0 {
		return Tree{}, nil
	}
	if size < 0 || len(b) != want {
		return Tree{}, stead.Errorf(stead.KindInternal, "the head of an audit log of %d records has %d bytes, not %d", size, len(b), want)
	}
	t := Tree{Size: size, Last: Hash(b[:sha256.Size])}
	for p := range slices.Chunk(b[sha256.Size:], sha256.Size) {
		t.Peaks = append(t.Peaks, Hash(p))
	}
	return t, nil
}
