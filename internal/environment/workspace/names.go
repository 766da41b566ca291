package workspace

import (
	"slices"

	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// A file with several names is stored once, under the first of them in order; the others lead to that. Names that it has
// outside of the workspace are nobody's business.

// furtherNames makes names of the nodes that are the same file as one before them, and returns which: node → that of the first name.
func furtherNames(nodes []node) map[int]int {
	first := map[uint64]int{} // inode → node
	others := map[int]int{}
	for i, n := range nodes {
		if n.kind != manifest.File || !n.known || n.stat.links < 2 {
			continue
		}
		f, ok := first[n.stat.ino]
		if !ok {
			first[n.stat.ino] = i
			continue
		}
		others[i] = f
		nodes[i].kind, nodes[i].target = manifest.Name, nodes[f].path
	}
	return others
}

// loosen makes files of the names that are no longer those of the file that was read, and returns them in order: they are to
// be read. read are the files that were, in order: of the others nothing has changed since the names were found.
func (d *Dir) loosen(v *view, others map[int]int, read []int) (loose []int) {
	nodes := v.nodes
	for i, f := range others {
		if _, ok := slices.BinarySearch(read, f); !ok {
			continue
		}
		if !v.gone[f] && nodes[f].stat.ino == nodes[i].stat.ino {
			info, err := d.root.Lstat(nodes[i].path)
			if vanished(err) {
				v.gone[i] = true
				continue
			}
			if err == nil {
				if s, ok := statOf(info); ok && s.ino == nodes[i].stat.ino {
					continue
				}
			}
		}
		nodes[i].kind, nodes[i].target = manifest.File, ""
		loose = append(loose, i)
	}
	slices.Sort(loose)
	return loose
}
