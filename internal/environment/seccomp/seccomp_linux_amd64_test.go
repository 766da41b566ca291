package seccomp_test

import "golang.org/x/sys/unix"

// callsHere are calls that only this architecture has.
func callsHere(path uintptr) []call {
	const x32 = 0x40000000
	return []call{
		{"x32 getpid", x32 | unix.SYS_GETPID, [5]uintptr{}, all(unix.ENOSYS)},
		{"open", unix.SYS_OPEN, [5]uintptr{path, unix.O_RDONLY, 0o4755}, all(unix.ENOENT)},
		{"chmod set-user-ID", unix.SYS_CHMOD, [5]uintptr{path, 0o4755}, map[string]unix.Errno{"root": unix.ENOENT, "all": unix.EPERM}},
		{"creat set-user-ID", unix.SYS_CREAT, [5]uintptr{path, 0o4755}, map[string]unix.Errno{"root": unix.ENOENT, "all": unix.EPERM}},
		{"iopl", unix.SYS_IOPL, [5]uintptr{3}, all(unix.EPERM)},
		{"modify_ldt", unix.SYS_MODIFY_LDT, [5]uintptr{}, all(unix.EPERM)},
	}
}
