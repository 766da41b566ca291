// Package gvisor is the environment driver for hostile and multi-tenant work: commands talk to a
// kernel of their own, gVisor, and never to the host's. gVisor itself is in a program of its own,
// stead-gvisor (cmd/stead-gvisor), which this package starts and talks to by package wire.
//
// Shape: one supervisor process a sandbox, the first of namespaces of its own:
//
//	Provider ─┬─ process ══ socket ══ stead-gvisor supervise ── sandbox, gofer
//	          ├─ …                      └─ killed with the server, and all of its namespace with it
//	          └─ pool: booted, not claimed
//
//	Open: a process from the pool, or a new one ─ claim: the workspace appears inside ─▶ box
//
// A sandbox boots without a workspace. The claim mounts it, which takes milliseconds, and happens
// once: a sandbox is never used again. So a pooled sandbox and a new one take the same path.
//
// Units and limits: memory, processes and CPU by control groups where the machine has them; processes,
// open files and each process's memory in the sandbox's own kernel everywhere; the workspace's size by
// looking at it. Where processes are used up, what belongs to no command that runs is killed for the next one. A sandbox takes memoryOverhead of memory for itself, beyond Limits.MemoryBytes.
//
// Errors: a command is not started, KindUnavailable, while those that run use all processes up. KindUnavailable when the program is missing, is not static, is of another version, or a
// sandbox does not start; KindNotImplemented for an upper layer without root; KindInvalid for a mount
// where none can be.
//
// Source: the OCI runtime of gVisor (runsc) at the version in cmd/stead-gvisor/go.mod; see
// docs/decisions/0005-gvisor-is-a-program-of-its-own.md.
package gvisor

import (
	"log/slog"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// Name is the driver's name in the configuration.
const Name = "gvisor"

const (
	// DefaultPool is the number of booted sandboxes that wait when the operator does not say otherwise.
	DefaultPool = 2
	// MaxPool is the most that may wait.
	MaxPool = 64

	// program is the name of the binary that is looked for.
	program = "stead-gvisor"
	// bootTime bounds the start of a sandbox, on a machine that is busy.
	bootTime = time.Minute
	// endTime bounds what a supervisor may take to die.
	endTime = 30 * time.Second
	// killTime is how long it may take to kill a command, whose processes may all want the CPU of a machine that is busy; then the sandbox is
	// killed, with all that runs in it.
	killTime = 45 * time.Second
	// memoryOverhead is what gVisor's own processes take beside what the inside uses, roughly.
	memoryOverhead = 64 << 20
	// hostThreads is how many threads of the host a sandbox may have beside two for each process inside.
	hostThreads = 256
	// stderrBytes is how much of a supervisor's complaints is kept.
	stderrBytes = 4 << 10
)

// Config is what the operator says.
type Config struct {
	// Binary is the path of stead-gvisor; "": beside the running program, then in PATH.
	Binary string
	// Pool is how many booted sandboxes wait, at most MaxPool. They take about 20 MB each, and have the
	// root of the environment that was opened last.
	Pool int
	// PoolLimits are those of the sandboxes that wait; an environment with others starts cold.
	PoolLimits environment.Limits
	// Dir is a directory for mount points; "": one of this user's below the directory for temporary
	// files.
	Dir string
	// Logger gets what an operator should see; nil: nobody.
	Logger *slog.Logger
}

// remedy says how to get the program.
const remedy = "Build it static and put it beside stead or into PATH: CGO_ENABLED=0 go build -C cmd/stead-gvisor -o DIRECTORY ."
