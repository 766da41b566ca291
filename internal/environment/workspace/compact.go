package workspace

import (
	"cmp"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// Packs hold what was new together; as files change, they are needed less and less, and there are more
// and more. A checkpoint that stores something new anyway moves the pieces that are still needed out
// of some of them:
const (
	// wasted: packs of which less than this part is needed, in percent.
	wastedPercent = 50
	// compactBytes is the most that is moved for waste at a time.
	compactBytes = 8 << 20
	// small packs are joined when there are manySmall: each byte is moved once per size class.
	smallBytes = 256 << 10
	manySmall  = 16
)

// victims chooses the packs whose pieces are moved. live is what is needed of each.
func victims(packs []manifest.Pack, live []int) []int {
	var chosen, small []int
	for i, p := range packs {
		switch {
		case live[i] == 0: // nothing to move
		case live[i]*100 < p.Size*wastedPercent:
			chosen = append(chosen, i)
		case p.Size < smallBytes:
			small = append(small, i)
		}
	}
	slices.SortStableFunc(chosen, func(a, b int) int { return cmp.Compare(live[a], live[b]) })
	moved := 0
	for i, v := range chosen {
		if moved += live[v]; moved > compactBytes {
			chosen = chosen[:i]
			break
		}
	}
	if len(small) >= manySmall {
		chosen = append(chosen, small...)
	}
	return chosen
}

// compact moves pieces of old packs into new ones. A pack that can't be read stays where it is: what
// is wrong with it shows when it is needed.
func (s *storer) compact(entries []manifest.Entry) error {
	packs := s.basePacks()
	needed := make([][]manifest.Part, len(packs)) // with their places, in the order of their use
	live := make([]int, len(packs))
	counted := map[manifest.Sum]bool{}
	for _, e := range entries {
		for _, p := range e.Parts {
			at, old := s.places[p.Hash]
			if _, moved := s.fresh[p.Hash]; !old || moved || p.Pack == manifest.Hole || counted[p.Hash] {
				continue
			}
			counted[p.Hash] = true
			p.Pack, p.Offset = at.pack, at.offset
			needed[at.pack] = append(needed[at.pack], p)
			live[at.pack] += int(p.Length)
		}
	}
	chosen := victims(packs, live)
	if len(chosen) == 0 {
		return nil
	}
	u, err := manifest.NewUnpacker(1)
	if err != nil {
		return err
	}
	defer u.Close()
	for _, v := range chosen {
		content, err := s.read(u, packs[v])
		if err != nil {
			if stead.KindOf(err) == stead.KindUnavailable {
				return err
			}
			continue
		}
		for _, p := range needed[v] {
			data := content[p.Offset : p.Offset+int(p.Length)]
			if part, _ := pieceOf(data); part.Hash != p.Hash {
				continue
			}
			if err := s.put(p.Hash, data); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *storer) read(u *manifest.Unpacker, p manifest.Pack) ([]byte, error) {
	blob, err := s.blobs.Get(s.ctx, p.Digest.String())
	if err != nil {
		return nil, err
	}
	return u.Unpack(blob, p.Size, nil)
}
