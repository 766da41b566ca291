package ns

import (
	"errors"

	"github.com/stead-dev/stead/internal/environment/packet"
)

// setup is the first message to an init: everything about its box.
type setup struct {
	Image  *source  `json:"image,omitempty"` // nil: the host's root
	Layers []source `json:"layers,omitempty"`
	Upper  *source  `json:"upper,omitempty"`
	// Host are directories of the host's root, by their names without the first slash, that come with
	// their owners translated, so that a set-up can change them. Others are opened by init.
	Host      map[string]source `json:"host,omitempty"`
	Workspace source            `json:"workspace"`
	Services  *source           `json:"services,omitempty"`
	Mounts    []mount           `json:"mounts,omitempty"`

	AsRoot   bool  `json:"as_root,omitempty"`
	Switch   bool  `json:"switch,omitempty"` // commands take agentID; else they keep the only id there is
	Egress   bool  `json:"egress,omitempty"`
	TmpBytes int64 `json:"tmp_bytes"`
	ShmBytes int64 `json:"shm_bytes"`

	OpenFiles int   `json:"open_files"`
	FileBytes int64 `json:"file_bytes"`
	Processes int   `json:"processes,omitempty"`  // RLIMIT_NPROC
	DataBytes int64 `json:"data_bytes,omitempty"` // RLIMIT_DATA; 0: a control group does it
}

// source is a directory or file of the host: a path that init opens, or, when only the server may open
// it, a mount among the descriptors of the message.
type source struct {
	Path string `json:"path,omitempty"`
	FD   int    `json:"fd"` // index; -1: none, see Path
}

// mount is a Spec.Mounts entry.
type mount struct {
	Source source `json:"source"`
	Target string `json:"target"`
	File   bool   `json:"file,omitempty"`
}

// What an init is told to kill when processes are used up.
const (
	sweepRest = "rest" // what belongs to no command that runs
	sweepMost = "most" // the command that has most of them if one has more than the rest, and the rest
)

// request is a later message to an init. An exec comes with stdin, stdout and stderr.
type request struct {
	Exec uint32 `json:"exec,omitempty"` // number of the command to start, from 1
	Kill uint32 `json:"kill,omitempty"` // number of the command to kill with its session
	All  bool   `json:"all,omitempty"`  // kill every process but init
	// Sweep is sweepRest or sweepMost: kill that. It is answered. No command with fewer than Least
	// processes is killed for having most.
	Sweep string   `json:"sweep,omitempty"`
	Least int      `json:"least,omitempty"`
	Dir   string   `json:"dir,omitempty"`
	Args  []string `json:"-"` // behind the JSON, with Env: they may be no UTF-8
	Env   []string `json:"-"`
	NArg  int      `json:"n,omitempty"`
}

// reply is a message of an init. One of the first four is set.
type reply struct {
	Ready   bool   `json:"ready,omitempty"`
	Started uint32 `json:"started,omitempty"`
	Exited  uint32 `json:"exited,omitempty"`
	Swept   bool   `json:"swept,omitempty"`  // the answer to Sweep
	Killed  int    `json:"killed,omitempty"` // processes, by it, or more
	Of      uint32 `json:"of,omitempty"`     // number of the command whose they were; 0: of none that runs
	// Errno and Message: what was to be done was not done. Message is a sentence's part for people.
	Errno   int    `json:"errno,omitempty"`
	Message string `json:"message,omitempty"`
	Status  int    `json:"status,omitempty"` // of wait(2)
	CPU     int64  `json:"cpu_ns,omitempty"`
	Memory  int64  `json:"memory_bytes,omitempty"` // that its largest process held at most
}

func (r reply) failed() bool { return r.Message != "" || r.Errno != 0 }

// encode makes one message of a request.
func (r request) encode() ([]byte, error) {
	r.NArg = len(r.Args)
	return packet.Encode(r, r.Args, r.Env)
}

func decodeRequest(data []byte) (r request, err error) {
	texts, err := packet.Decode(data, &r)
	if err == nil && r.NArg > len(texts) {
		err = errors.New("arguments are missing")
	}
	if err != nil {
		return r, err
	}
	r.Args, r.Env = texts[:r.NArg], texts[r.NArg:]
	return r, nil
}
