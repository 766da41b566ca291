package workspace

import (
	"bytes"
	"context"
	"path"
	"slices"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// Files that must be forgotten are taken out of checkpoints that have them, also of old ones. A checkpoint is named by what it
// holds, so that another one takes its place: the same tree without these files, in packs whose bytes of theirs are zeros. All
// else in a pack stays where it is.
//
//	all checkpoints ─▶ which pieces are forgotten, which are needed ─▶ packs with nothing else ─▶ manifests, each over the one before

// Forget makes checkpoints of one session without what must be forgotten, in their order, the earlier ones first. It stores what is
// new and removes nothing. Again it makes the same. What shares its bytes with a file that is forgotten (an exact copy) goes as well.
func Forget(ctx context.Context, blobs environment.Blobs, checkpoints []string, f environment.Forgetting) ([]environment.Rewritten, error) {
	g := &forgetter{
		ctx: ctx, blobs: blobs, f: f, looked: map[manifest.Sum]bool{}, judged: map[judged]bool{}, gone: map[manifest.Sum]bool{},
		needs: map[manifest.Pack]map[stretch]bool{}, moved: map[manifest.Pack]manifest.Pack{}, own: map[manifest.Sum]bool{},
	}
	var err error
	if g.unpacker, err = manifest.NewUnpacker(1); err != nil {
		return nil, err
	}
	defer g.unpacker.Close()
	if g.packer, err = manifest.NewPacker(1); err != nil {
		return nil, err
	}
	for _, c := range checkpoints {
		if err := g.look(c); err != nil {
			return nil, err
		}
	}
	if err := g.clear(); err != nil {
		return nil, err
	}
	out := make([]environment.Rewritten, len(checkpoints))
	for i, c := range checkpoints {
		if out[i], err = g.rewrite(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type forgetter struct {
	ctx      context.Context
	blobs    environment.Blobs
	f        environment.Forgetting
	packer   *manifest.Packer
	unpacker *manifest.Unpacker

	looked map[manifest.Sum]bool              // manifests
	judged map[judged]bool                    // files
	gone   map[manifest.Sum]bool              // pieces of files that are forgotten, by their hashes
	needs  map[manifest.Pack]map[stretch]bool // what any checkpoint has in a pack
	moved  map[manifest.Pack]manifest.Pack    // packs that are replaced
	own    map[manifest.Sum]bool              // manifest → its tree, as it stands there, stays as it is
	before *manifest.Stored                   // the checkpoint before, as it is now

	pack    manifest.Pack // whose content is
	content []byte
}

// judged is a file as Forgetting.Is sees it.
type judged struct {
	name string
	hash manifest.Sum
}

// stretch is a piece's place in a pack.
type stretch struct {
	offset, length int
	hash           manifest.Sum
}

func (g *forgetter) load(digest string) (*manifest.Stored, error) {
	return manifest.Load(g.ctx, g.blobs.Get, digest)
}

// look looks through a checkpoint, and those that it is a change of: of these not all are known to the journal.
func (g *forgetter) look(digest string) error {
	for {
		stored, err := g.load(digest)
		if err != nil {
			return err
		}
		if g.looked[stored.Digest] {
			return nil
		}
		g.looked[stored.Digest] = true
		for _, e := range stored.Entries {
			if err := g.entry(stored.Tree, e); err != nil {
				return err
			}
		}
		if len(stored.Chain) == 1 {
			return nil
		}
		digest = stored.Chain[1].String()
	}
}

// entry notes the places of a file's pieces, and whether they are forgotten.
func (g *forgetter) entry(t manifest.Tree, e manifest.Entry) error {
	for _, p := range e.Parts {
		if p.Pack == manifest.Hole {
			continue
		}
		in := g.needs[t.Packs[p.Pack]]
		if in == nil {
			in = map[stretch]bool{}
			g.needs[t.Packs[p.Pack]] = in
		}
		in[stretch{p.Offset, int(p.Length), p.Hash}] = true
	}
	// What is so small is one piece: MaxBytes is less than the longest one.
	if e.Kind != manifest.File || len(e.Parts) != 1 || e.Parts[0].Pack == manifest.Hole || !g.f.May(e.Path, e.Size) {
		return nil
	}
	part := e.Parts[0]
	as := judged{path.Base(e.Path), part.Hash}
	is, known := g.judged[as]
	if !known {
		content, err := g.read(t.Packs[part.Pack])
		if err != nil {
			return err
		}
		_, is = g.f.Is(as.name, content[part.Offset:part.Offset+int(part.Length)])
		g.judged[as] = is
	}
	if is {
		g.gone[part.Hash] = true
	}
	return nil
}

// read is the content of a pack, until the next call.
func (g *forgetter) read(p manifest.Pack) ([]byte, error) {
	if g.content != nil && g.pack == p {
		return g.content, nil
	}
	blob, err := g.blobs.Get(g.ctx, p.Digest.String())
	if err == nil {
		g.content, err = g.unpacker.Unpack(blob, p.Size, nil)
	}
	if g.pack = p; err != nil {
		g.content = nil
	}
	return g.content, err
}

// clear replaces the packs that have more than what stays: pieces that are forgotten, and bytes of which nobody knows what they were, since
// the checkpoint that needed them is not in the journal.
func (g *forgetter) clear() error {
	for p, in := range g.needs {
		bytesLeft := 0
		for s := range in {
			if g.gone[s.hash] {
				delete(in, s)
			} else {
				bytesLeft += s.length
			}
		}
		if bytesLeft == p.Size { // pieces don't overlap
			continue
		}
		if len(in) == 0 {
			g.moved[p] = manifest.Pack{} // nobody needs it
			continue
		}
		content, err := g.read(p)
		if err != nil {
			return err
		}
		stay := make([]byte, p.Size)
		for s := range in {
			copy(stay[s.offset:s.offset+s.length], content[s.offset:])
		}
		if bytes.Equal(stay, content) {
			continue
		}
		digest, err := g.blobs.Put(g.ctx, g.packer.Pack(stay))
		if err != nil {
			return err
		}
		sum, err := manifest.ParseSum(digest)
		if err != nil {
			return err
		}
		g.moved[p] = manifest.Pack{Digest: sum, Size: p.Size}
	}
	return nil
}

// rewrite makes the checkpoint that takes another one's place.
func (g *forgetter) rewrite(digest string) (environment.Rewritten, error) {
	stored, err := g.load(digest)
	if err != nil {
		return environment.Rewritten{}, err
	}
	stays, err := g.stays(stored)
	if err != nil {
		return environment.Rewritten{}, err
	}
	files := 0
	if !stays {
		tree := g.without(stored.Tree)
		files = len(stored.Entries) - len(tree.Entries)
		var blob []byte
		if stored, blob, err = g.packer.Encode(tree, g.before); err == nil && blob != nil {
			_, err = g.blobs.Put(g.ctx, blob)
		}
		if err != nil {
			return environment.Rewritten{}, err
		}
	}
	g.before = stored
	out := environment.Rewritten{Files: files, Checkpoint: environment.Checkpoint{Digest: stored.Digest.String()}}
	out.Checkpoint.Files, out.Checkpoint.Bytes = stored.Totals()
	out.Needs = references(stored)
	return out, nil
}

// stays reports whether a checkpoint has nothing of it: neither its tree, nor one that it is a change of.
func (g *forgetter) stays(stored *manifest.Stored) (bool, error) {
	for i, sum := range stored.Chain {
		if _, known := g.own[sum]; !known {
			one := stored
			if i > 0 {
				var err error
				if one, err = g.load(sum.String()); err != nil {
					return false, err
				}
			}
			g.own[sum] = g.untouched(one.Tree)
		}
		if !g.own[sum] {
			return false, nil
		}
	}
	return true, nil
}

func (g *forgetter) untouched(t manifest.Tree) bool {
	return !slices.ContainsFunc(t.Packs, func(p manifest.Pack) bool { _, moved := g.moved[p]; return moved }) && !slices.ContainsFunc(t.Entries, g.forgets)
}

// forgets reports whether a file has a piece that is forgotten.
func (g *forgetter) forgets(e manifest.Entry) bool {
	return slices.ContainsFunc(e.Parts, func(p manifest.Part) bool { return p.Pack != manifest.Hole && g.gone[p.Hash] })
}

// without is a tree without the files that are forgotten, and their further names.
func (g *forgetter) without(t manifest.Tree) *manifest.Tree {
	out := &manifest.Tree{Packs: slices.Clone(t.Packs), Entries: make([]manifest.Entry, 0, len(t.Entries))}
	for i, p := range out.Packs {
		if to, moved := g.moved[p]; moved {
			out.Packs[i] = to
		}
	}
	gone := map[string]bool{}
	for _, e := range t.Entries {
		if g.forgets(e) || e.Kind == manifest.Name && gone[e.Target] {
			gone[e.Path] = true
			continue
		}
		out.Entries = append(out.Entries, e)
	}
	return out
}
