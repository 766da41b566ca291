// Package manifest is the stored form of a workspace: what stands in the blobs of a checkpoint.
//
// Shape. A checkpoint is named by the digest of a manifest's blob. A manifest is the whole tree, or
// what changed since another one; file content is in packs, each a blob of many pieces:
//
//	manifest ── base ──▶ manifest ── base ──▶ manifest (whole)     at most MaxChain
//	   └─ packs: digest, size                                       pack = zstd(piece piece piece …)
//	   └─ entries, by path: directory (mode)
//	                        file (mode, mtime, size, parts: hole, or SHA-256 + place in a pack)
//	                        link (target)
//	                        name (path of a file before it: a hard link)
//	                        gone (in a change alone)
//
// Both kinds of blob begin with a magic, a version, how they are compressed and how long the content
// is: see wrap. A manifest with names has version 2, and one whose tree wants it; readers that know version 1 alone refuse
// these, and read all others. Numbers are varints. The same tree over the same base has the same bytes, so that an
// unchanged workspace has the same digest.
//
// Units and limits: sizes are bytes, times are nanoseconds since 1970, modes are the nine permission
// bits. A piece has at most MaxPieceBytes, a pack MaxPackBytes, a tree MaxEntries. Everything that is
// decoded may come from a stranger: lengths are checked before memory is taken, paths are plain and
// sorted, what has something below it is a directory.
//
// Errors: KindInvalid for bytes that are no manifest or pack, or that break a rule; KindTooLarge from
// Encode for a tree above a limit; Load passes on what the blobs answer.
//
// The compression is Zstandard, RFC 8878.
package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strings"

	"github.com/stead-dev/stead"
)

// Limits of what is stored, in bytes where not said otherwise.
const (
	// MaxPieceBytes is the longest piece of a file that is stored as one.
	MaxPieceBytes = 1 << 20
	// MaxPackBytes is the most that the pieces of a pack have together, uncompressed.
	MaxPackBytes = 8 << 20
	// MaxEntries is the most files, directories and links of a tree.
	MaxEntries = 1_000_000
	// MaxPathBytes is the longest path; MaxNameBytes the longest name in it. Nothing else bounds how
	// deep a tree is. (Until 2026 a path had at most 256 names.)
	MaxPathBytes = 4095
	MaxNameBytes = 255
	// MaxTreePathBytes is the most that all paths of a tree have together: they are held in memory.
	MaxTreePathBytes = 256 << 20
	// MaxLinkBytes is the longest target of a symbolic link.
	MaxLinkBytes = 4095
	// MaxChain is the most manifests that are read for one tree.
	MaxChain = 48
)

// Sum is a SHA-256: of a piece, or of a blob, whose name it is in hex.
type Sum [sha256.Size]byte

// String is the digest in hex, as blobs are named.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// ParseSum reads a blob's name.
func ParseSum(digest string) (Sum, error) {
	var s Sum
	if len(digest) != 2*len(s) || strings.Trim(digest, "0123456789abcdef") != "" {
		return s, stead.Invalid("digest", "%.80q is not a SHA-256 in lower-case hex", digest)
	}
	_, err := hex.Decode(s[:], []byte(digest))
	return s, err
}

// Kind is what an entry is.
type Kind uint8

// The kinds. They are stored: a number never changes its meaning.
const (
	Directory Kind = 1
	File      Kind = 2
	Link      Kind = 3
	gone      Kind = 4
	Name      Kind = 5 // a further name of a file
)

// Entry is one file, directory or symbolic link, or a further name of a file.
type Entry struct {
	Path   string // relative to the workspace, clean; any bytes but NUL
	Kind   Kind
	Mode   uint16 // permission bits of a file or directory
	MTime  int64  // of a file
	Size   int64  // of a file
	Parts  []Part // of a file, in order; their lengths are its size
	Target string // of a link; of a name, the path of the file, which is an entry before it
}

// Part is a stretch of a file.
type Part struct {
	Length int64
	Hash   Sum // of the bytes; zero for a hole
	Pack   int // index in Tree.Packs; Hole for bytes that are all zero
	Offset int // in the pack
}

// Hole is the Pack of a Part without bytes.
const Hole = -1

// Pack is a blob with pieces of files.
type Pack struct {
	Digest Sum
	Size   int // of its pieces together, uncompressed
}

// Tree is a whole workspace. Entries are sorted by Compare, and each has its directory before it.
type Tree struct {
	Packs   []Pack
	Entries []Entry
	// Second has the tree written whole, in version 2 whatever is in it: readers of version 1 would take it for something
	// else than it is. Load does not say it.
	Second bool
}

// Stored is a tree as it stands in blobs.
type Stored struct {
	Tree
	Digest Sum   // of the newest manifest
	Chain  []Sum // all manifests, newest first
	// whole and changes are the bytes of the chain's last manifest, and of the others together.
	whole, changes int
}

// Compare orders paths by their names, as bytes: a directory comes right before what is in it.
func Compare(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		switch x, y := a[i], b[i]; {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		case x < y:
			return -1
		default:
			return 1
		}
	}
	return len(a) - len(b)
}

// Load reads a manifest and those that it is based on.
func Load(ctx context.Context, get func(ctx context.Context, digest string) ([]byte, error), digest string) (*Stored, error) {
	name, err := ParseSum(digest)
	if err != nil {
		return nil, err
	}
	s := &Stored{Digest: name}
	var documents []document
	for left := MaxChain; ; left-- {
		if left == 0 {
			return nil, invalid("the checkpoint consists of more than %d manifests", MaxChain)
		}
		data, err := get(ctx, name.String())
		if err != nil {
			return nil, err
		}
		d, err := decode(data)
		if err != nil {
			return nil, err
		}
		s.Chain = append(s.Chain, name)
		documents = append(documents, d)
		if !d.change {
			s.whole = len(data)
			break
		}
		s.changes += len(data)
		name = d.base
	}
	for i := len(documents) - 1; i >= 0; i-- {
		if s.Tree, err = apply(s.Tree, documents[i]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Totals counts the files of a tree, by their names, and their bytes, each once, holes included; the sum stops at the largest number.
func (t Tree) Totals() (files int, bytes int64) {
	for _, e := range t.Entries {
		if e.Kind == File || e.Kind == Name {
			files++
			bytes += min(e.Size, math.MaxInt64-bytes)
		}
	}
	return files, bytes
}

// Live says of each pack how many of its bytes the tree needs.
func (t Tree) Live() []int {
	type place struct{ pack, offset int }
	live, seen := make([]int, len(t.Packs)), map[place]bool{}
	for _, e := range t.Entries {
		for _, p := range e.Parts {
			if p.Pack == Hole || seen[place{p.Pack, p.Offset}] {
				continue
			}
			seen[place{p.Pack, p.Offset}] = true
			live[p.Pack] += int(p.Length)
		}
	}
	return live
}

func invalid(format string, args ...any) error {
	return stead.Errorf(stead.KindInvalid, "this is no checkpoint of a workspace: "+format, args...)
}
