package manifest

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/stead-dev/stead"
)

// document is one manifest: a whole tree, or a change.
type document struct {
	change  bool
	base    Sum // of a change
	packs   []Pack
	entries []Entry // with those that are gone, of a change
	second  bool    // see Tree
}

// smallBytes is a whole manifest that is written anew rather than changed: it costs no more than a
// file system's block or two.
const smallBytes = 8 << 10

// Encode makes the manifest's blob of a tree. With a base that it does not differ from, the result is
// the base itself and blob is nil. next's Packs are put into the order of their use; those that
// nobody uses are dropped.
func (p *Packer) Encode(next *Tree, base *Stored) (stored *Stored, blob []byte, err error) {
	if err := next.normalize(); err != nil {
		return nil, nil, err
	}
	if base == nil || next.Second {
		return p.whole(next)
	}
	change := difference(next, base)
	if len(change.entries) == 0 {
		return base, nil, nil
	}
	if base.whole < smallBytes || len(base.Chain) >= MaxChain || len(change.entries) > len(next.Entries)/2 {
		return p.whole(next)
	}
	blob = p.wrap(magicManifest, change.version(), change.encode())
	if base.changes+len(blob) > base.whole/2 {
		return p.whole(next)
	}
	sum := Sum(sha256.Sum256(blob))
	return &Stored{Tree: *next, Digest: sum, Chain: slices.Insert(slices.Clone(base.Chain), 0, sum),
		whole: base.whole, changes: base.changes + len(blob)}, blob, nil
}

func (p *Packer) whole(t *Tree) (*Stored, []byte, error) {
	d := document{packs: t.Packs, entries: t.Entries, second: t.Second}
	content := d.encode()
	if len(content) > maxManifestBytes {
		return nil, nil, stead.Errorf(stead.KindTooLarge, "the list of the workspace's files has %d bytes; the limit is %d", len(content), maxManifestBytes)
	}
	blob := p.wrap(magicManifest, d.version(), content)
	sum := Sum(sha256.Sum256(blob))
	return &Stored{Tree: *t, Digest: sum, Chain: []Sum{sum}, whole: len(blob)}, blob, nil
}

// normalize checks a tree, and numbers its packs in the order of their use.
func (t *Tree) normalize() error {
	if err := t.check(); err != nil {
		return stead.Wrap(stead.KindTooLarge, err, "the workspace can't be stored")
	}
	number := make([]int, len(t.Packs)) // new index + 1
	var packs []Pack
	for _, e := range t.Entries {
		for i, p := range e.Parts {
			if p.Pack == Hole {
				continue
			}
			if number[p.Pack] == 0 {
				packs = append(packs, t.Packs[p.Pack])
				number[p.Pack] = len(packs)
			}
			e.Parts[i].Pack = number[p.Pack] - 1
		}
	}
	t.Packs = packs
	return nil
}

// difference is what makes next of base: both are sorted.
func difference(next *Tree, base *Stored) document {
	d := document{change: true, base: base.Digest}
	number := map[int]int{} // pack of next → pack of the document
	put := func(e Entry) {
		e.Parts = slices.Clone(e.Parts)
		for i, p := range e.Parts {
			if p.Pack == Hole {
				continue
			}
			n, ok := number[p.Pack]
			if !ok {
				n = len(d.packs)
				number[p.Pack] = n
				d.packs = append(d.packs, next.Packs[p.Pack])
			}
			e.Parts[i].Pack = n
		}
		d.entries = append(d.entries, e)
	}
	a, b := base.Entries, next.Entries
	for len(a) > 0 || len(b) > 0 {
		c := order(a, b)
		switch {
		case c < 0:
			d.entries = append(d.entries, Entry{Path: a[0].Path, Kind: gone})
		case c > 0 || !same(a[0], b[0], base.Packs, next.Packs):
			put(b[0])
		}
		if c <= 0 {
			a = a[1:]
		}
		if c >= 0 {
			b = b[1:]
		}
	}
	return d
}

// order compares the heads of two sorted lists; an empty one is behind everything.
func order(a, b []Entry) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return Compare(a[0].Path, b[0].Path)
}

func same(a, b Entry, packsA, packsB []Pack) bool {
	if a.Kind != b.Kind || a.Mode != b.Mode || a.MTime != b.MTime || a.Size != b.Size || a.Target != b.Target {
		return false
	}
	return slices.EqualFunc(a.Parts, b.Parts, func(p, q Part) bool {
		if p.Pack == Hole || q.Pack == Hole {
			return p.Pack == q.Pack && p.Length == q.Length
		}
		return p.Length == q.Length && p.Hash == q.Hash && p.Offset == q.Offset && packsA[p.Pack] == packsB[q.Pack]
	})
}

// version is the oldest that can say it, and may be read.
func (d document) version() byte {
	if d.second || slices.ContainsFunc(d.entries, func(e Entry) bool { return e.Kind == Name }) {
		return versionNames
	}
	return versionFirst
}

func (d document) encode() []byte {
	out := make([]byte, 0, 64+len(d.entries)*80)
	if d.change {
		out = append(append(out, 1), d.base[:]...)
	} else {
		out = append(out, 0)
	}
	out = binary.AppendUvarint(out, uint64(len(d.packs)))
	for _, p := range d.packs {
		out = binary.AppendUvarint(append(out, p.Digest[:]...), uint64(p.Size))
	}
	out = binary.AppendUvarint(out, uint64(len(d.entries)))
	before := ""
	for _, e := range d.entries {
		shared := sharedPrefix(before, e.Path)
		out = append(out, byte(e.Kind))
		out = binary.AppendUvarint(out, uint64(shared))
		out = appendString(out, e.Path[shared:])
		out = e.encode(out)
		before = e.Path
	}
	return out
}

func (e Entry) encode(out []byte) []byte {
	switch e.Kind {
	case Directory:
		out = binary.AppendUvarint(out, uint64(e.Mode))
	case Link, Name:
		out = appendString(out, e.Target)
	case File:
		out = binary.AppendUvarint(out, uint64(e.Mode))
		out = binary.AppendVarint(out, e.MTime)
		out = binary.AppendUvarint(out, uint64(len(e.Parts)))
		for _, p := range e.Parts {
			out = binary.AppendUvarint(out, uint64(p.Pack+1)) // a hole is 0
			out = binary.AppendUvarint(out, uint64(p.Length))
			if p.Pack != Hole {
				out = append(binary.AppendUvarint(out, uint64(p.Offset)), p.Hash[:]...)
			}
		}
	}
	return out
}

func appendString(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

func sharedPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
