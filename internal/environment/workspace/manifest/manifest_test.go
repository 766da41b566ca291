package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
)

func packer(t testing.TB) *Packer {
	t.Helper()
	p, err := NewPacker(1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// memory is blobs by digest.
type memory map[string][]byte

func (m memory) put(data []byte) string {
	digest := Sum(sha256.Sum256(data)).String()
	m[digest] = data
	return digest
}

func (m memory) get(_ context.Context, digest string) ([]byte, error) {
	if data, ok := m[digest]; ok {
		return data, nil
	}
	return nil, stead.NotFound("blob", digest)
}

func sum(n int) Sum { return sha256.Sum256(fmt.Appendf(nil, "%d", n)) }

// tree makes a tree of n files in n/50 directories, whose content is numbered from seed on.
func tree(n, seed int) *Tree {
	t := &Tree{Packs: []Pack{{sum(1), 4 << 20}, {sum(2), 1 << 20}}}
	for d := range (n + 49) / 50 {
		t.Entries = append(t.Entries, Entry{Path: fmt.Sprintf("d%04d", d), Kind: Directory, Mode: 0o755})
		for f := range min(50, n-50*d) {
			e := Entry{Path: fmt.Sprintf("d%04d/f%d", d, f), Kind: File, Mode: 0o644, MTime: int64(seed) - 5}
			e.Parts = []Part{{Length: 100, Hash: sum(seed + f), Pack: f % 2, Offset: f}}
			if f%7 == 0 {
				e.Parts = append(e.Parts, Part{Length: 1 << 40, Pack: Hole}, Part{Length: 5, Hash: sum(f), Pack: 1, Offset: 9})
			}
			for _, p := range e.Parts {
				e.Size += p.Length
			}
			t.Entries = append(t.Entries, e)
		}
	}
	t.Entries = append(t.Entries, Entry{Path: "link", Kind: Link, Target: "../../etc"})
	slices.SortFunc(t.Entries, func(a, b Entry) int { return Compare(a.Path, b.Path) })
	return t
}

func TestCompare(t *testing.T) {
	sorted := []string{"", "a", "a/b", "a/b/c", "a/b.c", "a/c", "a-b", "a.txt", "a\xff", "b"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := Compare(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("Compare(%q, %q) = %d", a, b, got)
			}
		}
	}
}

// TestChain changes a tree many times at random and loads it back each time: whole manifests and
// changes alike, and the same bytes for the same change.
func TestChain(t *testing.T) {
	p, blobs, r := packer(t), memory{}, rand.New(rand.NewPCG(1, 1))
	var base *Stored
	next, longest, bytesOfChanges := tree(2000, 0), 0, 0
	for i := range 150 {
		copied := &Tree{Packs: slices.Clone(next.Packs)}
		for _, e := range next.Entries {
			e.Parts = slices.Clone(e.Parts)
			copied.Entries = append(copied.Entries, e)
		}
		stored, blob, err := p.Encode(next, base)
		if err != nil {
			t.Fatal(err)
		}
		if _, again, _ := p.Encode(copied, base); !bytes.Equal(blob, again) {
			t.Fatalf("step %d: the same tree has other bytes", i)
		}
		if blobs.put(blob) != stored.Digest.String() {
			t.Fatal("the digest is not that of the blob")
		}
		loaded, err := Load(t.Context(), blobs.get, stored.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(loaded.Chain, stored.Chain) || loaded.whole != stored.whole || loaded.changes != stored.changes {
			t.Fatalf("step %d: loaded chain %d, stored %d", i, len(loaded.Chain), len(stored.Chain))
		}
		if err := loaded.Tree.normalize(); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(stored.Tree, loaded.Tree) {
			t.Fatalf("step %d: %s", i, cmp.Diff(stored.Tree, loaded.Tree))
		}
		if longest = max(longest, len(stored.Chain)); len(stored.Chain) > 1 {
			bytesOfChanges = max(bytesOfChanges, len(blob))
		}
		if same, blob, err := p.Encode(&Tree{Packs: stored.Packs, Entries: slices.Clone(stored.Entries)}, stored); same != stored || blob != nil || err != nil {
			t.Fatalf("an unchanged tree is stored again: %v", err)
		}
		base = stored
		next = &Tree{Packs: slices.Clone(stored.Packs)}
		for _, e := range stored.Entries {
			e.Parts = slices.Clone(e.Parts)
			if e.Kind == File && r.IntN(200) == 0 {
				if r.IntN(3) == 0 {
					continue // gone
				}
				e.Parts[0].Hash = sum(r.Int())
				if r.IntN(5) == 0 {
					next.Packs = append(next.Packs, Pack{sum(r.Int()), 1000})
					e.Parts[0].Pack, e.Parts[0].Offset = len(next.Packs)-1, 0
				}
			}
			next.Entries = append(next.Entries, e)
		}
		next.Entries = append(next.Entries, Entry{Path: fmt.Sprintf("z%06d", i), Kind: Directory, Mode: 0o700})
	}
	if longest < 4 || longest > MaxChain || bytesOfChanges > 4000 {
		t.Errorf("the longest chain has %d manifests, the largest change %d bytes", longest, bytesOfChanges)
	}
}

// hostile makes the blob of a document that Encode would never make.
func hostile(t testing.TB, d document) []byte {
	return packer(t).wrap(magicManifest, versionFirst, d.encode())
}

func TestHostileManifests(t *testing.T) {
	dir := func(p string) Entry { return Entry{Path: p, Kind: Directory, Mode: 0o755} }
	file := func(p string, parts ...Part) Entry { return Entry{Path: p, Kind: File, Mode: 0o644, Parts: parts} }
	link := func(p, target string) Entry { return Entry{Path: p, Kind: Link, Target: target} }
	name := func(p, target string) Entry { return Entry{Path: p, Kind: Name, Target: target} }
	packs := []Pack{{sum(1), 1000}}
	for name, entries := range map[string][]Entry{
		"absolute":              {file("/etc/passwd")},
		"up":                    {file("..")},
		"up and in":             {dir("a"), file("a/../../b")},
		"dot":                   {dir("."), file("./a")},
		"empty":                 {file("")},
		"empty name":            {dir("a"), dir("a/"), file("a//b")},
		"NUL":                   {file("a\x00b")},
		"long name":             {file(strings.Repeat("a", 256))},
		"twice":                 {file("a"), file("a")},
		"twice, two kinds":      {link("a", "b"), dir("a")},
		"out of order":          {file("b"), file("a")},
		"below a link":          {link("a", "/etc"), file("a/passwd")},
		"below a file":          {file("a"), file("a/b")},
		"below nothing":         {file("a/b")},
		"below another":         {dir("a"), dir("a/b"), file("a/c/d")},
		"link to nothing":       {link("a", "")},
		"link to NUL":           {link("a", "b\x00")},
		"long link":             {link("a", strings.Repeat("x", MaxLinkBytes+1))},
		"setuid":                {{Path: "a", Kind: File, Mode: 0o4755}},
		"a kind of none":        {{Path: "a", Kind: 0}},
		"a kind of the future":  {{Path: "a", Kind: 9}},
		"gone from nothing":     {{Path: "a", Kind: gone}},
		"beyond the pack":       {file("a", Part{Length: 10, Pack: 0, Offset: 991})},
		"longer than the pack":  {file("a", Part{Length: 1001, Pack: 0})},
		"a pack that is not":    {file("a", Part{Length: 1, Pack: 1})},
		"a part of nothing":     {file("a", Part{Length: 0, Pack: 0})},
		"two holes in a row":    {file("a", Part{Length: 5, Pack: Hole}, Part{Length: 5, Pack: Hole})},
		"larger than any file":  {file("a", Part{Length: math.MaxInt64, Pack: Hole}, Part{Length: 1, Pack: 0})},
		"a name of nothing":     {file("a"), name("b", "")},
		"a name of no entry":    {file("a"), name("b", "c")},
		"a name of what is out": {file("a"), name("b", "../a")},
		"a name of itself":      {name("b", "b")},
		"a name of one behind":  {name("a", "b"), file("b")},
		"a name of a directory": {dir("a"), name("b", "a")},
		"a name of a link":      {link("a", "/etc/passwd"), name("b", "a")},
		"a name of a name":      {file("a"), name("b", "a"), name("c", "b")},
		"below a name":          {file("a"), name("b", "a"), file("b/c")},
		"longer than the limit": deep(MaxPathBytes/2 + 2),
	} {
		blobs := memory{}
		_, err := Load(t.Context(), blobs.get, blobs.put(hostile(t, document{packs: packs, entries: entries})))
		if stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	if _, err := decode(hostile(t, document{packs: packs, entries: deep(MaxPathBytes/2 + 1)})); err != nil {
		t.Errorf("as deep as allowed: %v", err)
	}
}

func deep(n int) []Entry {
	var all []Entry
	for i := range n {
		all = append(all, Entry{Path: strings.Repeat("d/", i) + "d", Kind: Directory})
	}
	return all
}

// TestBombs: what claims much has to bring it along.
func TestBombs(t *testing.T) {
	u, err := NewUnpacker(1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	zeros := packer(t).Pack(make([]byte, MaxPackBytes))
	head := func(magic string, method byte, length uint64) []byte {
		return binary.AppendUvarint(append([]byte(magic), versionFirst, method), length)
	}
	bomb := packer(t).encoder.EncodeAll(make([]byte, 64<<20), nil)
	for name, unpack := range map[string]func() error{
		"a pack above the limit": func() error { _, err := u.Unpack(zeros, MaxPackBytes+1, nil); return err },
		"a pack that is longer":  func() error { _, err := u.Unpack(zeros, 1000, nil); return err },
		"a pack that is shorter": func() error { _, err := u.Unpack(packer(t).Pack([]byte("x")), 1000, nil); return err },
		"a frame that is longer": func() error {
			_, err := u.Unpack(append(head(magicPack, methodZstd, 1000), bomb...), 1000, nil)
			return err
		},
		"a frame of many frames": func() error {
			_, err := u.Unpack(append(head(magicPack, methodZstd, 1000), bytes.Repeat(packer(t).encoder.EncodeAll([]byte("x"), nil), 2000)...), 1000, nil)
			return err
		},
		"a manifest of a great claim": func() error {
			_, err := decode(append(head(magicManifest, methodZstd, 200<<20), bomb...))
			return err
		},
		"a manifest above the limit": func() error {
			_, err := decode(append(head(magicManifest, methodPlain, maxManifestBytes+1), 1))
			return err
		},
		"a manifest of many entries": func() error {
			_, err := decode(packer(t).wrap(magicManifest, versionFirst, binary.AppendUvarint([]byte{0, 0}, 2*MaxEntries)))
			return err
		},
		"a manifest of many packs": func() error {
			_, err := decode(packer(t).wrap(magicManifest, versionFirst, binary.AppendUvarint([]byte{0}, 1<<40)))
			return err
		},
		"a manifest that goes on": func() error {
			_, err := decode(packer(t).wrap(magicManifest, versionFirst, append(document{}.encode(), 0)))
			return err
		},
		"a pack for a manifest": func() error { _, err := decode(zeros); return err },
		"nothing":               func() error { _, err := decode(nil); return err },
		"another version": func() error {
			_, err := decode(append([]byte(magicManifest), versionNames+1, methodPlain, 0))
			return err
		},
		"another method": func() error {
			_, err := decode(append([]byte(magicManifest), versionFirst, 7, 0))
			return err
		},
	} {
		if err := unpack(); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	// What the encoder makes of content that compresses beyond all measure can be read.
	long := make([]byte, freeBytes+1)
	if content, err := u.unwrap(magicManifest, packer(t).wrap(magicManifest, versionFirst, long), maxManifestBytes, nil); err != nil || len(content) != len(long) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
}

// TestNames: a tree with further names of files says so in its version, in which readers refuse it who would leave them out.
func TestNames(t *testing.T) {
	p, blobs := packer(t), memory{}
	first, blob, err := p.Encode(tree(2000, 0), nil)
	if err != nil || blob[len(magicManifest)] != versionFirst {
		t.Fatalf("without names: version %d, %v", blob[len(magicManifest)], err)
	}
	blobs.put(blob)
	next := &Tree{Packs: slices.Clone(first.Packs), Entries: slices.Clone(first.Entries)}
	next.Entries = append(next.Entries, Entry{Path: "name", Kind: Name, Target: "d0000/f0"})
	slices.SortFunc(next.Entries, func(a, b Entry) int { return Compare(a.Path, b.Path) })
	second, blob, err := p.Encode(next, first)
	if err != nil || blob[len(magicManifest)] != versionNames {
		t.Fatalf("with one: version %d, %v", blob[len(magicManifest)], err)
	}
	loaded, err := Load(t.Context(), blobs.get, blobs.put(blob))
	if err != nil {
		t.Fatal(err)
	}
	files, bytes := first.Totals()
	if n, b := loaded.Totals(); n != files+1 || b != bytes {
		t.Errorf("%d files of %d bytes, with a further name %d of %d", files, bytes, n, b)
	}
	// A change that takes the file and leaves its name is none.
	lost := document{change: true, base: second.Digest, entries: []Entry{{Path: "d0000/f0", Kind: gone}}}
	if _, err := Load(t.Context(), blobs.get, blobs.put(hostile(t, lost))); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a name whose file is gone: %v", err)
	}
}

// TestATreeThatOlderReadersAreToRefuse: it is whole, and in the version that they don't know, also over a base that says the same.
func TestATreeThatOlderReadersAreToRefuse(t *testing.T) {
	p, blobs := packer(t), memory{}
	first, _, err := p.Encode(tree(500, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, base := range map[string]*Stored{"alone": nil, "over a base": first} {
		next := tree(500, 0)
		next.Second = true
		stored, blob, err := p.Encode(next, base)
		if err != nil || blob == nil || blob[len(magicManifest)] != versionNames || len(stored.Chain) != 1 {
			t.Fatalf("%s: %.8q, %v", name, blob, err)
		}
		loaded, err := Load(t.Context(), blobs.get, blobs.put(blob))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first.Tree, loaded.Tree); diff != "" {
			t.Errorf("%s: it is read as another tree: %s", name, diff)
		}
	}
}

func TestEndlessChain(t *testing.T) {
	blobs := memory{}
	digest := blobs.put(hostile(t, document{entries: []Entry{{Path: "a", Kind: Directory}}}))
	for i := range MaxChain {
		if _, err := Load(t.Context(), blobs.get, digest); err != nil {
			t.Fatalf("a chain of %d: %v", i+1, err)
		}
		base, _ := ParseSum(digest)
		digest = blobs.put(hostile(t, document{change: true, base: base, entries: []Entry{{Path: fmt.Sprintf("b%d", i), Kind: Directory}}}))
	}
	_, err := Load(t.Context(), blobs.get, digest)
	if stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a chain above the limit: %v", err)
	}
	for _, digest := range []string{"", "..", strings.Repeat("A", 64), strings.Repeat("a", 63)} {
		if _, err := Load(t.Context(), blobs.get, digest); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%q: %v", digest, err)
		}
	}
}

// FuzzManifest: whatever the bytes are, reading them ends in a tree that keeps the rules and can be
// stored again, or in KindInvalid.
func FuzzManifest(f *testing.F) {
	p := packer(f)
	for _, t := range []*Tree{{}, tree(3, 0), tree(120, 1)} {
		f.Add(document{packs: t.Packs, entries: t.Entries}.encode(), []byte{})
	}
	f.Add(document{entries: []Entry{{Path: "a", Kind: File}, {Path: "b", Kind: Name, Target: "a"}}}.encode(), []byte{})
	base := tree(60, 0)
	stored, _, err := p.whole(base)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(document{packs: base.Packs, entries: base.Entries}.encode(), difference(tree(70, 2), stored).encode()[1+len(Sum{}):])
	u, err := NewUnpacker(1)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, whole, change []byte) {
		blobs := memory{}
		digest := blobs.put(p.wrap(magicManifest, versionFirst, whole))
		if len(change) > 0 {
			base, _ := ParseSum(digest)
			digest = blobs.put(p.wrap(magicManifest, versionFirst, append(append([]byte{1}, base[:]...), change...)))
		}
		loaded, err := Load(t.Context(), blobs.get, digest)
		if err != nil {
			if stead.KindOf(err) != stead.KindInvalid && stead.KindOf(err) != stead.KindNotFound {
				t.Fatalf("%v", err)
			}
			return
		}
		_ = loaded.Live()
		again, blob, err := p.Encode(&loaded.Tree, nil)
		if err != nil {
			t.Fatalf("what was read can't be stored: %v", err)
		}
		back, err := Load(t.Context(), memory{again.Digest.String(): blob}.get, again.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(document{packs: again.Packs, entries: again.Entries}.encode(), document{packs: back.Packs, entries: back.Entries}.encode()) {
			t.Fatalf("what was stored comes back otherwise: %s", cmp.Diff(again.Tree, back.Tree))
		}
		_, _ = decode(whole) // as a blob itself, too
		if content, err := u.Unpack(whole, 1000, nil); err == nil && len(content) != 1000 {
			t.Fatalf("%d bytes unpacked", len(content))
		}
	})
}
