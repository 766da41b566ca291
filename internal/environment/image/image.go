// Package image turns OCI images into directories that local drivers use as Root.Image.
//
// Shape of a Store's directory:
//
//	ROOT/IMAGE-ID/rootfs        the unpacked file system
//	             /image.json    what Get returns; written last: without it the directory is incomplete
//	ROOT/by-manifest/DIGEST     the image id that a manifest's digest led to
//	ROOT/tmp-…                  an extraction in progress, or what a crash left of one
//
// An image id is the SHA-256 of the image's configuration, which names the SHA-256 of every layer's
// uncompressed bytes: the same image from a registry, a layout and a tarball is one directory. Both
// are checked while the layers are read; only then is the directory renamed to its final name.
//
// Extraction: layers are applied bottom-up, whiteouts are honoured. Images are hostile input: all
// writes go through one os.Root, no symbolic link is ever followed (links are kept as they are, also
// those that point outside: whoever opens paths below rootfs must confine himself as well), hard
// links lead to regular files of the same image, devices and FIFOs are left out, set-uid, set-gid,
// sticky bits, extended attributes and owners are dropped: everything belongs to the server's user.
// A file that is named below a symbolic link is refused. The places where drivers mount something
// (workspace, services, /tmp, …) are made as real directories, if need be in place of a link.
//
// Units and limits: bytes; MaxImageBytes, MaxImageFiles, MaxLayers, MaxRatio, MaxManifestBytes,
// MaxNameBytes bound one image, before anything above them is on disk.
//
// Concurrency: a Store may be used from many goroutines. Requests for one image do one extraction:
// others wait for it. A directory belongs to one Store of one process.
//
// Errors: KindInvalid for a source that can't be read as an image or that breaks a rule above,
// KindNotFound for an image that is not there, KindForbidden when a registry wants other
// credentials, KindTooLarge above a limit, KindUnavailable for disks, networks and a ctx that ended.
//
// Source: the OCI image specification v1.1 (layer.md for whiteouts, image-layout.md) and the OCI
// distribution specification v1.1 for registries.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Limits of one image.
const (
	// MaxImageBytes is the most that all layers hold, unpacked and with what later layers replace.
	MaxImageBytes = 32 << 30
	// MaxImageFiles is the most entries of all layers together.
	MaxImageFiles = 1_000_000
	// MaxLayers is the most layers.
	MaxLayers = 256
	// MaxRatio is how many times larger than its compressed form a layer may be, once it is larger
	// than RatioFreeBytes: an honest root file system stays below 10, a bomb of gzip reaches 1000.
	MaxRatio       = 100
	RatioFreeBytes = 64 << 20
	// MaxManifestBytes is the largest manifest, index or configuration.
	MaxManifestBytes = 4 << 20
	// MaxNameBytes is the longest path in a layer, and the longest target of a link.
	MaxNameBytes = 4096
)

const (
	dirMode      = 0o755
	metadataName = "image.json"
	rootfsName   = "rootfs"
	aliasDir     = "by-manifest"
	tmpPrefix    = "tmp-"
)

// Image is an unpacked image.
type Image struct {
	ID         string            `json:"id"` // "sha256:…" of its configuration
	Dir        string            `json:"-"`  // absolute path of the root file system
	Env        map[string]string `json:"env"`
	WorkingDir string            `json:"working_dir"` // absolute, or ""
	Files      int               `json:"files"`       // entries that were applied
	Bytes      int64             `json:"bytes"`       // of files, with those that later layers replace
	Skipped    int               `json:"skipped"`     // devices and FIFOs that were left out
}

// Options say how a Store reads images. The zero value is ready.
type Options struct {
	// Transport makes the requests to registries, so that rules about where may be connected to
	// hold for them as well; nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Login returns the name and password for a registry's host, "" for none; nil: always none.
	Login func(host string) (user, password string)
	// Arch is Go's name of the processor that images are for; "": this machine's.
	Arch string
	// Limits lower the package's limits.
	Limits Limits
}

// Limits bound one image below the package's constants, which zero fields mean.
type Limits struct {
	Bytes int64
	Files int
}

// Store keeps unpacked images in a directory.
type Store struct {
	dir  string
	root *os.Root
	opts Options

	mu   sync.Mutex
	busy map[string]chan struct{} // image id → closed when the extraction under way has ended
}

// OpenStore opens the directory dir, which it makes if need be, and removes what a crash left in it.
func OpenStore(dir string, opts Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the image directory's path")
	}
	if err := os.MkdirAll(filepath.Join(dir, aliasDir), dirMode); err != nil {
		return nil, unavailable(err, "make image directory")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, unavailable(err, "open image directory")
	}
	s := &Store{dir: dir, root: root, opts: opts, busy: map[string]chan struct{}{}}
	if opts.Transport == nil {
		s.opts.Transport = http.DefaultTransport
	}
	if opts.Arch == "" {
		s.opts.Arch = runtime.GOARCH
	}
	s.opts.Limits.Bytes = lower(opts.Limits.Bytes, MaxImageBytes)
	s.opts.Limits.Files = lower(opts.Limits.Files, MaxImageFiles)
	if err := s.sweep(); err != nil {
		root.Close()
		return nil, unavailable(err, "sweep image directory")
	}
	return s, nil
}

func lower[T int | int64](limit, max T) T {
	if limit <= 0 || limit > max {
		return max
	}
	return limit
}

// Close lets the directory go. What was unpacked stays.
func (s *Store) Close() error { return s.root.Close() }

// sweep removes extractions that never ended.
func (s *Store) sweep() error {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			if err := s.root.RemoveAll(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Get returns an image, and unpacks it first if it is not there yet. source is "oci:DIR" (a layout
// directory), "docker-archive:FILE" (what `docker save` writes), or a reference to a registry, with
// or without "docker://". A reference with a digest is not asked about again once it is unpacked; a
// tag is, each time.
func (s *Store) Get(ctx context.Context, source string) (Image, error) {
	src, err := s.parse(source)
	if err != nil {
		return Image{}, err
	}
	if id, ok := s.alias(src.pinned); ok {
		if img, err := s.load(id); err == nil {
			return img, nil
		}
	}
	v, err := src.open(ctx)
	if err != nil {
		return Image{}, err
	}
	id, config, err := configOf(v)
	if err != nil {
		return Image{}, err
	}
	img, err := s.once(ctx, id, func() (Image, error) { return s.extract(ctx, id, config, v) })
	if err != nil {
		return Image{}, err
	}
	return img, s.remember(src.pinned, id)
}

// Remove deletes an unpacked image. The caller knows that no environment uses it.
func (s *Store) Remove(id string) error {
	h, err := v1.NewHash(id)
	if err != nil {
		return stead.Invalid("image", "%.80q is not an image id", id)
	}
	// It loses its name first: a crash between leaves a temporary directory and no half image.
	tmp := tmpPrefix + "removed-" + h.Hex
	if err := s.root.Rename(h.Hex, tmp); errors.Is(err, fs.ErrNotExist) {
		return stead.NotFound("image", id)
	} else if err != nil {
		return unavailable(err, "remove image")
	}
	return unavailable(s.root.RemoveAll(tmp), "remove image")
}

// once returns the image from disk, or makes it; for one id one at a time. A caller whose ctx ends
// stops waiting; when the one that extracts gives up, the next one tries.
func (s *Store) once(ctx context.Context, id v1.Hash, extract func() (Image, error)) (Image, error) {
	for {
		s.mu.Lock()
		other := s.busy[id.Hex]
		if other == nil {
			s.busy[id.Hex] = make(chan struct{})
		}
		s.mu.Unlock()
		if other == nil {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return Image{}, unavailable(ctx.Err(), "wait for the image")
		}
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.busy[id.Hex])
		delete(s.busy, id.Hex)
	}()
	if img, err := s.load(id.String()); err == nil || stead.KindOf(err) != stead.KindNotFound {
		return img, err
	}
	return extract()
}

// load reads a complete image from disk.
func (s *Store) load(id string) (Image, error) {
	h, err := v1.NewHash(id)
	if err != nil {
		return Image{}, stead.Invalid("image", "%.80q is not an image id", id)
	}
	data, err := s.root.ReadFile(filepath.Join(h.Hex, metadataName))
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, stead.NotFound("image", id)
	}
	if err != nil {
		return Image{}, unavailable(err, "read image")
	}
	var img Image
	if err := json.Unmarshal(data, &img); err != nil || img.ID != id {
		return Image{}, stead.Errorf(stead.KindInternal, "%s of image %s is damaged: remove the directory", metadataName, id)
	}
	img.Dir = filepath.Join(s.dir, h.Hex, rootfsName)
	return img, nil
}

// alias returns the id of the image that a manifest's digest is known to lead to.
func (s *Store) alias(manifest string) (string, bool) {
	h, err := v1.NewHash(manifest)
	if err != nil {
		return "", false
	}
	data, err := s.root.ReadFile(filepath.Join(aliasDir, h.Hex))
	return string(data), err == nil
}

// remember keeps an alias. It is a cache: one that a crash cut short is not an id, and asked again.
func (s *Store) remember(manifest string, id v1.Hash) error {
	h, err := v1.NewHash(manifest)
	if err != nil {
		return nil // nothing to remember: the source was not pinned
	}
	return unavailable(s.root.WriteFile(filepath.Join(aliasDir, h.Hex), []byte(id.String()), 0o644), "store image alias")
}

func unavailable(err error, what string) error {
	if err == nil {
		return nil
	}
	return stead.Wrap(stead.KindUnavailable, err, "%s", what)
}

// envOf reads the "NAME=value" list of a configuration.
func envOf(list []string) map[string]string {
	env := map[string]string{}
	for _, entry := range list {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			env[name] = value
		}
	}
	return env
}

// mountPoints are made in every image, so that drivers with a read-only root find them.
func mountPoints() []string {
	return []string{"dev", "etc", "proc", "sys", "tmp", "usr", "var", "run",
		environment.WorkspaceDir[1:], environment.ServicesDir[1:], environment.LayerDir[1:]}
}
