package ns

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

// packageState is where Debian's package manager keeps what it knows.
const packageState = "var/lib/dpkg"

// hostParts is what is taken from the host's root.
type hostParts struct {
	entries  []entry           // usr, and bin, lib… as the host has them
	files    map[string][]byte // path below /etc → content
	links    map[string]string // path below /etc → target
	etc      []entry           // directories of /etc
	packages int               // mount of packageState; -1: none
	passwd   string            // the host's accounts of packages
	group    string            // and their groups
	nodes    []entry           // of /dev
}

// openHost opens the parts of the host's root, but for those that are given. packages: for a set-up
// that may install packages.
func openHost(packages bool, given map[string]int) (hostParts, error) {
	open := func(name string) (int, error) {
		if fd, ok := given[name]; ok {
			return fd, nil
		}
		return openTree("/" + name)
	}
	h := hostParts{files: map[string][]byte{}, links: map[string]string{}, packages: -1}
	for _, name := range []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu"} { // the last two: what /usr points to on some distributions
		st, err := os.Lstat("/" + name)
		switch {
		case err != nil:
			continue
		case st.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink("/" + name)
			if err != nil {
				return h, err
			}
			h.entries = append(h.entries, entry{name: name, link: link, fd: -1})
		case st.IsDir():
			fd, err := open(name)
			if err != nil {
				return h, err
			}
			h.entries = append(h.entries, entry{name: name, fd: fd})
		}
	}
	parts := etcParts()
	if packages {
		parts = append(parts, packageParts()...)
		if st, err := os.Lstat("/" + packageState); err == nil && st.IsDir() {
			if h.packages, err = open(packageState); err != nil {
				return h, err
			}
			h.passwd, h.group = systemAccounts("/etc/passwd", 7), systemAccounts("/etc/group", 4)
		}
	}
	for _, name := range matching(parts) {
		if err := h.openEtc(name); err != nil {
			return h, err
		}
	}
	return h, nil
}

// devices opens the host's device nodes that every program may use.
func (h *hostParts) devices() {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if fd, err := openTree("/dev/" + name); err == nil {
			h.nodes = append(h.nodes, entry{name: name, fd: fd})
		}
	}
}

// devices makes /dev.
func (b *builder) devices() error {
	if err := mountTmpfs("/dev", rootBytes, "755"); err != nil {
		return err
	}
	for _, n := range b.host.nodes {
		if err := attach(n.fd, "/dev/"+n.name, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return step("place /dev/"+n.name, err)
		}
	}
	for link, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(to, "/dev/"+link); err != nil {
			return err
		}
	}
	if err := os.Mkdir("/dev/pts", dirMode); err != nil {
		return err
	}
	if err := unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return step("mount /dev/pts", err)
	}
	if err := mountScratch("/dev/shm", b.ShmBytes); err != nil {
		return err
	}
	return step("make /dev read-only", setAttrs(unix.AT_FDCWD, "/dev", 0, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC))
}

// entries are the directories and links at the root.
func (b *builder) entries() ([]entry, error) {
	if b.image < 0 {
		return b.host.entries, nil
	}
	list, err := os.ReadDir(below + "/image")
	if err != nil {
		return nil, err
	}
	ours := []string{"proc", "sys", "dev", "tmp", "run", path.Base(below), path.Base(environment.WorkspaceDir)}
	var entries []entry
	for _, e := range list {
		dir := path.Join(below, "image", e.Name())
		switch {
		case slices.Contains(ours, e.Name()):
		case e.Type()&fs.ModeSymlink != 0:
			if link, err := os.Readlink(dir); err == nil {
				entries = append(entries, entry{name: e.Name(), link: link, fd: -1})
			}
		case e.IsDir():
			if inside, err := os.ReadDir(dir); err == nil && len(inside) == 0 {
				dir = "" // things can be mounted in one of our own
			}
			entries = append(entries, entry{name: e.Name(), fd: -1, dir: dir})
		}
	}
	return entries, nil
}

// makeUp writes what no layer has below one of the top directories. overlaid: it becomes a part of an
// overlay, where no mount can stand, so that directories are copied.
func (b *builder) makeUp(top, in string, overlaid bool) error {
	dir := path.Join(in, top)
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	for _, m := range b.Mounts {
		if strings.HasPrefix(m.Target, "/"+top+"/") && overlaid {
			target := path.Join(in, m.Target)
			if m.File {
				if err := touch(target); err != nil {
					return err
				}
			} else if err := os.MkdirAll(target, dirMode); err != nil {
				return err
			}
		}
	}
	switch top {
	case "usr":
		if overlaid && b.upper >= 0 && b.image < 0 && len(b.Host) == 0 {
			return ownDirs(path.Join(below, top), dir, maxOwnDepth)
		}
	case "etc":
		return b.makeUpEtc(dir, overlaid)
	case "var":
		return b.makeUpVar(dir)
	}
	return nil
}

// maxOwnDepth is how deep below /usr a set-up without root can make files.
const maxOwnDepth = 4

// ownDirs makes the directories of from in to, where they belong to the box: laid over those of the
// host, which belong to nobody that a server without root could translate, they can be written to.
func ownDirs(from, to string, depth int) error {
	if err := os.MkdirAll(to, dirMode); err != nil || depth == 0 {
		return err
	}
	list, err := os.ReadDir(from)
	if err != nil {
		return nil // not for everybody's eyes
	}
	for _, e := range list {
		if e.IsDir() {
			if err := ownDirs(path.Join(from, e.Name()), path.Join(to, e.Name()), depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) makeUpVar(dir string) error {
	if b.image >= 0 {
		return nil
	}
	for _, name := range []string{"cache/apt/archives/partial", "lib/apt/lists/partial", "lib/misc", "log/apt", "spool", "local", "opt", "mail"} {
		if err := os.MkdirAll(path.Join(dir, name), dirMode); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{"tmp": "/tmp", "run": "/run", "lock": "/run/lock"} {
		if err := os.Symlink(to, path.Join(dir, link)); err != nil {
			return err
		}
	}
	return nil
}
