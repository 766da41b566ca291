// Package ns runs agents' commands in Linux namespaces, without any program but our own: the default
// driver on Linux.
//
// Shape: one box is one resident process of this binary, pid 1 of its own world, and what it forks.
//
//	server                                        box: user, mount, pid, network, ipc, uts, cgroup namespaces
//	──────                                        ────
//	forker: one locked thread ── clone, exec ──▶  init (pid 1, inside uid 0)
//	   socketpair, one message a packet:            │ builds the root, pivots, mounts /proc, raises lo
//	     setup, exec + 3 descriptors, kill ──▶      │ jailed thread: no capabilities, no_new_privs, seccomp,
//	     ◀── ready, started, exited                 │   the agent's uid; forks every command, a session each
//	   control group: limits and use                │ 127.0.0.1:EgressPort ── bridge ──▶ egress.sock
//	                                                └ reaps; dies with the server (Pdeathsig, end of socket)
//
//	/            tmpfs, read-only           /usr /bin /lib…   the host's or the image's, read-only
//	/etc         made up, or the image's    /workspace        Spec.Workspace, read-write, nosuid, nodev
//	/tmp         tmpfs, counts as memory    /run/stead        Spec.Services, read-only
//	/proc        of the box, masked         /dev              null zero full random urandom tty pts shm
//	layers       overlays on /usr /etc /opt /var, their changes in Root.Upper
//
// Of what a box is made, the process and its namespaces take longest. One such cell is kept ready, told
// nothing yet, for the box that is opened next; each is used for one box.
//
// Who owns what. Commands run as agentID of the box (as 0 with Spec.AsRoot), which is nobody else's
// on the host: a server with root's capabilities takes a range of idRange ids above firstID for each
// box, and writes nothing to disk under them. On disk a workspace belongs to diskID+agentID, a layer
// that was made here to diskID+0…, always, and the mount translates (an idmapped mount); where a file
// system can't do that, the workspace is given to the box's id when it is opened. So no file of an
// agent ever belongs to root of the host, the server reads and writes all of them, and two boxes never
// share an id. A server without root maps its own uid, alone, to agentID or 0: files stay its own.
//
// What it trusts: the kernel. Every byte from a box is checked; a box that breaks the protocol is killed.
//
// Units and limits: those of environment.Limits, and the constants below. Memory, processes and CPU
// are bounded by a control group where there is one; without, memory by RLIMIT_DATA a process,
// processes by RLIMIT_NPROC, CPU not at all. The disk is bounded by a watchdog and RLIMIT_FSIZE. Probe
// says which. Init's own threads count among the processes.
//
// Errors: those of package environment.
//
// Source: user_namespaces(7), pid_namespaces(7), mount_setattr(2), pivot_root(2), overlayfs.rst of the
// kernel; the id range on disk is the "foreign" one of systemd's UIDS-GIDS.md.
package ns

import "time"

// Argv0 is argument 0 of a process of this binary that is a box's init: Main is what it runs.
const Argv0 = "stead-ns-init"

// Ids.
const (
	// agentID is the uid and gid of commands, inside.
	agentID = 1000
	// idRange is how many ids a box of a root server has.
	idRange = 1 << 16
	// firstID is the first host id of the first box's range. Below are the ranges of users, of their
	// subordinate ids, and of systemd's containers.
	firstID = 0x7000_0000
	// diskID is the first of the ids that own agents' files on disk, as id 0 of them.
	diskID = 0x7ffe_0000
	// slots is how many boxes one server can have at once: the ids between firstID and diskID.
	slots = (diskID - firstID) / idRange
)

// Limits.
const (
	// startTime bounds the start of a box.
	startTime = 10 * time.Second
	// killTime bounds how long init may take to answer, and killed processes to end. A box in which
	// they take longer is ended.
	killTime = 5 * time.Second
	// maxMounts is the most Spec.Mounts.
	maxMounts = 128
	// maxLayers is the most Root.Layers.
	maxLayers = 32
	// maxReplyBytes is the longest message of an init.
	maxReplyBytes = 4 << 10
	// maxRequestBytes is the longest message to an init: a command with its arguments, and its names.
	maxRequestBytes = 160 << 10
	// maxBridged is the most connections at once to the egress proxy.
	maxBridged = 256
	// initFiles is how many open files init needs beside those of connections.
	initFiles = 64
	// oomScore makes the kernel take boxes first when the whole machine runs out of memory.
	oomScore = 500
)
