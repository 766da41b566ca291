package ns

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

// packageState is where Debian's package manager keeps what it knows.
const packageState = "var/lib/dpkg"

// Limits of what is copied out of the host's /etc.
const (
	maxCopiedBytes = 1 << 20
	maxCopiedFiles = 5000
)

// hostParts is what is taken from the host's root.
type hostParts struct {
	entries  []entry           // usr, and bin, lib… as the host has them
	files    map[string][]byte // path below /etc → content
	links    map[string]string // path below /etc → target
	etc      []entry           // directories of /etc
	packages int               // mount of packageState; -1: none
	nodes    []entry           // of /dev
}

// etcParts are the files and directories of the host's /etc that programs of /usr need. None is about
// people, secrets or the host's place in a network.
func etcParts() []string {
	return []string{
		"ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust", "crypto-policies", // authorities
		"alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", // what /usr/bin and the linker point to
		"python3*", "perl", "java-*", "php", "lua", "R", "maven", "groovy", "fonts", "ImageMagick-*", "magic", "magic.mime", "mime.types", // settings of languages and libraries
		"protocols", "services", "localtime", "timezone", "os-release", "debian_version", "redhat-release", "alpine-release",
		"inputrc", "bash.bashrc", "profile", "profile.d", "terminfo", "skel", "shells", "login.defs",
	}
}

// packageParts are those that a package manager needs besides.
func packageParts() []string {
	return []string{
		"apt/sources.list", "apt/sources.list.d", "apt/trusted.gpg.d", "apt/apt.conf.d", "apt/preferences.d", "apt/keyrings",
		"dpkg", "debconf.conf", "deluser.conf", "adduser.conf", "apk/repositories", "apk/keys", "yum.repos.d", "dnf",
	}
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
		}
	}
	for _, name := range matching(parts) {
		if err := h.openEtc(name); err != nil {
			return h, err
		}
	}
	return h, nil
}

// matching are the parts, with those found in /etc for each that is a pattern.
func matching(parts []string) []string {
	all, err := os.ReadDir("/etc")
	if err != nil {
		return nil
	}
	var names []string
	for _, part := range parts {
		if !strings.Contains(part, "*") {
			names = append(names, part)
			continue
		}
		for _, e := range all {
			if ok, err := path.Match(part, e.Name()); err == nil && ok {
				names = append(names, e.Name())
			}
		}
	}
	return names
}

// openEtc takes one file, link or directory of /etc. One that init may not read is left out.
func (h *hostParts) openEtc(name string) error {
	var st unix.Stat_t
	if unix.Lstat("/etc/"+name, &st) != nil {
		return nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		fd, err := openTree("/etc/" + name)
		if err != nil {
			return err
		}
		h.etc = append(h.etc, entry{name: name, fd: fd})
	case unix.S_IFLNK:
		if link, err := os.Readlink("/etc/" + name); err == nil {
			h.links[name] = link
		}
	case unix.S_IFREG:
		if st.Mode&0o004 == 0 {
			return nil // not for all users of the host
		}
		if data, err := readWhole("/etc/"+name, st.Size); err == nil {
			h.files[name] = data
		}
	}
	return nil
}

// readWhole reads a file of the host whose size is known. It is a file of root's, and a box waits for
// it: the poller of package os is left out.
func readWhole(name string, size int64) ([]byte, error) {
	if size > maxCopiedBytes {
		return nil, errors.New("the file is too long")
	}
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data := make([]byte, size)
	n := 0
	for n < len(data) {
		m, err := unix.Read(fd, data[n:])
		if err != nil {
			return nil, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return data[:n], nil
}

// readSmall reads an open file to its end and closes it.
func readSmall(f *os.File, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCopiedBytes+1))
	if err == nil && len(data) > maxCopiedBytes {
		return nil, errors.New("the file is too long")
	}
	return data, err
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
	if err := mountTmpfs("/dev/shm", b.TmpBytes, "1777"); err != nil {
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

func (b *builder) makeUpEtc(dir string, overlaid bool) error {
	files := b.host.files
	if files == nil {
		files = map[string][]byte{}
	}
	for name, text := range b.identities() {
		files[name] = []byte(text)
	}
	for name, data := range files {
		file := path.Join(dir, name)
		if err := os.MkdirAll(path.Dir(file), dirMode); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, fileMode); err != nil {
			return err
		}
	}
	for name, target := range b.host.links {
		if err := os.MkdirAll(path.Dir(path.Join(dir, name)), dirMode); err != nil {
			return err
		}
		if err := os.Symlink(target, path.Join(dir, name)); err != nil {
			return err
		}
	}
	for n, e := range b.host.etc {
		target := path.Join(dir, e.name)
		if !overlaid {
			if err := attach(e.fd, target, readOnly); err != nil {
				return step("place /etc/"+e.name, err)
			}
			continue
		}
		at := below + "/etc" + strconv.Itoa(n)
		if err := attach(e.fd, at, readOnly); err != nil {
			return step("open /etc/"+e.name, err)
		}
		left := maxCopiedFiles
		if err := copyTree(at, target, &left); err != nil {
			return step("copy /etc/"+e.name, err)
		}
	}
	return nil
}

// identities are the files that say who and where one is.
func (b *builder) identities() map[string]string {
	const nologin = "/usr/sbin/nologin"
	passwd := "root:x:0:0:root:/tmp:/bin/sh\n"
	group := "root:x:0:\n"
	if b.image >= 0 {
		passwd, group = b.imageFile("etc/passwd", passwd), b.imageFile("etc/group", group)
	} else {
		passwd += "_apt:x:100:65534::/nonexistent:" + nologin + "\nnobody:x:65534:65534:nobody:/nonexistent:" + nologin + "\n"
		group += "tty:x:5:\nstaff:x:50:\nutmp:x:43:\nshadow:x:42:\nmail:x:8:\nnogroup:x:65534:\n"
	}
	id := strconv.Itoa(agentID)
	if !strings.Contains(passwd, ":x:"+id+":") {
		passwd += "agent:x:" + id + ":" + id + "::" + environment.WorkspaceDir + ":/bin/sh\n"
	}
	if !strings.Contains(group, ":x:"+id+":") {
		group += "agent:x:" + id + ":\n"
	}
	files := map[string]string{
		"passwd": passwd, "group": group,
		"hosts":       "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
		"hostname":    "stead\n",
		"resolv.conf": "", // there is nobody to ask
	}
	if b.image < 0 {
		files["nsswitch.conf"] = "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\n"
		files["host.conf"] = "multi on\n"
		files["machine-id"] = strings.Repeat("0", 31) + "1\n" // the same for every box: it tells nothing
	}
	return files
}

// imageFile reads a file of the image, or returns what to take without it.
func (b *builder) imageFile(name, without string) string {
	root, err := os.OpenRoot(below + "/image")
	if err != nil {
		return without
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO would wait for a writer
	if err != nil {
		return without
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return without
	}
	data, err := readSmall(f, nil)
	if err != nil {
		return without
	}
	return strings.TrimSuffix(string(data), "\n") + "\n"
}

// copyTree copies directories, files that can be read and links; *left is how many may be.
func copyTree(from, to string, left *int) error {
	if err := os.MkdirAll(to, dirMode); err != nil {
		return err
	}
	list, err := os.ReadDir(from)
	if err != nil {
		return nil // not for everybody's eyes
	}
	for _, e := range list {
		if *left--; *left < 0 {
			return errors.New("too many files")
		}
		src, dst := path.Join(from, e.Name()), path.Join(to, e.Name())
		switch {
		case e.IsDir():
			err = copyTree(src, dst, left)
		case e.Type()&fs.ModeSymlink != 0:
			var link string
			if link, err = os.Readlink(src); err == nil {
				err = os.Symlink(link, dst)
			}
		case e.Type().IsRegular():
			data, readErr := readSmall(os.Open(src))
			if readErr == nil {
				err = os.WriteFile(dst, data, fileMode)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
