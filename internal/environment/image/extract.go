package image

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-dev/stead"
)

// extract unpacks an image into a temporary directory and renames it.
func (s *Store) extract(ctx context.Context, id v1.Hash, config *v1.ConfigFile, img v1.Image) (Image, error) {
	var random [8]byte
	rand.Read(random[:]) // never fails
	tmp := tmpPrefix + hex.EncodeToString(random[:])
	out, err := s.extractTo(ctx, tmp, id, config, img)
	if err == nil {
		err = unavailable(s.publish(tmp, id.Hex), "store image")
	}
	if err != nil {
		_ = s.root.RemoveAll(tmp) // best effort: the first error matters, and a restart sweeps
		return Image{}, err
	}
	out.Dir = filepath.Join(s.dir, id.Hex, rootfsName)
	return out, nil
}

func (s *Store) extractTo(ctx context.Context, tmp string, id v1.Hash, config *v1.ConfigFile, img v1.Image) (Image, error) {
	if err := s.root.MkdirAll(filepath.Join(tmp, rootfsName), dirMode); err != nil {
		return Image{}, unavailable(err, "store image")
	}
	rootfs, err := s.root.OpenRoot(filepath.Join(tmp, rootfsName))
	if err != nil {
		return Image{}, unavailable(err, "store image")
	}
	defer rootfs.Close()
	a := &applier{ctx: ctx, root: rootfs, limits: s.opts.Limits}
	if err := applyAll(a, config, img); err != nil {
		return Image{}, err
	}
	for _, name := range mountPoints() {
		if err := a.makeDir(name); err != nil {
			return Image{}, err
		}
	}
	out := Image{
		ID: id.String(), Env: envOf(config.Config.Env), WorkingDir: config.Config.WorkingDir,
		Files: a.files, Bytes: a.bytes, Skipped: a.skipped,
	}
	if !path.IsAbs(out.WorkingDir) {
		out.WorkingDir = ""
	}
	data, err := json.Marshal(out)
	if err != nil {
		return Image{}, stead.Wrap(stead.KindInternal, err, "encode %s", metadataName)
	}
	return out, unavailable(s.root.WriteFile(filepath.Join(tmp, metadataName), data, 0o644), "store image")
}

// publish gives a whole image its name. The bytes are not synced one by one: the directory is a
// cache, and the sync of the file system below makes them durable before the name, at once.
func (s *Store) publish(tmp, name string) error {
	if err := syncFileSystem(s.dir); err != nil {
		return err
	}
	// What is there without image.json is a half image of a file system that lost it in a crash.
	if err := s.root.RemoveAll(name); err != nil {
		return err
	}
	if err := s.root.Rename(tmp, name); err != nil {
		return err
	}
	d, err := s.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func applyAll(a *applier, config *v1.ConfigFile, img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return kept(err, "the image's layers can't be read")
	}
	diffs := config.RootFS.DiffIDs
	if len(layers) != len(diffs) {
		return stead.Invalid("image", "the image has %d layers, and its configuration names %d", len(layers), len(diffs))
	}
	if len(layers) > MaxLayers {
		return stead.Errorf(stead.KindTooLarge, "the image has %d layers, the limit is %d", len(layers), MaxLayers)
	}
	for i, l := range layers {
		if err := applyLayer(a, l, diffs[i], compressedSize(img, i)); err != nil {
			return err
		}
	}
	return nil
}

// compressedSize is what the manifest says of a layer, and what MaxRatio is counted from; 0 for an
// archive, whose manifest is not written down but would have to be made by compressing everything.
func compressedSize(img v1.Image, i int) int64 {
	if _, archive := img.(archived); archive {
		return 0
	}
	m, err := img.Manifest()
	if err != nil || i >= len(m.Layers) {
		return 0
	}
	return m.Layers[i].Size
}

// archived marks the image of an archive.
type archived struct{ v1.Image }

// applyLayer reads one layer to its end and checks that it was the one that the configuration names.
func applyLayer(a *applier, l v1.Layer, want v1.Hash, compressed int64) error {
	r, err := l.Uncompressed()
	if err != nil {
		return kept(err, "a layer of the image can't be read")
	}
	defer r.Close()
	sum := sha256.New()
	in := &boundedReader{ctx: a.ctx, r: io.TeeReader(r, sum), max: a.limits.Bytes - a.bytes + tarOverhead(a.limits.Files), limit: "MaxImageBytes"}
	if ratio := compressed * MaxRatio; compressed > 0 && max(ratio, RatioFreeBytes) < in.max {
		in.max, in.limit = max(ratio, RatioFreeBytes), "MaxRatio"
	}
	if err := a.apply(in); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // the padding behind the last entry is hashed too
		return readError(err)
	}
	if want.Algorithm != "sha256" || hex.EncodeToString(sum.Sum(nil)) != want.Hex {
		return stead.Invalid("image", "a layer of the image is not the one that its configuration names (%s)", want)
	}
	return nil
}

// tarOverhead is what a layer's stream may be longer than its files: headers and padding.
func tarOverhead(files int) int64 { return int64(files) * 2048 }

// boundedReader ends with an error at a limit and when its context has ended.
type boundedReader struct {
	ctx   context.Context
	r     io.Reader
	max   int64
	limit string // the constant's name
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, unavailable(err, "unpack image")
	}
	n, err := b.r.Read(p)
	if b.max -= int64(n); b.max < 0 {
		return 0, stead.Errorf(stead.KindTooLarge, "a layer of the image is larger than the limit %s allows", b.limit)
	}
	return n, err
}

// readError gives an error of reading a layer its kind: ours pass, a cut connection is worth another
// try, and the rest is a layer that is no archive.
func readError(err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return stead.Wrap(stead.KindUnavailable, err, "a layer of the image ended early")
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return unavailable(err, "unpack image")
	}
	if _, ok := errors.AsType[*os.LinkError](err); ok {
		return unavailable(err, "unpack image")
	}
	return stead.Wrap(stead.KindInvalid, err, "a layer of the image can't be read")
}
