package environmenttest

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// who runs a probe on the bare host, where it has to succeed.
type who int

const (
	asUser    who = iota // a user without rights, the same as that of the victim process
	asRoot               // root, in a mount namespace of its own so that nothing of it stays
	asNetRoot            // root, in a network namespace of its own besides
)

// probe is one attack of the probe program.
type probe struct {
	name string // as in the table
	args func(f *field) []string
	bare who
	// refused maps a part of the kernel's answer to the reason why a host may refuse this to anybody:
	// then the probe proves nothing there, and the control says so by name.
	refused map[string]string
}

// Reasons why a host refuses something to everybody.
func missing(what string) map[string]string {
	why := "this kernel was built without " + what
	return map[string]string{"function not implemented": why, "address family not supported": why, "protocol not supported": why, "operation not supported": why, "socket type not supported": why, "no such device": why}
}

// try makes a probe from words that stand for themselves.
func try(name string, bare who, refused map[string]string, args ...string) probe {
	return probe{name, func(*field) []string { return args }, bare, refused}
}

// aim makes a probe whose arguments are targets.
func aim(name string, bare who, refused map[string]string, args func(*field) []string) probe {
	return probe{name, args, bare, refused}
}

// probes is the list of attacks with a verdict of their own. Those that need an eye outside are in
// hostile.go, beside the bombs and races.
func probes() []probe {
	var all []probe
	for _, group := range [][]probe{fileProbes(), processProbes(), networkProbes(), mountProbes(), kernelProbes(), privilegeProbes(), attributeProbes(), sharedProbes()} {
		all = append(all, group...)
	}
	return all
}

func fileProbes() []probe {
	return []probe{
		aim("read a file of the server", asRoot, nil, func(f *field) []string { return []string{"read", f.secret} }),
		aim("read a file that everybody may read", asUser, nil, func(f *field) []string { return []string{"read", f.public} }),
		aim("read another environment's workspace", asUser, nil, func(f *field) []string { return []string{"read", f.neighbour} }),
		aim("open the host's shadow file", asRoot, nil, func(f *field) []string { return []string{"same-file", "/etc/shadow", f.shadow} }),
		aim("read through process 1", asRoot, nil, func(f *field) []string {
			return []string{"read", "/proc/" + f.first() + "/root" + f.public, "/proc/" + f.first() + "/cwd" + f.public}
		}),
		aim("read through a process of the same user", asUser, nil, func(f *field) []string {
			return []string{"read", "/proc/" + f.pid() + "/root" + f.public, "/proc/" + f.pid() + "/cwd" + f.public}
		}),
		aim("read up from the workspace", asUser, nil, func(f *field) []string {
			return []string{"read", "../../../../../../.." + f.public, "/proc/self/cwd/../../../.." + f.public}
		}),
		aim("open a file by its handle", asRoot, missing("file handles"), func(f *field) []string {
			return []string{"handle", strconv.Itoa(int(f.handleKind)), f.handle}
		}),
		try("write below /usr", asRoot, nil, "write-nothing", "/usr", "/usr/bin", "/usr/lib", "/etc", "/bin", "/lib", "/opt", "/var"),
		aim("write to the services", asRoot, nil, func(f *field) []string { return []string{"create", f.services + "/planted"} }),
		aim("change the mode of a file of the server", asRoot, nil, func(f *field) []string { return []string{"chmod", f.public} }),
		try("inherited files", asUser, nil, "fds"),
		try("make a device", asRoot, nil, "mknod", "b 254:0", "b 253:0", "b 8:0", "c 1:1", "c 1:5"),
		try("open the host's devices", asRoot, nil, "open-read", "/dev/mem", "/dev/port", "/dev/kvm", "/dev/vd[a-z]", "/dev/sd[a-z]", "/dev/nvme*n1", "/dev/loop0", "/dev/loop-control", "/dev/fuse", "/dev/kmsg", "/dev/net/tun", "/dev/vsock"),
		aim("overwrite programs that run", asRoot, nil, func(f *field) []string {
			if f.bare {
				return []string{"exe", f.pid()}
			}
			return []string{"exe", "[0-9]*"}
		}),
		try("set what the kernel runs", asRoot, nil, "open-write", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/sys/kernel/uevent_helper"),
		try("system request keys", asRoot, map[string]string{"no such file": "this kernel has none"}, "open-write", "/proc/sysrq-trigger", "/proc/sys/kernel/sysrq"),
		try("kernel settings", asRoot, nil, "open-write", "/proc/sys/vm/*", "/proc/sys/kernel/*", "/sys/kernel/mm/*/*", "/sys/class/net/*/mtu", "/sys/block/*/queue/scheduler"),
		try("memory of the kernel", asRoot, nil, "open-read", "/proc/kcore", "/proc/kmsg", "/sys/kernel/debug/tracing/trace", "/sys/kernel/tracing/trace"),
		try("control groups", asRoot, nil, "cgroup"),
	}
}

func processProbes() []probe {
	victim := func(what string) func(*field) []string {
		return func(f *field) []string { return []string{what, f.pid()} }
	}
	yama := map[string]string{"operation not permitted": "Yama lets no process trace what is not its child"}
	if !yamaOn() {
		yama = nil
	}
	return []probe{
		aim("see a process of the host", asUser, nil, func(f *field) []string { return []string{"see", f.token} }),
		aim("signal a process of the host", asUser, nil, victim("signal")),
		aim("trace a process of the host", asUser, yama, victim("ptrace")),
		aim("variables of a process of the host", asUser, nil, victim("environ")),
		aim("memory of a process of the host", asUser, yama, victim("memory")),
		aim("read memory of a process of the host", asUser, yama, victim("vm-read")),
		aim("take a file from a process of the host", asUser, yama, victim("pidfd")),
		aim("change limits of a process of the host", asUser, nil, victim("limit-other")),
		aim("change the priority of a process of the host", asUser, nil, victim("renice")),
		aim("enter namespaces of a process of the host", asRoot, nil, victim("setns")),
		aim("enter namespaces of process 1", asRoot, nil, func(f *field) []string { return []string{"setns", f.first()} }),
		aim("trace process 1", asRoot, nil, func(f *field) []string { return []string{"ptrace", f.first()} }),
		aim("variables of process 1", asRoot, nil, func(f *field) []string { return []string{"environ", f.first()} }),
		aim("memory of process 1", asRoot, nil, func(f *field) []string { return []string{"memory", f.first()} }),
		aim("read memory of process 1", asRoot, nil, func(f *field) []string { return []string{"vm-read", f.first()} }),
		aim("take a file from process 1", asRoot, nil, func(f *field) []string { return []string{"pidfd", f.first()} }),
		try("type into a terminal", asRoot, map[string]string{"input/output error": "dev.tty.legacy_tiocsti is off"}, "tiocsti"),
	}
}

func networkProbes() []probe {
	all := []probe{
		aim("a port of the host's loopback", asUser, nil, func(f *field) []string { return []string{"connect", "tcp=" + f.tcp} }),
		aim("a port of the host's loopback, IPv6", asUser, map[string]string{"nothing there": "this host has no IPv6 loopback"}, func(f *field) []string {
			if f.tcp6 == "" {
				return []string{"connect"}
			}
			return []string{"connect", "tcp=" + f.tcp6}
		}),
		aim("a datagram to the host's loopback", asUser, nil, func(f *field) []string { return []string{"datagram", f.udp} }),
		aim("an abstract socket of the host", asUser, nil, func(f *field) []string { return []string{"connect", "unix=@" + f.abstract} }),
		aim("a socket of the host by its path", asUser, nil, func(f *field) []string {
			return []string{"connect", "unix=" + f.socket, "unix=/run/dbus/system_bus_socket", "unix=/var/run/docker.sock"}
		}),
		// Here the address must not be tried outside: the control makes it in a namespace of its own.
		try("the metadata address", asNetRoot, nil, "connect", "tcp=169.254.169.254:80"),
		try("change the loopback interface", asNetRoot, nil, "interface"),
	}
	for _, s := range []struct {
		kind string
		bare who
	}{
		{"raw", asRoot}, {"raw6", asRoot}, {"packet", asRoot}, {"vsock", asUser}, {"alg", asUser}, {"netfilter", asUser}, {"audit", asUser},
		{"xfrm", asUser}, {"generic", asUser}, {"xdp", asRoot}, {"can", asRoot}, {"tipc", asUser}, {"sctp", asUser}, {"smc", asUser},
	} {
		all = append(all, try("a socket of kind "+s.kind, s.bare, missing(s.kind), "socket", s.kind))
	}
	return all
}

func mountProbes() []probe {
	return []probe{
		try("mount a file system", asRoot, nil, "mount"),
		try("bind the root elsewhere", asRoot, nil, "bind"),
		aim("make a read-only mount writable", asRoot, nil, func(f *field) []string { return []string{"remount", f.services} }),
		try("unmount what covers something", asRoot, nil, "umount"),
		try("fsopen", asRoot, missing("fsopen"), "fsopen"),
		try("open_tree", asRoot, missing("open_tree"), "open_tree"),
		try("pivot_root", asRoot, nil, "pivot_root"),
		try("chroot and out", asRoot, nil, "chroot"),
	}
}

func kernelProbes() []probe {
	users := missing("user namespaces")
	users["operation not permitted"] = "this host lets nobody but root make user namespaces"
	users["permission denied"] = users["operation not permitted"]
	rings := missing("io_uring")
	rings["operation not permitted"] = "kernel.io_uring_disabled is set"
	return []probe{
		try("a user namespace by clone", asRoot, users, "userns-clone"),
		try("a user namespace by unshare", asRoot, users, "userns-unshare"),
		try("a user namespace by clone3", asRoot, users, "userns-clone3"),
		try("bpf", asRoot, missing("bpf"), "bpf"),
		try("io_uring", asRoot, rings, "io_uring"),
		try("keyrings", asUser, missing("keyrings"), "keyctl"),
		try("add a key", asUser, missing("keyrings"), "add_key"),
		try("performance counters", asRoot, missing("perf events"), "perf"),
		try("userfaultfd", asRoot, missing("userfaultfd"), "userfaultfd"),
		try("calls of the x32 interface", asUser, missing("x32"), "x32"),
		try("load a module", asRoot, missing("modules"), "modules"),
		try("load another kernel", asRoot, missing("kexec"), "kexec"),
		try("reboot", asRoot, nil, "reboot"),
		try("swap", asRoot, missing("swap"), "swap"),
		try("accounting", asRoot, missing("accounting"), "acct"),
		try("fanotify", asRoot, missing("fanotify"), "fanotify"),
		try("the kernel's log", asRoot, nil, "syslog"),
		try("set the clock", asRoot, nil, "clock"),
	}
}

func privilegeProbes() []probe {
	var carried, limits map[string]string
	if !capable(unix.CAP_SYS_RESOURCE) {
		limits = map[string]string{"operation not permitted": "root has no CAP_SYS_RESOURCE here"}
	}
	if ignoresRights(os.TempDir()) {
		carried = map[string]string{"it stays": "the file system for temporary files is mounted nosuid"}
	}
	return []probe{
		aim("a program that runs as root", asUser, carried, func(f *field) []string { return []string{"gain", f.setuid} }),
		aim("a program with capabilities", asUser, carried, func(f *field) []string { return []string{"gain", f.capable} }),
		try("programs may bring rights along", asUser, nil, "undump"),
		try("raise a hard limit", asRoot, limits, "rlimit"),
		try("run before everybody", asRoot, nil, "realtime"),
		try("raise the priority", asRoot, nil, "priority"),
		try("ports of devices", asRoot, map[string]string{"function not implemented": "this kernel or processor has none"}, "ioport"),
		try("name the machine", asRoot, nil, "hostname"),
		try("give files away", asRoot, nil, "handover"),
	}
}

// pid is the victim's, as a word.
func (f *field) pid() string { return strconv.Itoa(f.victim) }

// first is process 1 of the inside. On the bare host that one is left alone, and the victim stands in
// for it.
func (f *field) first() string {
	if f.bare {
		return f.pid()
	}
	return "1"
}

func (w who) String() string {
	return [...]string{"a user", "root", "root of a network"}[w]
}
