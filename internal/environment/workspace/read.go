package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

const (
	// readTries is how often a file is read that changes meanwhile. What the last try saw is taken:
	// a file that never rests is stored as a reader of that moment would have seen it.
	readTries = 3
	// batchBytes and batchFiles bound what one goroutine reads in one go.
	batchBytes = 1 << 20
	batchFiles = 256
	// batchesAhead is how many batches may wait, read, for the one before them. With the largest
	// pieces it bounds the memory.
	batchesAhead = 4
	// piecesAhead is how many pieces of a large file may wait.
	piecesAhead = 4
)

// found is a message about a file that is read: pieces between a begin and an end. A second begin
// starts the file over.
type found struct {
	file       int // index in the nodes
	begin, end bool
	gone       bool
	part       manifest.Part // Length 0: none; its place is not known yet
	data       []byte        // of a part that is no hole
	node       node          // with end: as it was when it was read
}

// batch is a run of files that one goroutine reads. found has room for all messages of small files, so
// that nobody waits for a batch's turn with an idle processor.
type batch struct {
	files []int
	found chan found
	err   error // valid once found is closed
}

// batches divides files in their order, so that equal trees make equal packs.
func batches(nodes []node, files []int) []*batch {
	var all []*batch
	for len(files) > 0 {
		n, bytes := 0, int64(0)
		for n < len(files) && n < batchFiles && (n == 0 || bytes+nodes[files[n]].size <= batchBytes) {
			bytes += nodes[files[n]].size
			n++
		}
		room := n
		if bytes > batchBytes {
			room = piecesAhead
		}
		all = append(all, &batch{files: files[:n], found: make(chan found, room)})
		files = files[n:]
	}
	return all
}

// readAll reads batches in parallel and passes on what they find in order.
func (d *Dir) readAll(ctx context.Context, nodes []node, files []int, parallel int, take func(found) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	all := batches(nodes, files)
	next, ahead := make(chan *batch), make(chan struct{}, parallel+batchesAhead)
	for range min(parallel, len(all)) {
		wg.Go(func() {
			for b := range next {
				b.err = d.readBatch(ctx, nodes, b)
				close(b.found)
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for _, b := range all {
			select {
			case ahead <- struct{}{}:
			case <-ctx.Done():
				return
			}
			select {
			case next <- b:
			case <-ctx.Done():
				return
			}
		}
	})
	for _, b := range all {
		for f := range b.each(ctx) {
			if err := take(f); err != nil {
				return err
			}
		}
		if err := ended(ctx); err != nil {
			return err
		}
		if b.err != nil {
			return b.err
		}
		<-ahead
	}
	return nil
}

// each yields a batch's messages until the last one, or until ctx ends.
func (b *batch) each(ctx context.Context) func(func(found) bool) {
	return func(yield func(found) bool) {
		for {
			select {
			case f, ok := <-b.found:
				if !ok || !yield(f) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (d *Dir) readBatch(ctx context.Context, nodes []node, b *batch) error {
	at := held{workspace: d}
	defer at.close()
	for _, i := range b.files {
		f, info, err := at.open(nodes[i].path)
		if err == nil {
			err = readOne(ctx, f, info, nodes[i], i, b.found)
			_ = f.Close() // opened to read: nothing can be lost
		}
		if vanished(err) || stead.KindOf(err) == stead.KindInvalid { // gone, or no file any more
			err = send(ctx, b.found, found{file: i, begin: true, gone: true, end: true})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// held is a directory that is held open while the files in it are opened one after another.
type held struct {
	workspace *Dir
	dir       string
	root      *os.Root
	file      *os.File // the same, where a descriptor is needed; nil: it was not yet
}

func (p *held) close() {
	if p.file != nil {
		_ = p.file.Close()
		p.file = nil
	}
	if p.root != nil {
		_ = p.root.Close()
		p.root = nil
	}
}

// enter opens a directory, or keeps the one that is open.
func (p *held) enter(dir string) (root *os.Root, err error) {
	if p.root != nil && p.dir == dir {
		return p.root, nil
	}
	p.close()
	if root, err = enter(p.workspace.root, dir); err == nil {
		p.dir, p.root = dir, root
	}
	return root, err
}

func (p *held) open(rel string) (f *os.File, info fs.FileInfo, err error) {
	root, err := p.enter(path.Dir(rel))
	if err == nil {
		f, info, err = openLocked(root, path.Base(rel))
	}
	if errors.Is(err, fs.ErrPermission) {
		err = p.workspace.unlocked(rel, func() error {
			f, info, err = openLocked(p.workspace.root, rel)
			return err
		})
	}
	return f, info, err
}

// readOne reads a file from one descriptor until it was still while it was read.
func readOne(ctx context.Context, f *os.File, info fs.FileInfo, n node, file int, out chan<- found) error {
	for try := 1; ; try++ {
		n.size, n.mtime, n.mode = info.Size(), nanoseconds(info.ModTime()), uint16(info.Mode().Perm())
		n.stat, n.known = statOf(info)
		last, err := readPieces(ctx, f, n, file, out)
		if err != nil {
			return err
		}
		after, err := f.Stat()
		if err != nil {
			return err
		}
		still := after.Size() == info.Size() && after.ModTime().Equal(info.ModTime())
		if s, known := statOf(after); known {
			still = still && s.ctime == n.stat.ctime
		}
		if still || try == readTries {
			n.known = n.known && still
			last.end, last.node = true, n
			return send(ctx, out, last)
		}
		info = after
	}
}

// readPieces sends all pieces of a file but the last, which it returns.
func readPieces(ctx context.Context, f *os.File, n node, file int, out chan<- found) (found, error) {
	last := found{file: file, begin: true}
	sparse := n.known && n.stat.blocks*diskBlockBytes < n.size
	for at := int64(0); at < n.size; {
		if last.part.Length > 0 {
			if err := send(ctx, out, last); err != nil {
				return last, err
			}
			last = found{file: file}
		}
		if sparse {
			if hole := holeAt(f, at, n.size); hole > 0 {
				last.part = manifest.Part{Length: hole, Pack: manifest.Hole}
				at += hole
				continue
			}
		}
		data := make([]byte, min(n.size-at, manifest.MaxPieceBytes))
		read, err := f.ReadAt(data, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return last, err
		}
		if read == 0 {
			break // it has become shorter
		}
		last.part, last.data = pieceOf(data[:read])
		at += int64(read)
	}
	return last, nil
}

// pieceOf hashes a piece; one of zeros alone is a hole, whoever wrote it.
func pieceOf(data []byte) (manifest.Part, []byte) {
	p := manifest.Part{Length: int64(len(data))}
	if allZero(data) {
		p.Pack = manifest.Hole
		return p, nil
	}
	p.Hash = sha256.Sum256(data)
	return p, data
}

func allZero(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}

// holeAt is how many whole pieces from here on are a hole in the file, in bytes.
func holeAt(f *os.File, at, size int64) int64 {
	data, ok := nextData(f, at, size)
	if !ok || data <= at {
		return 0
	}
	if data >= size {
		return size - at
	}
	return (data - at) / manifest.MaxPieceBytes * manifest.MaxPieceBytes
}

func send(ctx context.Context, out chan<- found, f found) error {
	select {
	case out <- f:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}
