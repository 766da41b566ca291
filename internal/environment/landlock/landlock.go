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
//	     ◀── ready, started, exited   supervisor: the same user, no border  ◀─ ask ─ chmod, utime, …
//	                                  at the socket's end: kills all, reaps, removes TMPDIR
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
// What Landlock has no rule for. The owner of a file can change its mode, owner, times and attributes
// without opening it, and whoever may read a directory can watch it. So the second filter has these
// calls wait, and the helper's supervisor does them in the caller's place: it reads the caller's path
// once, pins what that leads to, opens the same file once more from the workspace or TMPDIR by steps
// downwards alone, and changes what it got that way. Nothing outside can be reached so, whatever is
// exchanged meanwhile; a call is never let through to the kernel. It costs the caller two changes of
// context. A file whose path is longer than 4096 bytes, and those of a program that has made itself
// undumpable, can't be changed. What else could be done to them is refused: see filter_linux.go.
//
// Who is who. A server that is root gives each environment a user id of its own, and its files to it.
// Without root the id is the server's: then only Landlock and the filters stand between commands and the
// user's files and processes. For signals Landlock does so since Linux 6.12. What a user may have of
// the kernel (processes, watches, pipes) is then shared with the server, unless a control group bounds it.
//
// The end. The jailed thread kills by kill(-1): by its user and its Landlock domain that means every
// process of the environment and no other, with none missed that is being born. Orphans come to the
// helper, so that it knows when none is left. When the server dies, by whatever signal, the helper does
// the same. The filter refuses signals to the jailed thread and
// the supervisor, the only ones they could reach.
//
// Units and limits: those of environment.Limits. Memory, processes and CPU are bounded by a control
// group where there is one; without, memory by RLIMIT_DATA a process, processes by RLIMIT_NPROC if the
// user is the environment's own, CPU not at all. The disk is bounded by a watchdog and RLIMIT_FSIZE.
//
// Errors: those of package environment; KindNotImplemented for images, layers, set-up as root, egress,
// and mounts at another path than their own.
//
// Source: landlock(7); Documentation/userspace-api/landlock.rst of the kernel; seccomp_unotify(2), whose
// warnings about checking and using are the reason for the supervisor's steps; openat2(2), prctl(2), kill(2).
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
	// jailThreads are the helper's threads that have the environment's user: the jailed one, the supervisor.
	jailThreads = 2
)

// ABI versions of Landlock.
const (
	abiTruncate = 3 // the least that is used: without it files outside can be emptied
	abiNetwork  = 4
	abiDevices  = 5
	abiScope    = 6 // signals and abstract sockets
)
