package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// workDir is the name in the upper layer of what the overlay needs while it is mounted. The driver
// removes it.
const workDir = wire.WorkDir

func (l layout) layerDir(i int) string { return path.Join(l.dir, fmt.Sprintf("layer-%d", i)) }
func (l layout) upperDir() string      { return path.Join(l.dir, "upper") }

// placeLayers mounts layers with their owners translated. A layer that a server unpacked is its own,
// and root's inside as it is.
func (l layout) placeLayers(b wire.Boot) error {
	for i, dir := range b.Layers {
		if err := l.placeLayer(dir, l.layerDir(i), readOnly); err != nil {
			return fmt.Errorf("layer %s: %w", dir, err)
		}
	}
	if b.Upper == "" {
		return nil
	}
	if err := give(b.Upper, 0); err != nil {
		return fmt.Errorf("own the upper layer: %w", err)
	}
	if err := l.placeLayer(b.Upper, l.upperDir(), readWrite); err != nil {
		return fmt.Errorf("upper layer %s: %w", b.Upper, err)
	}
	return os.MkdirAll(path.Join(l.upperDir(), workDir), dirMode)
}

func (l layout) placeLayer(dir, target string, attributes uint64) error {
	o, err := ownerOfDir(dir)
	if err != nil {
		return err
	}
	t, err := cloneTree(dir, false)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.set(attributes); err != nil {
		return err
	}
	if o.uid >= diskID && !rootless() && !t.mapped(shifted(false), shifted(false)) {
		return errors.New("its file system can't show files with another owner")
	}
	if err := os.Mkdir(target, dirMode); err != nil {
		return err
	}
	return t.attach(target)
}

func layeredDirs() []string { return []string{"usr", "etc", "opt", "var"} }

func layered(name string) bool {
	for _, d := range layeredDirs() {
		if d == name {
			return true
		}
	}
	return false
}

// layer composes one directory of the root from the layers that have it, topmost first, and its base.
func (l layout) layer(b wire.Boot, name, base string) error {
	target := path.Join(l.root, name)
	var held []*os.File
	defer func() { closeFiles(held) }()
	hold := func(dir string) error {
		// Links are not followed: a layer is made by a set-up, and an image by anybody.
		f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			held = append(held, f)
		}
		return err
	}
	for i := range b.Layers {
		if err := hold(path.Join(l.layerDir(i), name)); err != nil {
			return fmt.Errorf("layer %s: %w", b.Layers[i], err)
		}
	}
	if len(held) == 0 && b.Upper == "" {
		if base == "" {
			return os.Mkdir(target, dirMode)
		}
		return show(base, target)
	}
	if base != "" {
		if err := hold(base); err != nil {
			return err
		}
	}
	if len(held) == 0 { // an overlay has at least one directory below
		empty := path.Join(l.dir, "empty-"+path.Base(name))
		if err := os.Mkdir(empty, dirMode); err != nil {
			return err
		}
		if err := hold(empty); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(target, dirMode); err != nil {
		return err
	}
	return l.overlay(b, name, held, target)
}

// overlay names its directories by descriptor: their paths may hold colons, and be long.
func (l layout) overlay(b wire.Boot, name string, lower []*os.File, target string) error {
	var dirs []string
	for _, f := range lower {
		dirs = append(dirs, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	var options string
	switch {
	case b.Upper != "":
		work := path.Join(workDir, strings.ReplaceAll(name, "/", "-"))
		f, err := l.makeUpper(name, work)
		if err != nil {
			return err
		}
		defer closeFiles(f)
		options = fmt.Sprintf("lowerdir=%s,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d", strings.Join(dirs, ":"), f[0].Fd(), f[1].Fd())
	case len(lower) == 1:
		// A layer alone, over nothing: there is nothing to lay it over.
		return bindFile(lower[0], target)
	default:
		flags |= unix.MS_RDONLY
		options = "lowerdir=" + strings.Join(dirs, ":")
	}
	// Marks in attributes that need no privilege, as the driver ns makes them: layers go from one to the
	// other.
	options += ",userxattr"
	return unix.Mount("overlay", target, "overlay", flags, options)
}

// makeUpper makes and opens directories of the upper layer, on the way to which there is no link.
func (l layout) makeUpper(names ...string) ([]*os.File, error) {
	root, err := os.OpenRoot(l.upperDir())
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var files []*os.File
	for _, name := range names {
		err := root.MkdirAll(name, dirMode)
		var f *os.File
		if err == nil {
			f, err = root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		}
		if err != nil {
			closeFiles(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}
