package environment

import "time"

// Limits bound one environment. Zero fields mean those of SizeMedium.
type Limits struct {
	MemoryBytes int64         // all processes together, /tmp and /dev/shm included
	Processes   int           // processes and threads
	CPUMilli    int           // thousandths of one CPU
	DiskBytes   int64         // of the workspace
	Files       int           // files, directories and whatever else has a name in the workspace
	OpenFiles   int           // a process
	CommandTime time.Duration // wall time of a command that names no Timeout
	Lifetime    time.Duration // wall time of one residence, from Open; then the environment ends
	OutputBytes int64         // of one command that are passed on; head and tail are kept
}

// Size is the wire's container_size.
type Size string

// The sizes.
const (
	SizeSmall  Size = "small"
	SizeMedium Size = "medium" // the wire's default
	SizeLarge  Size = "large"
)

// Limits of the sizes.
const (
	SmallMemoryBytes  = 1 << 30
	MediumMemoryBytes = 4 << 30
	LargeMemoryBytes  = 16 << 30

	SmallCPUMilli  = 1000
	MediumCPUMilli = 2000
	LargeCPUMilli  = 4000

	SmallDiskBytes  = 2 << 30
	MediumDiskBytes = 10 << 30
	LargeDiskBytes  = 40 << 30

	SmallFiles  = 250_000
	MediumFiles = 500_000
	LargeFiles  = MaxWorkspaceFiles

	SmallProcesses  = 128
	MediumProcesses = 512
	LargeProcesses  = 2048
)

// Limits that are the same for every size.
const (
	DefaultOpenFiles   = 4096
	DefaultCommandTime = 2 * time.Minute
	MaxCommandTime     = 24 * time.Hour
	DefaultLifetime    = 24 * time.Hour
	DefaultOutputBytes = 1 << 20

	// MaxParallelCommands is the most commands of one environment that run at once.
	MaxParallelCommands = 64
	// MaxListed is the most files of a page.
	MaxListed = 1000
	// MaxPathBytes is the longest path of a file, from the root.
	MaxPathBytes = 1024
	// MaxStoredPathBytes is the longest path that a checkpoint takes, from the workspace.
	MaxStoredPathBytes = 4095
	// MaxFileBytes is the largest file that is read or written through the contract.
	MaxFileBytes = 512 << 20
	// MaxWorkspaceFiles is the most files and directories that a checkpoint takes.
	MaxWorkspaceFiles = 1_000_000
	// MaxArgBytes bounds a command's arguments and variables together.
	MaxArgBytes = 128 << 10
	// OutputGrace is how long the streams of a command that has ended may stay open.
	OutputGrace = 200 * time.Millisecond
)

// What lies in memory file systems can't be given back by the kernel, so that a full one leaves less for
// everything else. /tmp and /dev/shm may fill these parts of Limits.MemoryBytes, as 1/TmpShare and
// 1/ShmShare; with BytesAnInode they have so many files that what the kernel keeps of each, about 1 KiB,
// fits into the rest as well. Who fills them gets ENOSPC, and everybody else goes on.
const (
	TmpShare     = 2
	ShmShare     = 4
	BytesAnInode = 8 << 10
)

// TmpBytes and ShmBytes are the sizes of /tmp and /dev/shm, where those are memory.
func (l Limits) TmpBytes() int64 { return l.MemoryBytes / TmpShare }

// ShmBytes: see TmpBytes.
func (l Limits) ShmBytes() int64 { return l.MemoryBytes / ShmShare }

// LimitsOf returns a size's limits.
func LimitsOf(s Size) Limits {
	l := Limits{
		MemoryBytes: MediumMemoryBytes, Processes: MediumProcesses, CPUMilli: MediumCPUMilli, DiskBytes: MediumDiskBytes, Files: MediumFiles,
		OpenFiles: DefaultOpenFiles, CommandTime: DefaultCommandTime, Lifetime: DefaultLifetime, OutputBytes: DefaultOutputBytes,
	}
	switch s {
	case SizeSmall:
		l.MemoryBytes, l.Processes, l.CPUMilli, l.DiskBytes, l.Files = SmallMemoryBytes, SmallProcesses, SmallCPUMilli, SmallDiskBytes, SmallFiles
	case SizeLarge:
		l.MemoryBytes, l.Processes, l.CPUMilli, l.DiskBytes, l.Files = LargeMemoryBytes, LargeProcesses, LargeCPUMilli, LargeDiskBytes, LargeFiles
	}
	return l
}

// OrDefault fills zero fields from SizeMedium.
func (l Limits) OrDefault() Limits {
	d := LimitsOf(SizeMedium)
	set(&l.MemoryBytes, d.MemoryBytes)
	set(&l.Processes, d.Processes)
	set(&l.CPUMilli, d.CPUMilli)
	set(&l.DiskBytes, d.DiskBytes)
	set(&l.Files, d.Files)
	set(&l.OpenFiles, d.OpenFiles)
	set(&l.CommandTime, d.CommandTime)
	set(&l.Lifetime, d.Lifetime)
	set(&l.OutputBytes, d.OutputBytes)
	return l
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
