package manifest

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// decode reads one manifest. What it returns keeps within the limits, but is not a checked tree yet.
func decode(blob []byte) (document, error) {
	u, err := NewUnpacker(1)
	if err != nil {
		return document{}, err
	}
	defer u.Close()
	content, err := u.unwrap(magicManifest, blob, maxManifestBytes, nil)
	if err != nil {
		return document{}, err
	}
	r := reader{rest: content}
	d := r.document()
	if r.err == nil && len(r.rest) > 0 {
		r.fail("%d bytes too many", len(r.rest))
	}
	return d, r.err
}

// reader takes numbers and bytes from the front; after the first mistake everything is zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = invalid(format, args...)
	}
	r.rest = nil
}

// number reads a uvarint that is at most limit.
func (r *reader) number(what string, limit int64) int64 {
	n, length := binary.Uvarint(r.rest)
	if length <= 0 || limit < 0 || n > uint64(limit) {
		r.fail("the %s is missing or above %d", what, limit)
		return 0
	}
	r.rest = r.rest[length:]
	return int64(n)
}

func (r *reader) bytes(what string, n int) []byte {
	if n > len(r.rest) {
		r.fail("the %s is cut off", what)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) sum(what string) (s Sum) {
	copy(s[:], r.bytes(what, len(s)))
	return s
}

// Each thing takes some bytes at least, so that a count can't claim more than there is. Lists grow as
// they are read: what is claimed takes no memory.
const (
	leastPack  = len(Sum{}) + 1
	leastEntry = 3
	leastPart  = 2
)

// count reads how many things follow.
func (r *reader) count(what string, least, limit int) int {
	return int(r.number("number of "+what, int64(min(limit, len(r.rest)/least))))
}

func (r *reader) document() document {
	var d document
	if d.change = r.number("kind", 1) == 1; d.change {
		d.base = r.sum("base")
	}
	d.packs = make([]Pack, r.count("packs", leastPack, math.MaxInt32))
	for i := range d.packs {
		d.packs[i] = Pack{Digest: r.sum("digest"), Size: int(r.number("size of a pack", MaxPackBytes))}
	}
	before, total := "", 0
	for range r.count("entries", leastEntry, 2*MaxEntries) {
		e := r.entry(before, d)
		if r.err != nil {
			return d
		}
		if total += len(e.Path); total > MaxTreePathBytes {
			r.fail("its paths have more than %d bytes", MaxTreePathBytes)
		}
		d.entries = append(d.entries, e)
		before = e.Path
	}
	return d
}

func (r *reader) entry(before string, d document) Entry {
	e := Entry{Kind: Kind(r.number("kind of an entry", int64(Name)))}
	shared := int(r.number("shared length of a path", int64(len(before))))
	suffix := r.bytes("path", int(r.number("length of a path", MaxPathBytes)))
	e.Path = before[:shared] + string(suffix)
	switch {
	case r.err != nil:
	case e.Kind == Directory:
		e.Mode = uint16(r.number("mode", 0o777))
	case e.Kind == Link, e.Kind == Name:
		e.Target = string(r.bytes("target of a link", int(r.number("length of a link", MaxLinkBytes))))
	case e.Kind == File:
		r.file(&e, d.packs)
	case e.Kind == gone && d.change:
	default:
		r.fail("an entry of kind %d", e.Kind)
	}
	return e
}

func (r *reader) file(e *Entry, packs []Pack) {
	e.Mode = uint16(r.number("mode", 0o777))
	mtime, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("a time is cut off")
		return
	}
	e.MTime, r.rest = mtime, r.rest[n:]
	for i := range r.count("parts", leastPart, math.MaxInt32) {
		p := Part{Pack: int(r.number("number of a pack", int64(len(packs)))) - 1}
		limit := int64(math.MaxInt64) - e.Size
		if p.Pack != Hole {
			limit = min(limit, MaxPieceBytes)
		}
		p.Length = r.number("length of a part", limit)
		if p.Pack != Hole && r.err == nil {
			p.Offset = int(r.number("place in a pack", int64(packs[p.Pack].Size)-p.Length))
			p.Hash = r.sum("hash")
		}
		if p.Length == 0 || p.Pack == Hole && i > 0 && e.Parts[i-1].Pack == Hole {
			r.fail("a part without bytes, or a hole in two parts")
		}
		if r.err != nil {
			return
		}
		e.Size += p.Length
		e.Parts = append(e.Parts, p)
	}
}

// apply makes the tree that a manifest stands for, over that of its base.
func apply(base Tree, d document) (Tree, error) {
	t := Tree{Packs: d.packs, Entries: d.entries}
	if d.change {
		t = merge(base, d)
	}
	return t, t.check()
}

// merge puts the entries of a change into a tree. Neither list is known to be sorted; what comes out
// is checked by the caller.
func merge(base Tree, d document) Tree {
	t := Tree{Packs: slices.Clone(base.Packs), Entries: make([]Entry, 0, len(base.Entries)+len(d.entries))}
	number := map[Pack]int{}
	for i, p := range t.Packs {
		number[p] = i
	}
	index := make([]int, len(d.packs)) // pack of the change → pack of the tree
	for i, p := range d.packs {
		n, ok := number[p]
		if !ok {
			n = len(t.Packs)
			number[p] = n
			t.Packs = append(t.Packs, p)
		}
		index[i] = n
	}
	a, b := base.Entries, d.entries
	for len(a) > 0 || len(b) > 0 {
		c := order(a, b)
		if c < 0 {
			t.Entries, a = append(t.Entries, a[0]), a[1:]
			continue
		}
		if b[0].Kind != gone {
			for i, p := range b[0].Parts {
				if p.Pack != Hole {
					b[0].Parts[i].Pack = index[p.Pack]
				}
			}
			t.Entries = append(t.Entries, b[0])
		}
		b = b[1:]
		if c == 0 {
			a = a[1:]
		}
	}
	return t
}

// check holds a tree against the rules: plain paths, sorted, each once, and each in a directory that
// is there.
func (t *Tree) check() error {
	if len(t.Entries) > MaxEntries {
		return invalid("more than %d files and directories", MaxEntries)
	}
	named, err := t.named()
	if err != nil {
		return err
	}
	var open []string // the directories around the entry
	before, total := "", 0
	for i, e := range t.Entries {
		if total += len(e.Path); total > MaxTreePathBytes {
			return invalid("its paths have more than %d bytes", MaxTreePathBytes)
		}
		if err := checkPath(e.Path); err != nil {
			return err
		}
		if i > 0 && Compare(before, e.Path) >= 0 {
			return invalid("%.200q does not come behind %.200q", e.Path, before)
		}
		before = e.Path
		for len(open) > 0 && !within(e.Path, open[len(open)-1]) {
			open = open[:len(open)-1]
		}
		parent := ""
		if n := strings.LastIndexByte(e.Path, '/'); n >= 0 {
			parent = e.Path[:n]
		}
		if parent != "" && (len(open) == 0 || open[len(open)-1] != parent) {
			return invalid("%.200q is not in a directory", e.Path)
		}
		switch e.Kind {
		case Directory:
			open = append(open, e.Path)
		case Link:
			if e.Target == "" || len(e.Target) > MaxLinkBytes || strings.ContainsRune(e.Target, 0) {
				return invalid("the link %.200q has no proper target", e.Path)
			}
		case File:
			if _, ok := named[e.Path]; ok {
				named[e.Path] = true
			}
		case Name:
			if !named[e.Target] {
				return invalid("%.200q is to be a name of %.200q, and that is no file before it", e.Path, e.Target)
			}
		}
	}
	return nil
}

// named are the paths that names lead to, none of them found yet.
func (t *Tree) named() (map[string]bool, error) {
	var paths map[string]bool
	total := 0
	for _, e := range t.Entries {
		if e.Kind != Name {
			continue
		}
		if total += len(e.Target); total > MaxTreePathBytes {
			return nil, invalid("the paths of files with several names have more than %d bytes", MaxTreePathBytes)
		}
		if paths == nil {
			paths = map[string]bool{}
		}
		paths[e.Target] = false
	}
	return paths, nil
}

func within(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

func checkPath(path string) error {
	if path == "" || len(path) > MaxPathBytes || strings.ContainsRune(path, 0) {
		return invalid("%.200q can't be a path", path)
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || len(name) > MaxNameBytes {
			return invalid("%.200q can't be a path", path)
		}
	}
	return nil
}
