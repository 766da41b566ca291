package main

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/stead-dev/stead/cmd/stead-gvisor/inside"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// runBytes is the size of a set-up's /run, where package managers lock.
const runBytes = 16 << 20

// spec describes the sandbox to gVisor.
func (l layout) spec(b wire.Boot) *specs.Spec {
	limit := func(name string, value uint64) specs.POSIXRlimit {
		return specs.POSIXRlimit{Type: name, Soft: value, Hard: value}
	}
	size := func(bytes int64) string { return fmt.Sprintf("size=%d", bytes) }
	mounts := []specs.Mount{
		{Type: "tmpfs", Source: "tmpfs", Destination: "/tmp", Options: []string{"nosuid", "nodev", "mode=1777", size(b.TmpBytes)}},
		{Type: "tmpfs", Source: "tmpfs", Destination: "/dev/shm", Options: []string{"nosuid", "nodev", "mode=1777", size(b.ShmBytes)}},
		{Type: "bind", Source: l.slot, Destination: inside.Slot, Options: []string{"rslave", "rw", "nosuid", "nodev"}},
	}
	if b.AsRoot {
		mounts = append(mounts, specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/run", Options: []string{"nosuid", "nodev", "mode=755", size(runBytes)}})
	}
	return &specs.Spec{
		Version:  specs.Version,
		Hostname: hostName,
		Root:     &specs.Root{Path: l.root, Readonly: !l.writable},
		Process: &specs.Process{
			Args:            []string{wire.InsideProgram},
			Env:             []string{"GOMAXPROCS=2"},
			Cwd:             "/",
			Capabilities:    capabilities("CAP_SYS_ADMIN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"),
			NoNewPrivileges: true,
			Rlimits: []specs.POSIXRlimit{
				limit("RLIMIT_NPROC", uint64(b.Processes)), limit("RLIMIT_NOFILE", uint64(b.OpenFiles)),
				limit("RLIMIT_DATA", uint64(b.DataBytes)), limit("RLIMIT_CORE", 0),
			},
		},
		Mounts: mounts,
		Linux:  &specs.Linux{},
	}
}

func capabilities(names ...string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
}

// setupCapabilities are what root has inside, for set-up: what package managers need. They count
// inside alone.
func setupCapabilities() *specs.LinuxCapabilities {
	return capabilities("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
		"CAP_SETFCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE")
}
