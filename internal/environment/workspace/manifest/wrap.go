package manifest

import (
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/zstd"

	"github.com/stead-dev/stead"
)

// A wrapped blob is
//
//	magic (7 bytes) · version (1) · method (1) · length of the content (uvarint) · content
//
// and its magic says what the content is.
const (
	magicManifest = "steadWM"
	magicPack     = "steadWP"

	versionFirst = 1
	versionNames = 2 // of manifests: with further names of files, or not for readers of the first

	methodPlain = 0 // as it is
	methodZstd  = 1 // one frame
)

// maxManifestBytes is the longest content of a manifest: a million files with names of 200 bytes.
const maxManifestBytes = 256 << 20

// A manifest may unpack to freeBytes in any case, and above that to maxRatio times its own length:
// a small blob can't fill the memory. Encoding keeps to it by leaving out the compression.
const (
	freeBytes = 4 << 20
	maxRatio  = 64
)

// window is how far back the compression looks: a pack is rarely longer, and each coder keeps
// this much memory.
const window = 4 << 20

// Packer compresses. It may be used by as many goroutines at once as it was made for; others wait.
type Packer struct{ encoder *zstd.Encoder }

// NewPacker makes a packer for a number of goroutines. Equal content has equal bytes as long as the
// compression is the same release.
func NewPacker(parallel int) (*Packer, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(parallel),
		zstd.WithWindowSize(window), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "make a compressor")
	}
	return &Packer{e}, nil
}

// Pack makes the blob of pieces that stand in content one behind another.
func (p *Packer) Pack(content []byte) []byte { return p.wrap(magicPack, versionFirst, content) }

func (p *Packer) wrap(magic string, version byte, content []byte) []byte {
	head := append([]byte(magic), version, methodZstd)
	head = binary.AppendUvarint(head, uint64(len(content)))
	out := p.encoder.EncodeAll(content, append(make([]byte, 0, len(head)+len(content)/2), head...))
	if packed := len(out) - len(head); packed >= len(content) || len(content) > allowed(packed) {
		out = append(out[:0], head...)
		out[len(magic)+1] = methodPlain
		out = append(out, content...)
	}
	return out
}

// allowed is how long the content of a compressed manifest may be.
func allowed(packed int) int { return max(freeBytes, maxRatio*packed) }

// Unpacker decompresses. It may be used by many goroutines.
type Unpacker struct{ decoder *zstd.Decoder }

// NewUnpacker makes an unpacker for a number of goroutines; Close gives its memory back.
func NewUnpacker(parallel int) (*Unpacker, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(parallel), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(maxManifestBytes))
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "make a decompressor")
	}
	return &Unpacker{d}, nil
}

// Close gives the memory back.
func (u *Unpacker) Close() { u.decoder.Close() }

// Unpack returns the pieces of a pack that must have size bytes together. into is used when it is
// long enough.
func (u *Unpacker) Unpack(blob []byte, size int, into []byte) ([]byte, error) {
	if size < 0 || size > MaxPackBytes {
		return nil, invalid("a pack of %d bytes; the limit is %d", size, MaxPackBytes)
	}
	content, err := u.unwrap(magicPack, blob, size, into)
	if err == nil && len(content) != size {
		err = invalid("a pack has %d bytes instead of %d", len(content), size)
	}
	return content, err
}

func (u *Unpacker) unwrap(magic string, blob []byte, limit int, into []byte) ([]byte, error) {
	if len(blob) < len(magic)+2 || string(blob[:len(magic)]) != magic {
		return nil, invalid("a blob begins with %.9q", blob)
	}
	newest := byte(versionFirst)
	if magic == magicManifest {
		newest = versionNames
	}
	if v := blob[len(magic)]; v < versionFirst || v > newest {
		return nil, invalid("version %d is not known, those up to %d are", v, newest)
	}
	method, rest := blob[len(magic)+1], blob[len(magic)+2:]
	length, n := binary.Uvarint(rest)
	if n <= 0 || length > uint64(limit) {
		return nil, invalid("a content of %d bytes; the limit is %d", length, limit)
	}
	rest = rest[n:]
	switch method {
	case methodPlain:
		if uint64(len(rest)) != length {
			return nil, invalid("a content has %d bytes instead of %d", len(rest), length)
		}
		return rest, nil
	case methodZstd:
		if magic == magicManifest && length > uint64(allowed(len(rest))) {
			return nil, invalid("%d bytes that unpack to %d", len(rest), length)
		}
		return u.inflate(rest, int(length), into)
	}
	return nil, invalid("the method of compression %d is not known", method)
}

// inflate never makes more than length bytes: the decoder stops at the capacity.
func (u *Unpacker) inflate(packed []byte, length int, into []byte) ([]byte, error) {
	if cap(into) < length {
		into = make([]byte, 0, length)
	}
	out, err := u.decoder.DecodeAll(packed, into[:0:length])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || err == nil && len(out) != length {
		return nil, invalid("a content that does not have the %d bytes that it claims", length)
	}
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "this is no checkpoint of a workspace: a content can't be unpacked")
	}
	return out, nil
}
