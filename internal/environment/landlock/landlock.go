// Package landlock runs agents' commands under Landlock and seccomp on the host's own root: the fallback
// where namespaces are denied, as in many containers. It needs Linux 6.2 or later, or 6.12 or later
// without root.
//
// Shape: one environment is one resident process of this binary and what it forks.
//
//	server                          helper: subreaper, jailed thread                 commands
//	──────                          ──────                                           ────────
//	forker: one locked thread ───▶  unjailed threads: messages, reaping, clean-up
//	   socketpair, a message each:    jailed thread: a user of its own, no_new_privs,
//	     setup, exec + 3 files, kill    Landlock, two filters of system calls ──▶    a session each
//	     ◀── ready, started, exited   at the socket's end: kills all, reaps, removes TMPDIR
//	   control group: limits and use
//
// Nothing is mounted. So the inside sees the paths of the host, and of those it can read /usr, what
// programs need of /etc, /proc and /sys (see rules_linux.go), and Spec.Services; it can write to its
// workspace and to a TMPDIR of its own. WorkspaceDir is a name of the contract alone: commands find the
// real directory in $WORKSPACE (it is their HOME and where they start), and the services in
// $STEAD_SERVICES. Command.Dir is translated, arguments are not.
//
// No command has a socket. Landlock can restrict TCP to port numbers but not to addresses, and does not
// restrict connections to sockets in the file system at all, so that any socket would be a way past the
// proxy. Therefore Spec.Egress is KindNotImplemented, and the sockets in the services can't be reached.
//
// Who is who. A server that is root gives each environment a user id of its own, and its files to it.
// Without root the id is the server's: then only Landlock stands between commands and the user's
// processes, which it does for signals since Linux 6.12, and Report names what is left open.
//
// The end. The jailed thread kills by kill(-1): by its user and its Landlock domain that means every
// process of the environment and no other, with none missed that is being born. Orphans come to the
// helper, so that it knows when none is left. When the server dies, by whatever signal, the helper does
// the same. The filter refuses signals to the jailed thread, the only one they could reach.
//
// Units and limits: those of environment.Limits. Memory, processes and CPU are bounded by a control
// group where there is one; without, memory by RLIMIT_DATA a process, processes by RLIMIT_NPROC if the
// user is the environment's own, CPU not at all. The disk is bounded by a watchdog and RLIMIT_FSIZE.
//
// Errors: those of package environment; KindNotImplemented for images, layers, set-up as root, egress,
// and mounts at another path than their own.
//
// Source: landlock(7); Documentation/userspace-api/landlock.rst of the kernel; prctl(2), kill(2).
package landlock

import "time"

// Argv0 is argument 0 of a process of this binary that is a helper: its main function calls Main
// before anything else.
const Argv0 = "stead-landlock-init"

// Variables that say where things are.
const (
	workspaceVariable = "WORKSPACE"
	servicesVariable  = "STEAD_SERVICES"
)

// Ids of a server that is root: those between the ids of package ns and the end of what is signed.
const (
	firstID = 0x7fff_0000
	slots   = 60_000
)

// Limits.
const (
	// startTime bounds the start of an environment.
	startTime = 10 * time.Second
	// killTime bounds how long the end of killed processes is waited for.
	killTime = 5 * time.Second
	// maxReplyBytes is the longest message of a helper.
	maxReplyBytes = 4 << 10
	// maxRequestBytes is the longest message to a helper: a command with its arguments and names.
	maxRequestBytes = 160 << 10
	// maxMounts is the most Spec.Mounts.
	maxMounts = 128
	// helperFiles is the least limit of open files, for the helper's sake, whose own it is; helperThreads
	// is by how much the control group's limit of processes is higher, as the helper is in it.
	helperFiles   = 32
	helperThreads = 16
)

// ABI versions of Landlock.
const (
	abiTruncate = 3 // the least that is used: without it files outside can be emptied
	abiNetwork  = 4
	abiDevices  = 5
	abiScope    = 6 // signals and abstract sockets
)
