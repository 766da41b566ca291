package ns

import (
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

const (
	// below is where the parts of overlays stand while the root is built.
	below = "/.below"
	// skeleton is what is made up below /usr, /etc, /opt and /var.
	skeleton = below + "/skeleton"
	// rootBytes bounds the file systems in memory that the box can't write to.
	rootBytes = 64 << 20
	// empty is a directory to hide others with.
	empty = below + "/empty"
	// closed is a file that nobody may open, to hide others with.
	closed   = below + "/closed"
	dirMode  = 0o755
	fileMode = 0o644
)

// tops are the directories that layers change.
func tops() []string { return []string{"usr", "etc", "opt", "var"} }

// builder makes a box's root, in three steps:
//
//	open   every directory and file of the host that is needed, as a mount of its own
//	pivot  into an empty tmpfs, after which nothing of the host can be reached by a path
//	build  out of what was opened: no link in an image, a layer or a workspace leads out any more
type builder struct {
	setup
	passed []*os.File

	workspace, services, image, upper int
	layers, mounts                    []int
	host                              hostParts
}

// build makes the root of this process and of all that it starts.
func (s setup) build(passed []*os.File) error {
	b := &builder{setup: s, passed: passed, host: hostParts{packages: -1}}
	for _, f := range []func() error{b.open, b.pivot, b.base, b.devices, b.places, b.mask, b.seal} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// open opens the sources. From here on they are mounts that stand nowhere yet.
func (b *builder) open() (err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return step("take the mounts private", err)
	}
	tree := func(s *source) int {
		if s == nil || err != nil {
			return -1
		}
		if s.FD >= 0 && s.FD < len(b.passed) {
			return int(b.passed[s.FD].Fd())
		}
		var fd int
		fd, err = openTree(s.Path)
		return fd
	}
	b.workspace, b.services, b.image, b.upper = tree(&b.Workspace), tree(b.Services), tree(b.Image), tree(b.Upper)
	for i := range b.Layers {
		b.layers = append(b.layers, tree(&b.Layers[i]))
	}
	for i := range b.Mounts {
		b.mounts = append(b.mounts, tree(&b.Mounts[i].Source))
	}
	if err == nil && b.Image == nil {
		given := map[string]int{}
		for name, src := range b.Host {
			given[name] = tree(&src)
		}
		b.host, err = openHost(b.Upper != nil, given)
	}
	return err
}

// openTree opens a directory or file of the host as a mount, with those that stand in it: a box may
// not look below mounts of the host.
func openTree(name string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	return fd, step("open "+strconv.Quote(name), err)
}

// pivot makes an empty tmpfs the root. The new /proc is mounted while the host's can still be seen,
// which the kernel asks for.
func (b *builder) pivot() error {
	at := ""
	for _, dir := range []string{"/tmp", "/run", "/mnt", "/usr"} { // any will do: nobody else sees it
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			at = dir
			break
		}
	}
	if err := mountTmpfs(at, rootBytes, "755"); err != nil {
		return err
	}
	if err := os.Mkdir(path.Join(at, "proc"), dirMode); err != nil {
		return err
	}
	if err := unix.Mount("proc", path.Join(at, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return step("mount /proc", err)
	}
	b.host.devices() // by path, while there are paths
	if err := os.Chdir(at); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return step("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return step("let the host's root go", err)
	}
	return os.Chdir("/")
}

// base puts the directories of the host or of the image in their places.
func (b *builder) base() error {
	if err := os.Mkdir(below, 0o700); err != nil {
		return err
	}
	if err := mountTmpfs(below, rootBytes, "755"); err != nil {
		return err
	}
	if err := b.attachLayers(); err != nil {
		return err
	}
	entries, err := b.entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(tops(), e.name) {
			continue
		}
		if err := e.place("/"); err != nil {
			return err
		}
	}
	for _, top := range tops() {
		if err := b.top(top, entries); err != nil {
			return step("make /"+top, err)
		}
	}
	return nil
}

// attachLayers puts the layers, the image and the upper layer where overlays can name them.
func (b *builder) attachLayers() error {
	for i, fd := range b.layers {
		if err := attach(fd, layerDir(i), unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV); err != nil {
			return step("attach a layer", err)
		}
	}
	if b.image >= 0 {
		if err := attach(b.image, below+"/image", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID); err != nil {
			return step("attach the image", err)
		}
	}
	if b.upper >= 0 {
		if err := attach(b.upper, below+"/upper", unix.MOUNT_ATTR_NODEV); err != nil {
			return step("attach the upper layer", err)
		}
	}
	return errors.Join(os.Mkdir(skeleton, dirMode), os.Mkdir(empty, dirMode), os.WriteFile(closed, nil, 0))
}

func layerDir(i int) string { return below + "/layer" + strconv.Itoa(i) }

// entry is one directory or link of the root.
type entry struct {
	name string
	link string // target of a symbolic link; "": a directory
	fd   int    // mount to put there; -1: none, it is empty
	dir  string // where the same directory can be named, for overlays; "": nowhere
}

// place makes the entry in a directory.
func (e entry) place(in string) error {
	target := path.Join(in, e.name)
	switch {
	case e.link != "":
		return os.Symlink(e.link, target)
	case e.fd >= 0:
		return step("place "+target, attach(e.fd, target, readOnly))
	case e.dir != "":
		fd, err := openTree(e.dir)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return step("place "+target, attach(fd, target, readOnly))
	}
	return os.MkdirAll(target, dirMode)
}

// readOnly is how everything but the workspace and scratch is mounted.
const readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// top makes one of the directories that layers change: an overlay if there is more than one part, else
// the part itself.
func (b *builder) top(name string, entries []entry) error {
	base := entry{name: name, fd: -1}
	for _, e := range entries {
		if e.name == name && e.link == "" {
			base = e
		}
	}
	if !b.overlaid(name, base) {
		if base.fd >= 0 || base.dir != "" {
			return base.place("/")
		}
		if err := os.MkdirAll("/"+name, dirMode); err != nil {
			return err
		}
		return b.makeUp(name, "/", false)
	}
	if base.fd >= 0 { // of the host: an image stands below as a whole
		base.dir = below + "/" + name
		if err := attach(base.fd, base.dir, readOnly); err != nil {
			return err
		}
	}
	if err := b.makeUp(name, skeleton, true); err != nil {
		return err
	}
	if err := b.overlay(name, base.dir); err != nil || name != "var" || b.upper < 0 || b.host.packages < 0 {
		return err
	}
	// What the host's package manager knows, so that one can go on from there: the only part of the
	// host's /var that is shown.
	if err := attach(b.host.packages, below+"/packages", readOnly); err != nil {
		return err
	}
	return b.overlay(packageState, below+"/packages")
}

// overlaid reports whether a directory has more than one part.
func (b *builder) overlaid(name string, base entry) bool {
	if len(b.layers) > 0 || b.upper >= 0 || name == "etc" && b.image >= 0 {
		return true
	}
	return (base.fd >= 0 || base.dir != "") && slices.ContainsFunc(b.Mounts, func(m mount) bool { return strings.HasPrefix(m.Target, "/"+name+"/") })
}

// overlay mounts layers, skeleton and base over each other. rel is a path from the root.
func (b *builder) overlay(rel, base string) error {
	var lower []string
	for i := range b.layers {
		if realDir(layerDir(i), rel) {
			lower = append(lower, path.Join(layerDir(i), rel))
		}
	}
	for _, dir := range []string{path.Join(skeleton, rel), base} {
		if st, err := os.Lstat(dir); dir != "" && err == nil && st.IsDir() {
			lower = append(lower, dir)
		}
	}
	flags := uintptr(unix.MS_NODEV | unix.MS_NOSUID)
	options := "userxattr,lowerdir=" + strings.Join(lower, ":")
	if b.upper >= 0 {
		upper, work := path.Join(below, "upper", rel), path.Join(below, "upper", workDir, strings.ReplaceAll(rel, "/", "-"))
		if err := os.MkdirAll(upper, dirMode); err != nil {
			return err
		}
		if err := os.MkdirAll(work, dirMode); err != nil {
			return err
		}
		if !realDir(path.Join(below, "upper"), rel) {
			return step(rel+" of the upper layer", unix.ENOTDIR)
		}
		options += ",volatile,upperdir=" + upper + ",workdir=" + work
	} else {
		flags |= unix.MS_RDONLY
	}
	target := "/" + rel
	if err := os.MkdirAll(target, dirMode); err != nil {
		return err
	}
	return step("mount an overlay", unix.Mount("overlay", target, "overlay", flags, options))
}

// workDir is the name in Root.Upper of what the overlay needs while it is mounted. Close removes it.
const workDir = ".stead-overlay"

// realDir reports whether rel below dir is a directory on the way to which there is no link: layers
// are written by agents, and overlays follow links.
func realDir(dir, rel string) bool {
	for _, name := range strings.Split(rel, "/") {
		dir = path.Join(dir, name)
		if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

// places puts the workspace, the services, scratch and mounts into the root.
func (b *builder) places() error {
	if err := mountScratch("/tmp", b.TmpBytes); err != nil {
		return err
	}
	if err := b.scratch("/run", 16<<20, "755", b.AsRoot); err != nil { // package managers lock and talk there
		return err
	}
	if err := attach(b.workspace, environment.WorkspaceDir, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
		return step("place the workspace", err)
	}
	if b.services >= 0 {
		if err := attach(b.services, environment.ServicesDir, readOnly|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return step("place the services", err)
		}
	}
	for i, m := range b.Mounts {
		if m.File {
			if err := touch(m.Target); err != nil {
				return step("make "+strconv.Quote(m.Target), err)
			}
		}
		if err := attach(b.mounts[i], m.Target, readOnly); err != nil {
			return step("place "+strconv.Quote(m.Target), err)
		}
	}
	return nil
}

// scratch makes a directory, writable or not.
func (b *builder) scratch(dir string, bytes int64, mode string, writable bool) error {
	if writable {
		return mountTmpfs(dir, bytes, mode)
	}
	return os.MkdirAll(dir, dirMode)
}

func touch(file string) error {
	if err := os.MkdirAll(path.Dir(file), dirMode); err != nil {
		return err
	}
	if _, err := os.Lstat(file); err == nil {
		return nil
	}
	return os.WriteFile(file, nil, fileMode)
}

// mask takes away what /proc says about the whole machine, and what root of a box might write.
func (b *builder) mask() error {
	for _, name := range []string{"kcore", "keys", "key-users", "timer_list", "latency_stats", "sched_debug", "kmsg", "kpagecount", "kpageflags", "kpagecgroup", "vmallocinfo", "kallsyms", "modules", "interrupts", "config.gz"} {
		if err := cover(closed, "/proc/"+name); err != nil {
			return step("mask /proc/"+name, err)
		}
	}
	for _, name := range []string{"bus", "fs", "irq", "sys", "sysrq-trigger"} {
		name = "/proc/" + name
		if err := cover(name, name); err != nil {
			return step("make "+name+" read-only", err)
		}
	}
	for _, name := range []string{"acpi", "scsi", "asound", "driver", "dynamic_debug", "pressure"} {
		if st, err := os.Lstat("/proc/" + name); err == nil && st.IsDir() {
			if err := cover(empty, "/proc/"+name); err != nil {
				return step("mask /proc/"+name, err)
			}
		}
	}
	return nil
}

// cover mounts one place over another, read-only. What is not there needs no cover.
func cover(from, to string) error {
	if _, err := os.Lstat(to); err != nil {
		return nil
	}
	if _, err := os.Lstat(from); err != nil {
		return err
	}
	fd, err := openTree(from)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return move(fd, to, readOnly|unix.MOUNT_ATTR_NOEXEC)
}

// seal lets go of what the overlays were made of and makes the root read-only.
func (b *builder) seal() error {
	if err := unix.Unmount(below, unix.MNT_DETACH); err != nil {
		return step("let the layers go", err)
	}
	if err := os.Remove(below); err != nil {
		return err
	}
	return step("make the root read-only", setAttrs(unix.AT_FDCWD, "/", 0, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID))
}

// attach puts a mount at a place, which it makes.
func attach(fd int, target string, attrs uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := os.MkdirAll(target, dirMode); err != nil {
			return err
		}
	} else if err := touch(target); err != nil {
		return err
	}
	return move(fd, target, attrs)
}

// move puts a mount over what stands at a place, with attributes for it and all mounts in it.
func move(fd int, target string, attrs uint64) error {
	if err := setAttrs(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attrs); err != nil {
		return err
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func setAttrs(fd int, name string, flags uint, attrs uint64) error {
	return unix.MountSetattr(fd, name, flags, &unix.MountAttr{Attr_set: attrs})
}

// mountTmpfs mounts a file system in memory at a directory, which it makes.
func mountTmpfs(dir string, bytes int64, mode string) error {
	const bytesAnInode = 4 << 10 // of what only init writes
	return mountMemory(dir, bytes, bytes/bytesAnInode, mode)
}

// mountScratch mounts one that commands may fill.
func mountScratch(dir string, bytes int64) error {
	return mountMemory(dir, bytes, bytes/environment.BytesAnInode, "1777")
}

func mountMemory(dir string, bytes, inodes int64, mode string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	options := "mode=" + mode + ",size=" + strconv.FormatInt(bytes, 10) + ",nr_inodes=" + strconv.FormatInt(max(inodes, 1024), 10)
	return step("mount a tmpfs at "+dir, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options))
}
