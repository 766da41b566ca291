// Package environment is the contract of a computer for an agent: a workspace that outlives
// processes, and commands that run in it, apart from the host and from each other.
//
// Shape:
//
//	Provider (a driver) ── Open(Spec) ──▶ Environment ── Exec(Command) ──▶ output chunks, Exit
//	                                        ├─ ReadFile, WriteFile, List   the workspace, confined
//	                                        └─ Checkpoint ──▶ digest       content-addressed blobs
//
// What the inside sees: WorkspaceDir is the workspace and the only place that lasts; ServicesDir
// holds the sockets that lead out, read-only; /tmp is memory or scratch; everything else is
// read-only or absent. The network is absent; with Spec.Egress a proxy answers at EgressPort of the
// inside's loopback.
//
// Delivery: an Environment is resident: its background processes live until Close, or until Done
// says that it died. Nothing in it is durable before a Checkpoint whose digest stands in a journal.
// Close, and the death of the process that opened it, by whatever signal, leave no process behind.
//
// Trust: every byte from the inside is hostile. A driver never follows a path, a symbolic link, a
// length or a message of the inside out of the workspace, and never runs a command on the bare host
// unless the operator's configuration names the driver that does.
//
// Concurrency: all methods may be called from many goroutines; commands run in parallel.
//
// Errors: KindUnavailable when the environment died or can't be started now; KindInvalid for a path
// outside of the workspace or a bad command; KindNotFound for a file; KindTooLarge above a limit;
// KindNotImplemented for what a driver can't do. A command that fails is no error: see Exit.
package environment

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-dev/stead"
)

// Where things stand inside. The paths are the same for every driver that has its own root.
const (
	WorkspaceDir = "/workspace"
	// OutputsDir is where an agent puts the files that are published as artifacts when its turn is
	// completed (developers.openai.com, Agents API, "Files and artifacts"). A new workspace has it.
	OutputsDir  = WorkspaceDir + "/outputs"
	ServicesDir = "/run/stead"
	// EgressSocket and ToolsSocket are names in ServicesDir, of unix stream sockets that the host
	// serves: the egress proxy (HTTP proxy protocol), and the session's tools (HTTP).
	EgressSocket = "egress.sock"
	ToolsSocket  = "tools.sock"
	// CAFile is the name in ServicesDir of the PEM file with the authorities that the host trusts, and
	// the environment's own where the egress proxy opens TLS for credentials.
	CAFile = "ca.pem"
	// EgressPort is the loopback port inside at which the proxy answers, bridged to EgressSocket.
	EgressPort = 3128
	// LayerDir is where packages and set-up commands install what is not part of the workspace.
	LayerDir = "/opt/stead"
)

// Provider is a driver.
type Provider interface {
	// Name is the driver's name in the configuration: "ns", "landlock", "gvisor", "docker", ….
	Name() string
	// Probe opens a full trial environment, tries each control, and says what holds here.
	Probe(ctx context.Context) Report
	// Open starts an environment over a workspace. The caller owns Spec's directories and keeps them
	// until Close returned.
	Open(ctx context.Context, spec Spec) (Environment, error)
	// Close ends everything that the provider still runs (warm pools included).
	Close(ctx context.Context) error
}

// Environment is one resident computer.
type Environment interface {
	// Exec runs a command until its first process ends, and streams what it prints: out is called
	// serially, in the order of arrival, and never after Exec returned; it must not keep the bytes.
	// Both streams are read to their end, but a process that stays in the background and holds them
	// open is waited for only OutputGrace. When ctx ends, or Command.Timeout is over, the command's
	// whole process group is killed. Output above Command.OutputBytes is read and dropped, keeping
	// head and tail: see Output. An error means that it is unknown whether and how far the command
	// ran, except *NotStartedError: it surely did not.
	Exec(ctx context.Context, c Command, out func(Chunk)) (Exit, error)

	// ReadFile returns a regular file of the workspace, at most max bytes (KindTooLarge above).
	// Paths are absolute, inside WorkspaceDir, or relative to it.
	ReadFile(ctx context.Context, path string, max int64) ([]byte, error)
	// CopyFile is ReadFile to a writer, in pieces as they are read: no driver holds more of the file than a
	// piece. Pieces may have been written before an error; errors of w are returned as they are.
	CopyFile(ctx context.Context, path string, max int64, w io.Writer) error
	// WriteFile replaces or makes a regular file, with the directories above it. The file appears
	// whole or not at all.
	WriteFile(ctx context.Context, path string, data []byte, executable bool) error
	// List lists regular files below a directory of the workspace.
	List(ctx context.Context, q ListQuery) (FilePage, error)

	// Checkpoint stores the workspace as it is now and returns what names it. previous is the digest
	// of an earlier checkpoint in the same blobs ("" for none): what it has is not stored again.
	// Commands may run meanwhile; each file is stored as it was at some moment during the call.
	Checkpoint(ctx context.Context, blobs Blobs, previous string) (Checkpoint, error)

	// Usage is what the environment has used since Open.
	Usage() Usage
	// Done is closed when the environment died by itself or was closed.
	Done() <-chan struct{}
	// Close kills every process, waits until they are gone, and leaves the workspace as it is.
	Close(ctx context.Context) error
}

// Explained is an Environment that may know why it ended by itself.
type Explained interface {
	// WhyEnded is a clause for people and for the agent, which names the limit that was reached, once Done is closed; "": nobody
	// knows, or the environment was told to end.
	WhyEnded() string
}

// Spec says what to open. Directories are absolute paths of the host.
type Spec struct {
	ID        string            // env_…: names control groups and log lines
	Workspace string            // becomes WorkspaceDir
	Root      Root              // what the rest of the file system is made of
	Env       map[string]string // of every command, under Command.Env
	Limits    Limits
	Services  string  // becomes ServicesDir, read-only; "": absent
	Egress    bool    // bridge the inside's 127.0.0.1:EgressPort to EgressSocket, and set the usual proxy variables
	Mounts    []Mount // read-only
	// AsRoot runs commands as the inside's root (without power outside): for set-up alone.
	AsRoot bool
}

// Root is the file system around the workspace.
type Root struct {
	// Image is a directory with an unpacked OCI image; "": the host's /usr with a made-up /etc.
	Image string
	// Layers are directories laid over the image, topmost first, read-only. Each holds paths from the
	// root: usr, etc, opt, var. One that holds LayerArchive is for the driver that made it alone.
	Layers []string
	// Upper takes what is changed below /usr, /etc, /opt and /var: the layer that a set-up makes. "":
	// they are read-only. A driver that can't do it answers KindNotImplemented. It is whole once Close
	// has returned without an error.
	Upper string
}

// LayerArchive is the name in a layer's directory of an archive that is the layer, where a driver can't
// keep it as files: see package docker.
const LayerArchive = "layer.tar"

// PlainLayers refuses layers that are archives, for drivers that lay directories over each other: to
// leave them out would be to leave out what was installed.
func (r Root) PlainLayers() error {
	for _, dir := range r.Layers {
		if _, err := os.Lstat(filepath.Join(dir, LayerArchive)); err == nil {
			e := stead.Errorf(stead.KindInvalid, "the layer of this environment's packages and set-up commands was made by another driver, docker")
			e.Hint = "Create the environment anew: its set-up is then done here."
			return e
		}
	}
	return nil
}

// Mount shows a directory or file of the host, read-only.
type Mount struct{ Source, Target string }

// Command is one execution. It is run as given, without a shell: Args[0] is looked up in PATH.
type Command struct {
	Args []string
	Dir  string            // absolute, inside; "": WorkspaceDir
	Env  map[string]string // over Spec.Env
	// Stdin is what the command reads; nil: nothing. One that blocks is abandoned when the command
	// ends, and closed then if it is an io.Closer.
	Stdin   io.Reader
	Timeout time.Duration // of wall time; 0: Limits.CommandTime
	// OutputBytes is how much of the output is passed on; 0: Limits.OutputBytes; Unbounded: all of it,
	// for a process that speaks a protocol to somebody who bounds what he keeps.
	OutputBytes int64
}

// Unbounded is the Command.OutputBytes of a command whose output is never cut.
const Unbounded = -1

// Stream says which of a command's outputs a chunk came from.
type Stream uint8

// The streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Chunk is a piece of output.
type Chunk struct {
	Stream Stream
	Data   []byte
}

// Exit is how a command ended.
type Exit struct {
	Code     int           // 0 … 255; 128+n for a signal n; -1 when it was killed by a limit or by ctx
	Reason   Reason        // "" for an ordinary end
	Duration time.Duration // wall time
	CPU      time.Duration // of the command and the children it waited for; 0: not known
}

// Reason says why a command did not end by itself.
type Reason string

// The reasons.
const (
	ReasonTimeout   Reason = "timeout"    // Command.Timeout
	ReasonCancelled Reason = "cancelled"  // ctx
	ReasonMemory    Reason = "memory"     // the memory limit, where the driver can tell
	ReasonDisk      Reason = "disk"       // the disk limit, where a watchdog enforces it
	ReasonNodeDisk  Reason = "node_disk"  // the disk that all environments of the node share is nearly full: DiskReserve
	ReasonNodeFiles Reason = "node_files" // likewise, it has no room for more files: FileReserve
	ReasonFiles     Reason = "files"      // the limit of files in the workspace, likewise
	ReasonExpired   Reason = "expired"    // Limits.Lifetime
	ReasonProcesses Reason = "processes"  // the limit of processes was used up, and another command was to run
)

// NotStartedError says that a command surely did not run.
type NotStartedError struct{ Err error }

func (e *NotStartedError) Error() string { return "the command was not started: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *NotStartedError) Unwrap() error { return e.Err }

// File is one regular file of a workspace.
type File struct {
	Path string // absolute, inside
	Size int64  // bytes
}

// ListQuery selects files.
type ListQuery struct {
	Dir   string // absolute directory inside WorkspaceDir, or ""
	After string // path of the last file of the page before, exclusive; "" for the first page
	Desc  bool   // by path components, compared as bytes
	Limit int    // 1 … MaxListed
}

// FilePage is a page of files.
type FilePage struct {
	Files []File
	More  bool
}

// Blobs keeps bytes by digest, for one session: see package blob for what Put promises.
type Blobs interface {
	Put(ctx context.Context, data []byte) (digest string, err error)
	Get(ctx context.Context, digest string) ([]byte, error)
}

// Checkpoint names a stored workspace.
type Checkpoint struct {
	Digest string `json:"digest"` // of the manifest's blob
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`  // of all files
	Stored int64  `json:"stored"` // bytes that this checkpoint added to the blobs
	// Disk is what its files took on the disk when it was made, in bytes: of sparse ones what they hold.
	Disk int64 `json:"disk,omitempty"`
	// Skipped counts what no checkpoint takes: FIFOs, sockets, devices, paths above the limits.
	Skipped int `json:"skipped,omitempty"`
	// TooLong counts, of these, the paths above the limit, of directories with all that is in them: what
	// an agent would want to keep, and is told of.
	TooLong int `json:"too_long,omitempty"`
	// Unsettled: names came, went or moved each time that it was looked; a file that was renamed may be missing, or be there by
	// its old name.
	Unsettled bool `json:"unsettled,omitempty"`
}
