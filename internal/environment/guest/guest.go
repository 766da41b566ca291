// Package guest runs commands inside a container that somebody else has made: one small process in
// it, the guest, and one byte stream to it, whatever carries that (an engine's attached standard
// streams, a WebSocket of Kubernetes). Drivers that have no better way in share it.
//
// Shape: Main is the guest, Dial the host's end. Both send frames, big endian:
//
//	0      1         2          6        10
//	│ kind │ channel │ stream   │ length │ payload …
//	  u8     u8        u32        u32
//
//	hello   guest ▶ host    first: the version, and what the guest sees around itself
//	config  host ▶ guest    then: what to listen on
//	ready   guest ▶ host    it listens
//	open    both            begins a stream: the host's are odd (exec, tar, …), the guest's even (dial)
//	data    both            bytes of a channel
//	credit  both            u32: so many bytes more may be sent on the stream
//	end     both            no more data from this side
//	kill    opener          end it: a command's process group is killed, a connection is closed
//	result  acceptor        the outcome; the stream's last frame
//
// hello, config, ready, open and result carry JSON.
//
// Death: when the stream ends, for whatever reason, the guest kills every process that descends from
// it and exits. As pid 1 it takes the whole container with it. So a server that is killed leaves
// nothing running, as long as whoever carries the stream closes it then.
//
// Signals: a command has a session of its own; what kills a command kills its process group. What
// leaves the group is a background process, and lives until the guest ends.
//
// Trust: the guest runs as the same user as the commands. It can't be traced or looked into by them
// (it is not dumpable), and as pid 1 not be killed; but the host believes it nothing: it may be any
// program. A frame that breaks a rule ends the conversation.
//
// Files: where the workspace is not a mount of the host's directory, the guest reads and writes its
// files (package workspace confines it inside), lists all of them (index) and sends and takes archives
// of some (fetch, store): see tree.go.
//
// Layers: as another process, started as a command ("layer record", "layer pack", "layer apply"), the
// same program says what a set-up changed in the container's root, and puts that into another one: see
// package layer and Client.Layer.
//
// System calls: the guest puts the filter of package seccomp over itself and all that it starts, on
// top of whatever profile the container has.
//
// Units and limits: bytes; a stream may have WindowBytes under way in each direction until the
// receiver has used them, so that one that nobody reads holds up no other. MaxStreams a side.
//
// Errors: KindUnavailable when the stream is gone; for a command that the guest could not start a
// *environment.NotStartedError around a KindInvalid or KindNotFound error.
//
// Source: the rules for an init in a pid namespace are pid_namespaces(7).
package guest

import (
	"time"

	"github.com/stead-dev/stead"
)

// Argv0 is the base name under which the binary is the guest.
const Argv0 = "stead-guest-init"

// Version is the protocol's. Both ends must have the same.
const Version = 2

// Limits of the protocol.
const (
	// MaxFrameBytes is the largest payload: a command's arguments, as base64.
	MaxFrameBytes = 512 << 10
	// MaxDataBytes is the most data of one frame.
	MaxDataBytes = 32 << 10
	// WindowBytes is how much of a stream may be under way in one direction.
	WindowBytes = 128 << 10
	// MaxStreams is the most streams that one side has open at once.
	MaxStreams = 256
	// MaxHelloEnv is the most variables of the image that are taken over.
	MaxHelloEnv = 256
	// HandshakeTime is the longest until the guest has said hello and is ready.
	HandshakeTime = 20 * time.Second
	// WriteTime is the longest that the host waits until the guest takes a frame.
	WriteTime = 30 * time.Second
	// KillTime is the longest between a kill and its outcome: a guest that does not answer by then is
	// given up, with all that runs in it.
	KillTime = 10 * time.Second
	// interruptTime is the same of all processes at once, of which there may be thousands: no command begins meanwhile.
	interruptTime = 3 * KillTime
)

// hello is the guest's first word.
type hello struct {
	Version int      `json:"version"`
	Env     []string `json:"env"` // of the image
	Seen    Seen     `json:"seen"`
}

// Seen is what the guest finds around itself: what holds inside, as opposed to what was asked for.
type Seen struct {
	PID        int    `json:"pid"`
	UID        int    `json:"uid"`
	Filter     bool   `json:"filter"` // our own seccomp filter is over everything
	NoNewPrivs bool   `json:"no_new_privs"`
	CapBounds  string `json:"cap_bounds"` // hexadecimal
	OpenFiles  uint64 `json:"open_files"` // the hard limit
	// What the control groups that are visible inside say; 0: nothing, -1: no limit.
	MemoryBytes int64 `json:"memory_bytes"`
	Processes   int64 `json:"processes"`
	CPUMilli    int64 `json:"cpu_milli"`
	// Interfaces are the network's, without loopback ones.
	Interfaces []string `json:"interfaces"`
	// RootWritable says that a file can be made in /.
	RootWritable bool `json:"root_writable"`
	// Hostname is that of the uts namespace.
	Hostname string `json:"hostname"`
	Kernel   string `json:"kernel"` // the release, of uname
}

// config is the host's first word.
type config struct {
	// Listen maps the name of a service on the host to where it answers inside: "tcp:HOST:PORT" or
	// "unix:PATH".
	Listen map[string]string `json:"listen,omitempty"`
	// Link are symbolic links to make first: path → target.
	Link map[string]string `json:"link,omitempty"`
	// GiveBack is Options.GiveBack.
	GiveBack bool `json:"give_back,omitempty"`
}

// request is the payload of open. Texts that need not be UTF-8 are bytes, which JSON has as base64.
type request struct {
	Op   string   `json:"op"`
	Args [][]byte `json:"args,omitempty"` // exec
	Env  [][]byte `json:"env,omitempty"`  // exec: NAME=value
	Dir  []byte   `json:"dir,omitempty"`  // exec
	In   bool     `json:"in,omitempty"`   // exec: standard input follows
	Name string   `json:"name,omitempty"` // dial: the service; store: the tree
	Path []byte   `json:"path,omitempty"` // read, write: the file
	Exec bool     `json:"exec,omitempty"` // write: executable
	Max  int64    `json:"max,omitempty"`  // read: bytes; measure: names
	List *listing `json:"list,omitempty"`
}

// Operations.
const (
	opExec = "exec" // host: data both ways, outcome
	opDial = "dial" // guest: data both ways, outcome
	// opRead sends a file, opWrite takes one, opList sends a JSON page.
	opRead  = "read"
	opWrite = "write"
	opList  = "list"
	// opMeasure counts the workspace, up to Max names, and sends environment.Occupied as JSON.
	opMeasure = "measure"
	// opIndex sends a JSON line for each path of the workspace; opFetch takes paths, each with a zero
	// byte behind it, and sends a tar archive of them; opStore takes one and lays it over the tree
	// named by Name.
	opIndex = "index"
	opFetch = "fetch"
	opStore = "store"
	// opPing answers at once.
	opPing = "ping"
	// opKillAll kills every process but the guest: outcome.
	opKillAll = "kill_all"
)

// listing is environment.ListQuery on the wire; a path is bytes.
type listing struct {
	Dir   []byte `json:"dir,omitempty"`
	After []byte `json:"after,omitempty"`
	Desc  bool   `json:"desc,omitempty"`
	Limit int    `json:"limit"`
}

// page is environment.FilePage on the wire.
type page struct {
	Paths [][]byte `json:"paths"`
	Sizes []int64  `json:"sizes"`
	More  bool     `json:"more"`
}

// outcome is the payload of result.
type outcome struct {
	Kind    stead.Kind `json:"kind,omitempty"`    // of an error; for exec: it was not started
	Message string     `json:"message,omitempty"` // of an error
	Code    int        `json:"code"`              // exec: 0 … 255, 128+n for a signal
	CPU     int64      `json:"cpu_ns,omitempty"`
}

// err is the outcome's error.
func (o outcome) err() error {
	switch o.Kind {
	case "":
		return nil
	case stead.KindInvalid, stead.KindNotFound, stead.KindTooLarge, stead.KindLimited, stead.KindUnavailable:
		return stead.Errorf(o.Kind, "%.1000s", printable(o.Message))
	}
	return stead.Errorf(stead.KindUnavailable, "the guest failed: %.1000s", printable(o.Message))
}

// Channels of data.
const (
	chanIn  = 0
	chanOut = 1
	chanErr = 2
)

// printable takes control characters out of what the inside says.
func printable(s string) string {
	out := []rune(s)
	for i, r := range out {
		if r < ' ' || r == 0x7f {
			out[i] = ' '
		}
	}
	return string(out)
}
