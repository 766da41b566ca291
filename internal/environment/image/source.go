package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stead-dev/stead"
)

// maxIndexDepth is how deep indexes may lie in indexes.
const maxIndexDepth = 4

// source is where an image comes from.
type source struct {
	pinned string // digest of the manifest, if the source names one: it never means another image
	open   func(context.Context) (v1.Image, error)
}

func (s *Store) parse(text string) (source, error) {
	if dir, ok := strings.CutPrefix(text, "oci:"); ok {
		return source{open: func(context.Context) (v1.Image, error) { return s.openLayout(dir) }}, nil
	}
	if file, ok := strings.CutPrefix(text, "docker-archive:"); ok {
		return source{open: func(context.Context) (v1.Image, error) { return openTarball(file) }}, nil
	}
	ref, err := name.ParseReference(strings.TrimPrefix(text, "docker://"))
	if err != nil {
		e := stead.Invalid("image", "%.200q is no image", text)
		e.Hint, e.Err = "Name a registry's image (debian:bookworm-slim), oci:DIRECTORY or docker-archive:FILE.", err
		return source{}, e
	}
	src := source{open: func(ctx context.Context) (v1.Image, error) { return s.openRegistry(ctx, ref) }}
	if d, ok := ref.(name.Digest); ok {
		src.pinned = d.DigestStr()
	}
	return src, nil
}

func (s *Store) openLayout(dir string) (v1.Image, error) {
	path, err := layout.FromPath(dir)
	if err != nil {
		return nil, sourceError(err, "the OCI layout", dir)
	}
	index, err := path.ImageIndex()
	if err != nil {
		return nil, sourceError(err, "the OCI layout", dir)
	}
	img, err := s.fromIndex(index, 1)
	if err != nil {
		return nil, err
	}
	return img, nil
}

// fromIndex takes the image for our platform, or the only one that there is.
func (s *Store) fromIndex(index v1.ImageIndex, depth int) (v1.Image, error) {
	if depth > maxIndexDepth {
		return nil, stead.Invalid("image", "indexes lie more than %d deep in each other", maxIndexDepth)
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the image's index can't be read")
	}
	d, err := s.choose(m.Manifests)
	if err != nil {
		return nil, err
	}
	if d.MediaType.IsIndex() {
		inner, err := index.ImageIndex(d.Digest)
		if err != nil {
			return nil, stead.Wrap(stead.KindInvalid, err, "the image's index can't be read")
		}
		return s.fromIndex(inner, depth+1)
	}
	img, err := index.Image(d.Digest)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the image's manifest can't be read")
	}
	raw, err := img.RawManifest()
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the image's manifest can't be read")
	}
	return img, verify(raw, d.Digest, "manifest")
}

// choose picks from an index: the manifest whose platform is ours; else the only one without a
// platform, which is how most tools write a layout of one image.
func (s *Store) choose(list []v1.Descriptor) (v1.Descriptor, error) {
	var open []v1.Descriptor
	var offered []string
	for _, d := range list {
		switch {
		case !d.MediaType.IsImage() && !d.MediaType.IsIndex():
		case d.Platform == nil || d.Platform.OS == "":
			open = append(open, d)
		case d.Platform.OS == "linux" && d.Platform.Architecture == s.opts.Arch:
			return d, nil
		default:
			offered = append(offered, d.Platform.OS+"/"+d.Platform.Architecture)
		}
	}
	if len(open) == 1 {
		return open[0], nil
	}
	e := stead.Errorf(stead.KindNotFound, "the index has no image for linux/%s", s.opts.Arch)
	if len(open) > 1 {
		e = stead.Invalid("image", "the index has %d images and does not say for which platform", len(open))
	} else if len(offered) > 0 {
		e.Hint = "It has images for " + strings.Join(offered, ", ") + "."
	}
	return v1.Descriptor{}, e
}

func openTarball(file string) (v1.Image, error) {
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		return nil, sourceError(err, "the image archive", file)
	}
	return archived{img}, nil
}

func sourceError(err error, what, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		if _, missing := os.Stat(path); missing != nil {
			return stead.Wrap(stead.KindNotFound, err, "%s %s is not there", what, path)
		}
	}
	return stead.Wrap(stead.KindInvalid, err, "%s %s can't be read", what, path)
}

// configOf returns the image's id and its configuration, once each is what the manifest names.
func configOf(img v1.Image) (v1.Hash, *v1.ConfigFile, error) {
	raw, err := img.RawConfigFile()
	if err != nil {
		return v1.Hash{}, nil, kept(err, "the image's configuration can't be read")
	}
	if len(raw) > MaxManifestBytes {
		return v1.Hash{}, nil, stead.Errorf(stead.KindTooLarge, "the image's configuration is larger than %d bytes", MaxManifestBytes)
	}
	sum := sha256.Sum256(raw)
	id := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	named, err := img.ConfigName()
	if err != nil {
		return v1.Hash{}, nil, kept(err, "the image's manifest can't be read")
	}
	if named != id {
		return v1.Hash{}, nil, stead.Invalid("image", "the image's configuration is not the one that its manifest names")
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return v1.Hash{}, nil, stead.Wrap(stead.KindInvalid, err, "the image's configuration is not valid")
	}
	if config.OS != "" && config.OS != "linux" {
		return v1.Hash{}, nil, stead.Invalid("image", "the image is for %.40q, not for linux", config.OS)
	}
	return id, config, nil
}

// verify compares bytes with the digest under which they were asked for.
func verify(data []byte, want v1.Hash, what string) error {
	sum := sha256.Sum256(data)
	if want.Algorithm != "sha256" || want.Hex != hex.EncodeToString(sum[:]) {
		return stead.Invalid("image", "the image's %s is not the one that was asked for by digest", what)
	}
	return nil
}

// kept returns an error that has a kind as it is: those of the registry pass through the library.
func kept(err error, what string) error {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e
	}
	return stead.Wrap(stead.KindInvalid, err, "%s", what)
}

// isIndex looks into a document, since registries have been seen to say nothing useful about it.
func isIndex(t types.MediaType, raw []byte) bool {
	if t.IsIndex() {
		return true
	}
	var m struct {
		MediaType types.MediaType  `json:"mediaType"`
		Manifests []map[string]any `json:"manifests"`
	}
	return json.Unmarshal(raw, &m) == nil && (m.MediaType.IsIndex() || m.MediaType == "" && m.Manifests != nil)
}
