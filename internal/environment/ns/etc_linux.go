package ns

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

// Limits of what is copied out of the host's /etc.
const (
	maxCopiedBytes = 1 << 20
	maxCopiedFiles = 5000
)

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

// firstPerson is the first id that is a person's and not a package's, on most distributions.
const firstPerson = 1000

// systemAccounts reads the accounts that packages have made out of the host's passwd or group, without
// what they say beside name and ids. What the package manager knows names them.
func systemAccounts(file string, fields int) string {
	data, err := readSmall(os.Open(file))
	if err != nil {
		return ""
	}
	var list strings.Builder
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) != fields {
			continue
		}
		if id, err := strconv.Atoi(f[2]); err != nil || id <= 0 || id >= firstPerson {
			continue
		}
		list.WriteString(f[0] + ":x:" + f[2] + ":")
		if fields == 7 {
			list.WriteString(f[3] + "::/nonexistent:" + nologin)
		}
		list.WriteString("\n")
	}
	return list.String()
}

const nologin = "/usr/sbin/nologin"

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
	passwd := "root:x:0:0:root:/tmp:/bin/sh\n"
	group := "root:x:0:\n"
	const nobody = "nobody:x:65534:65534:nobody:/nonexistent:" + nologin + "\n"
	switch {
	case b.image >= 0:
		passwd, group = b.imageFile("etc/passwd", passwd), b.imageFile("etc/group", group)
	case b.host.group != "":
		passwd += b.host.passwd + nobody
		group += b.host.group + "nogroup:x:65534:\n"
	default:
		passwd += "_apt:x:100:65534::/nonexistent:" + nologin + "\n" + nobody
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
