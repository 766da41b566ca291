package sqlite

import "encoding/binary"

// A page of a tree begins with its sort, the first block of its free list, how many cells it has, and where they begin; behind
// that, and for inner pages the number of another page, come the cells' places. What is between these and the cells is free, and so
// are the blocks of the list, each of which begins with the next one's place and its own size. No page of another sort, in a database
// of less than scrubbable pages, begins with one of the four numbers: overflow pages and free ones begin with a page's number.
//
// Source: https://sqlite.org/fileformat2.html#b_tree_pages

const (
	innerIndex, innerTable = 2, 5
	leafIndex, leafTable   = 10, 13

	leafHeader, innerHeader = 8, 12
	blockHeader             = 4
)

// wipe writes zeros into the free room of a page of a tree, and reports whether there was anything else. What it does not
// understand it leaves.
func wipe(page []byte) bool {
	if len(page) < innerHeader {
		return false
	}
	at := func(i int) int { return int(binary.BigEndian.Uint16(page[i:])) }
	header := leafHeader
	switch page[0] {
	case innerIndex, innerTable:
		header = innerHeader
	case leafIndex, leafTable:
	default:
		return false
	}
	const cellBytes, count, begin = 2, 3, 5
	places, cells := header+cellBytes*at(count), at(begin)
	if cells == 0 {
		cells = 1 << 16
	}
	if places > cells || cells > len(page) {
		return false
	}
	free := [][]byte{page[places:cells]}
	for block := at(1); block != 0; {
		if block < cells || block+blockHeader > len(page) {
			return false
		}
		next, size := at(block), at(block+2)
		if size < blockHeader || block+size > len(page) || next != 0 && next < block+size {
			return false
		}
		free = append(free, page[block+blockHeader:block+size])
		block = next
	}
	found := false
	for _, room := range free {
		for i, b := range room {
			if b != 0 {
				room[i], found = 0, true
			}
		}
	}
	return found
}
