//go:build amd64 || arm64

package landlock

import (
	"encoding/json"
	"errors"
	"net"
	"os"

	"github.com/stead-dev/stead/internal/environment/packet"
)

// setup is the first message to a helper. Paths are the host's.
type setup struct {
	ABI       int      `json:"abi"`
	ID        int      `json:"id"` // user and group of commands; -1: the server's
	Workspace string   `json:"workspace"`
	Scratch   string   `json:"scratch"` // TMPDIR; the helper removes it at its end
	Services  string   `json:"services,omitempty"`
	Read      []string `json:"read,omitempty"` // of Spec.Mounts

	OpenFiles int   `json:"open_files"`
	FileBytes int64 `json:"file_bytes"`
	Processes int   `json:"processes,omitempty"`  // RLIMIT_NPROC; 0: the user is not its own
	DataBytes int64 `json:"data_bytes,omitempty"` // RLIMIT_DATA; 0: a control group does it
}

// request is a later message to a helper. An exec comes with stdin, stdout and stderr, and has its
// arguments and variables behind the JSON, as they may be no UTF-8.
type request struct {
	Exec uint32   `json:"exec,omitempty"` // number of the command to start, from 1
	Kill uint32   `json:"kill,omitempty"` // number of the command to kill, with its group
	All  bool     `json:"all,omitempty"`  // kill every process
	Dir  string   `json:"dir,omitempty"`
	NArg int      `json:"n,omitempty"`
	Args []string `json:"-"`
	Env  []string `json:"-"`
}

// reply is a message of a helper. One of the first three is set.
type reply struct {
	Ready   bool   `json:"ready,omitempty"`
	Started uint32 `json:"started,omitempty"`
	Exited  uint32 `json:"exited,omitempty"`
	Errno   int    `json:"errno,omitempty"`   // what was to be done was not done
	Message string `json:"message,omitempty"` // likewise, a sentence's part for people
	Status  int    `json:"status,omitempty"`  // of wait(2)
	CPU     int64  `json:"cpu_ns,omitempty"`
	Memory  int64  `json:"memory_bytes,omitempty"` // that its largest process held at most
}

func (r reply) failed() bool { return r.Message != "" || r.Errno != 0 }

// sendJSON writes one message.
func sendJSON(c *net.UnixConn, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.Write(data)
	return err
}

// send writes a request with descriptors.
func (r request) send(c *net.UnixConn, files []*os.File) error {
	r.NArg = len(r.Args)
	data, err := packet.Encode(r, r.Args, r.Env)
	if err != nil {
		return err
	}
	return packet.Send(c, data, files)
}

// receive reads one request with its descriptors. The caller closes the files.
func receive(c *net.UnixConn, buf []byte) (request, []*os.File, error) {
	data, files, err := packet.Receive(c, buf)
	if err != nil {
		return request{}, nil, err
	}
	r, err := decode(data)
	return r, files, err
}

func decode(data []byte) (r request, err error) {
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
