package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/cmd/stead-gvisor/inside"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

const (
	// commandUID and its group are who commands are, inside, where owners can be mapped.
	commandUID = 1000
	// layoutBytes is the size of the memory file system that holds the skeleton.
	layoutBytes = 64 << 20
	dirMode     = 0o755
	fileMode    = 0o644
)

// layout is what the supervisor mounts, visible to itself and its children alone:
//
//	DIR/root     the root of the inside: binds and overlays in a skeleton; read-only as a whole
//	DIR/slot     shared with the gofer: what is mounted below it later appears inside
//	DIR/etc      the made-up /etc
//	DIR/layer-N  a layer, DIR/upper the upper one: with the owners that they have inside
//	DIR/bundle   config.json
//	DIR/state    gVisor's own files
type layout struct {
	dir, root, slot, etc, bundle, state string
	writable                            bool
}

func compose(b wire.Boot) (layout, error) {
	l := layout{
		dir: b.Dir, root: b.Dir + "/root", slot: b.Dir + "/slot", etc: b.Dir + "/etc",
		bundle: b.Dir + "/bundle", state: b.Dir + "/state", writable: b.Upper != "",
	}
	if err := private(); err != nil {
		return l, err
	}
	if err := unix.Mount("stead", l.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=0711,size=%d", layoutBytes)); err != nil {
		return l, fmt.Errorf("mount a memory file system: %w", err)
	}
	steps := []func() error{
		l.makeSlot,
		func() error { return l.placeLayers(b) },
		func() error { return l.makeEtc(b) },
		func() error { return l.makeRoot(b) },
		func() error { return l.makePlaces(b.Mounts) },
		func() error { return bind(l.root, l.root, 0) },
		l.closeRoot,
	}
	for _, dir := range []string{l.root, l.etc, l.bundle, l.state} {
		if err := os.Mkdir(dir, dirMode); err != nil {
			return l, err
		}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return l, err
		}
	}
	return l, nil
}

// makeSlot makes the place whose mounts reach the gofer.
func (l layout) makeSlot() error {
	for _, dir := range []string{l.slot, path.Join(l.slot, inside.SlotWorkspace), path.Join(l.slot, inside.SlotServices)} {
		if err := os.Mkdir(dir, dirMode); err != nil {
			return err
		}
	}
	if err := unix.Mount(l.slot, l.slot, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return unix.Mount("", l.slot, "", unix.MS_SHARED, "")
}

// makeRoot puts the image, or the host's /usr, into the skeleton, with layers over four of its
// directories.
func (l layout) makeRoot(b wire.Boot) error {
	base := hostRoot()
	if b.Image != "" {
		var err error
		if base, err = imageRoot(b.Image); err != nil {
			return err
		}
	} else {
		base["etc"] = l.etc
	}
	for name, source := range base {
		if layered(name) {
			continue
		}
		if err := show(source, path.Join(l.root, name)); err != nil {
			return err
		}
	}
	for _, name := range layeredDirs() {
		if err := l.layer(b, name, base[name]); err != nil {
			return fmt.Errorf("compose /%s: %w", name, err)
		}
	}
	if info, err := os.Lstat("/" + packageState); b.Upper != "" && b.Image == "" && err == nil && info.IsDir() {
		// The only part of the host's /var that is shown: so that a set-up's package manager can go on
		// from what it finds in /usr.
		if err := l.layer(b, packageState, "/"+packageState); err != nil {
			return fmt.Errorf("compose /%s: %w", packageState, err)
		}
	}
	return nil
}

// hostRoot is what of the host's root is shown: name → path.
func hostRoot() map[string]string {
	m := map[string]string{}
	for _, name := range []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu"} {
		if _, err := os.Lstat("/" + name); err == nil {
			m[name] = "/" + name
		}
	}
	return m
}

// imageRoot is what of an image is shown. Its memory file systems and mount points are ours.
func imageRoot(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the image: %w", err)
	}
	m := map[string]string{}
	for _, e := range entries {
		switch e.Name() {
		case "proc", "sys", "dev", "tmp", "run", strings.TrimPrefix(wire.WorkspaceDir, "/"):
		default:
			m[e.Name()] = path.Join(dir, e.Name())
		}
	}
	return m, nil
}

// show puts one name into the skeleton: a directory or file is bound, a link is made anew, since where
// it leads is for the inside to find out.
func show(source, target string) error {
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(source)
		if err != nil {
			return err
		}
		return os.Symlink(to, target)
	case info.IsDir():
		if err := os.Mkdir(target, dirMode); err != nil {
			return err
		}
		return bind(source, target, readOnly)
	case info.Mode().IsRegular():
		if err := os.WriteFile(target, nil, fileMode); err != nil {
			return err
		}
		return bind(source, target, readOnly)
	}
	return nil // devices, sockets and pipes of an image are left out
}

// makePlaces makes the mount points, and shows the program and the mounts.
func (l layout) makePlaces(mounts []wire.Mount) error {
	for _, dir := range []string{"/proc", "/sys", "/dev", "/tmp", wire.WorkspaceDir, wire.ServicesDir, inside.Slot, wire.LayerDir} {
		if err := l.makeDir(dir); err != nil {
			return err
		}
	}
	for _, m := range append([]wire.Mount{{Source: "/proc/self/exe", Target: wire.InsideProgram}}, mounts...) {
		if err := l.mount(m); err != nil {
			return fmt.Errorf("show %s at %s: %w", m.Source, m.Target, err)
		}
	}
	return nil
}

// makeDir makes a directory of the inside, where the skeleton or an upper layer can have it.
func (l layout) makeDir(dir string) error {
	root, err := os.OpenRoot(l.root) // an image may hold links that lead elsewhere
	if err != nil {
		return err
	}
	defer root.Close()
	err = root.MkdirAll(strings.TrimPrefix(dir, "/"), dirMode)
	if errors.Is(err, syscall.EROFS) && dir == wire.LayerDir {
		return nil // an image or layer has /opt without it: then it is absent
	}
	return err
}

func (l layout) mount(m wire.Mount) error {
	info, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	if err := l.makeDir(path.Dir(m.Target)); err != nil {
		return err
	}
	if info.IsDir() {
		err = l.makeDir(m.Target)
	} else {
		err = l.makeFile(m.Target)
	}
	if err != nil {
		return err
	}
	target, err := l.resolve(m.Target)
	if err != nil {
		return err
	}
	defer target.Close()
	t, err := cloneTree(m.Source, true)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.set(readOnly); err != nil {
		return err
	}
	return t.attachOn(target)
}

// bindFile shows an open directory at target, read-only.
func bindFile(source *os.File, target string) error {
	t, err := cloneFile(source)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.set(readOnly); err != nil {
		return err
	}
	return t.attach(target)
}

func (l layout) makeFile(name string) error {
	root, err := os.OpenRoot(l.root)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.OpenFile(strings.TrimPrefix(name, "/"), os.O_RDONLY|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	return f.Close()
}

// resolve opens a place of the inside without leaving the root.
func (l layout) resolve(name string) (*os.File, error) {
	root, err := os.OpenRoot(l.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(strings.TrimPrefix(name, "/"), unix.O_PATH, 0)
}

// closeRoot makes the skeleton itself read-only; the mounts in it stay as they are.
func (l layout) closeRoot() error {
	return unix.MountSetattr(unix.AT_FDCWD, l.root, 0, &unix.MountAttr{Attr_set: readOnly})
}
