package workspace

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// packBytes is how much content makes a pack full: a blob is one file that is synced, so that many
// small files cost few of them, and is read whole.
const packBytes = 4 << 20

// growBytes is how long a pack may grow little by little; then it gets the room of a full one.
const growBytes = 256 << 10

// storer puts what is new into packs, and at the end writes the manifest. Its methods are called by
// one goroutine.
type storer struct {
	ctx      context.Context
	cancel   context.CancelFunc
	blobs    environment.Blobs
	base     *manifest.Stored // nil: none
	places   map[manifest.Sum]place
	fresh    map[manifest.Sum]place // pieces that this checkpoint stores; their packs count on from base's
	packs    []*pack
	content  []byte // of the pack that is being filled
	layer    bool   // see CheckpointLayer
	parallel int
	packer   *manifest.Packer // made when it is needed
	slots    chan struct{}
	running  sync.WaitGroup

	mu     sync.Mutex
	err    error // the first
	stored int64
}

// pack is one that this checkpoint makes; digest is valid when it is stored.
type pack struct {
	size   int
	digest manifest.Sum
}

func newStorer(ctx context.Context, blobs environment.Blobs, base *manifest.Stored, places map[manifest.Sum]place, parallel int) *storer {
	s := &storer{blobs: blobs, base: base, places: places, fresh: map[manifest.Sum]place{}, parallel: parallel, slots: make(chan struct{}, parallel)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// wait ends what still runs.
func (s *storer) wait() {
	s.cancel()
	s.running.Wait()
}

func (s *storer) basePacks() []manifest.Pack {
	if s.base == nil {
		return nil
	}
	return s.base.Packs
}

// add stores a piece that is nowhere yet.
func (s *storer) add(p manifest.Part, data []byte) error {
	if p.Pack == manifest.Hole {
		return nil
	}
	if _, ok := s.places[p.Hash]; ok {
		return nil
	}
	return s.put(p.Hash, data)
}

// put stores a piece once, wherever else it is.
func (s *storer) put(hash manifest.Sum, data []byte) error {
	if _, ok := s.fresh[hash]; ok {
		return nil
	}
	s.fresh[hash] = place{len(s.basePacks()) + len(s.packs), len(s.content)}
	if need := len(s.content) + len(data); need > cap(s.content) && need > growBytes {
		s.content = append(make([]byte, 0, packBytes+manifest.MaxPieceBytes), s.content...)
	}
	s.content = append(s.content, data...)
	if len(s.content) < packBytes {
		return nil
	}
	p, content := s.close()
	select {
	case s.slots <- struct{}{}: // the memory of this many packs, and no more
	case <-s.ctx.Done():
		return s.failed(ended(s.ctx))
	}
	if err := s.ready(); err != nil {
		return err
	}
	s.running.Go(func() {
		defer func() { <-s.slots }()
		blob := s.packer.Pack(content)
		p.digest = sha256.Sum256(blob)
		s.send(blob)
	})
	return s.failed(nil)
}

// close ends the pack that is being filled.
func (s *storer) close() (*pack, []byte) {
	p, content := &pack{size: len(s.content)}, s.content
	s.packs, s.content = append(s.packs, p), nil
	return p, content
}

func (s *storer) ready() (err error) {
	if s.packer == nil {
		s.packer, err = manifest.NewPacker(s.parallel)
	}
	return err
}

func (s *storer) send(blob []byte) {
	if _, err := s.blobs.Put(s.ctx, blob); err != nil {
		_ = s.failed(err) // the caller of failed(nil) gets it
		s.cancel()
		return
	}
	s.mu.Lock()
	s.stored += int64(len(blob))
	s.mu.Unlock()
}

// failed records an error and returns the first one.
func (s *storer) failed(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	return s.err
}

func (s *storer) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored
}

// finish writes what is left and the manifest, side by side: until both are durable nobody hears of
// the checkpoint.
func (s *storer) finish(entries []manifest.Entry) (*manifest.Stored, error) {
	if len(s.fresh) > 0 {
		if err := s.compact(entries); err != nil {
			return nil, err
		}
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	s.running.Wait() // for the digests of all packs but the last
	if err := s.failed(nil); err != nil {
		return nil, err
	}
	if len(s.content) > 0 {
		p, content := s.close()
		last := s.packer.Pack(content)
		p.digest = sha256.Sum256(last)
		s.running.Go(func() { s.send(last) })
	}
	stored, blob, err := s.packer.Encode(s.tree(entries), s.base)
	if err != nil {
		return nil, err
	}
	if blob != nil {
		s.send(blob)
	}
	s.running.Wait()
	return stored, s.failed(nil)
}

// tree gives every part its place.
func (s *storer) tree(entries []manifest.Entry) *manifest.Tree {
	t := &manifest.Tree{Packs: append([]manifest.Pack(nil), s.basePacks()...), Entries: entries, Second: s.layer}
	for _, p := range s.packs {
		t.Packs = append(t.Packs, manifest.Pack{Digest: p.digest, Size: p.size})
	}
	for _, e := range entries {
		for i, p := range e.Parts {
			if p.Pack != manifest.Hole {
				at := s.where(p.Hash)
				e.Parts[i].Pack, e.Parts[i].Offset = at.pack, at.offset
			}
		}
	}
	return t
}

func (s *storer) where(hash manifest.Sum) place {
	if at, ok := s.fresh[hash]; ok {
		return at
	}
	return s.places[hash]
}
