//go:build amd64 || arm64

package landlock

import (
	"fmt"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What may be done below a path. Making devices is never allowed.
const (
	readFile = unix.LANDLOCK_ACCESS_FS_READ_FILE
	read     = readFile | unix.LANDLOCK_ACCESS_FS_READ_DIR
	program  = read | unix.LANDLOCK_ACCESS_FS_EXECUTE
	device   = readFile | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	all      = program | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE

	// ofFiles are the rights that a rule for something else than a directory may have.
	ofFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	// handled are the rights that are refused unless a rule grants them, up to abiTruncate.
	handled = all | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK
)

// rule grants rights below paths, which may be patterns. What is not there is left out.
type rule struct {
	rights uint64
	paths  []string
}

// rules are what the commands of an environment may open.
func (s setup) rules() []rule {
	own := rule{all, []string{s.Workspace, s.Scratch}}
	given := rule{read, append([]string{}, s.Read...)}
	if s.Services != "" {
		given.paths = append(given.paths, s.Services)
	}
	return []rule{
		own, given,
		{program, []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"}},
		{device, []string{"/dev/null", "/dev/zero", "/dev/full"}},
		{readFile, []string{"/dev/random", "/dev/urandom"}},
		// What programs look up, and nothing that is anybody's own: no keys, no names of other machines.
		{read, []string{
			"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/passwd", "/etc/group",
			"/etc/nsswitch.conf", "/etc/localtime", "/etc/timezone", "/etc/host.conf", "/etc/protocols", "/etc/services",
			"/etc/mime.types", "/etc/magic", "/etc/inputrc", "/etc/shells", "/etc/os-release", "/etc/debian_version",
			"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/pki/ca-trust", "/etc/pki/tls/certs",
			"/etc/terminfo", "/etc/fonts", "/etc/python3*", "/etc/perl", "/etc/java-*", "/etc/ImageMagick-*",
		}},
		// The kernel's, about the machine as a whole. Directories of processes are not among them, their
		// own neither: Landlock knows no "self".
		{read, []string{
			"/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version", "/proc/filesystems",
			"/proc/sys/kernel/osrelease", "/proc/sys/kernel/ostype", "/proc/sys/kernel/pid_max", "/proc/sys/kernel/random/uuid",
			"/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage/enabled",
		}},
	}
}

// confine puts the calling thread, which is locked, under a new Landlock domain.
func (s setup) confine() error {
	attributes := unix.LandlockRulesetAttr{Handled_access_fs: handled}
	if s.ABI >= abiDevices {
		attributes.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if s.ABI >= abiNetwork { // no rule grants any port
		attributes.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if s.ABI >= abiScope {
		attributes.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	// An older kernel takes the longer structure as long as what it does not know is zero.
	fd, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes), 0)
	if e != 0 {
		return step("make a Landlock ruleset", e)
	}
	defer unix.Close(int(fd))
	for _, r := range s.rules() {
		for _, p := range r.paths {
			if err := r.grant(int(fd), p); err != nil {
				return err
			}
		}
	}
	if _, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return step("enter the Landlock domain", e)
	}
	return nil
}

// grant adds the rule for one path.
func (r rule) grant(ruleset int, pattern string) error {
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		names = []string{pattern} // a workspace's name may look like a pattern
	}
	for _, name := range names {
		fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT || err == unix.EACCES || err == unix.ENOTDIR {
			continue
		}
		if err != nil {
			return step("open "+name, err)
		}
		err = r.grantFile(ruleset, fd)
		_ = unix.Close(fd)
		if err != nil {
			return step("allow "+name, err)
		}
	}
	return nil
}

func (r rule) grantFile(ruleset, fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	rights := r.rights
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= ofFiles
	}
	path := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, e := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&path)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// landlockABI is the version of this kernel, 0 for none.
func landlockABI() int {
	v, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0
	}
	return int(v)
}

// step says what failed.
func step(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
