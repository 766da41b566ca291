package executor

import (
	"errors"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// hello is the executor's first word on a connection.
type hello struct {
	Version      int      `json:"version"`
	Environment  string   `json:"environment"`
	Executor     string   `json:"executor"`               // of this process; another one is another executor
	Attempt      uint64   `json:"attempt"`                // of this process to connect, from 1
	Conversation string   `json:"conversation,omitempty"` // the last that it took part in
	Over         bool     `json:"over,omitempty"`         // it has ended here
	Received     uint64   `json:"received"`               // the last frame of it that is here
	Platform     string   `json:"platform"`               // "linux/amd64"
	Workspace    string   `json:"workspace"`              // where commands see the workspace
	Sandbox      string   `json:"sandbox"`                // the driver's name
	Capabilities []string `json:"capabilities"`           // "exec", "files", "dial"
}

// Limits of a hello.
const (
	maxIDBytes      = 128
	maxCapabilities = 16
)

func (h hello) check(environmentID string) error {
	for _, s := range append([]string{h.Executor, h.Conversation, h.Platform, h.Sandbox}, h.Capabilities...) {
		if len(s) > maxIDBytes || s != line1(s) {
			return errors.New("the hello has an unreadable word")
		}
	}
	switch {
	case h.Environment != environmentID:
		return errors.New("the hello is of another environment")
	case h.Executor == "" || h.Attempt == 0:
		return errors.New("the hello has no executor or attempt")
	case len(h.Capabilities) > maxCapabilities || len(h.Workspace) > environment.MaxPathBytes || h.Workspace != line1(h.Workspace):
		return errors.New("the hello is too large")
	}
	return nil
}

// welcome is the server's answer.
type welcome struct {
	Version      int    `json:"version"`
	Conversation string `json:"conversation"`
	Resumed      bool   `json:"resumed"`  // it is that of the hello
	Received     uint64 `json:"received"` // the last frame of it that is at the server
}

// bye ends a connection. It is an error of the side that hears it.
type bye struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (b *bye) Error() string { return clip(b.Message) + " (" + clip(b.Code) + ")" }

// Operations.
const (
	opOpen  = "open"  // start an environment: ready, then a result when it has ended
	opExec  = "exec"  // data both ways, result
	opRead  = "read"  // data, result
	opWrite = "write" // data from the server, result
	opList  = "list"  // data: a JSON page, result
	opDial  = "dial"  // ready, data both ways, result
)

// request is the payload of open: an operation with what it needs. Texts that need not be UTF-8 are
// bytes, which JSON has as base64.
type request struct {
	Op string `json:"op"`
	In uint64 `json:"in,omitempty"` // the stream that opened the environment

	Env    []variable          `json:"env,omitempty"` // open, exec
	Limits *environment.Limits `json:"limits,omitempty"`

	Args        [][]byte      `json:"args,omitempty"`
	Dir         []byte        `json:"dir,omitempty"` // exec, list
	Stdin       bool          `json:"stdin,omitempty"`
	Timeout     time.Duration `json:"timeout_ns,omitempty"`
	OutputBytes int64         `json:"output_bytes,omitempty"`

	Path       []byte `json:"path,omitempty"` // read, write
	Size       int64  `json:"size,omitempty"` // write: bytes that come; read: the most that are wanted
	Executable bool   `json:"executable,omitempty"`

	After []byte `json:"after,omitempty"` // list
	Desc  bool   `json:"desc,omitempty"`
	Limit int    `json:"limit,omitempty"`

	Network string `json:"network,omitempty"` // dial
	Address string `json:"address,omitempty"`
}

type variable struct {
	Name  []byte `json:"n"`
	Value []byte `json:"v"`
}

func variables(m map[string]string) []variable {
	var list []variable
	for name, value := range m {
		list = append(list, variable{[]byte(name), []byte(value)})
	}
	return list
}

func variableMap(list []variable) map[string]string {
	m := make(map[string]string, len(list))
	for _, v := range list {
		m[string(v.Name)] = string(v.Value)
	}
	return m
}

// page is the data of a list.
type page struct {
	Files []pageFile `json:"files"`
	More  bool       `json:"more"`
}

type pageFile struct {
	Path []byte `json:"p"`
	Size int64  `json:"s"`
}

// outcome is the payload of result. One without a value that its operation has is an error.
type outcome struct {
	Done       bool               `json:"done,omitempty"`        // all went well
	NotStarted bool               `json:"not_started,omitempty"` // exec: with Error
	Exit       *exit              `json:"exit,omitempty"`        // exec
	Usage      *environment.Usage `json:"usage,omitempty"`
	Error      *failure           `json:"error,omitempty"`
}

type exit struct {
	Code     int           `json:"code"`
	Reason   string        `json:"reason,omitempty"`
	Duration time.Duration `json:"duration_ns"`
	CPU      time.Duration `json:"cpu_ns"`
}

// failure is an error on its way to the other side.
type failure struct {
	Kind    string `json:"kind"`
	Param   string `json:"param,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func failed(err error) outcome {
	f := &failure{Kind: string(stead.KindUnavailable), Message: clip(err.Error())}
	if e, ok := errors.AsType[*stead.Error](err); ok {
		*f = failure{Kind: string(e.Kind), Param: clip(e.Param), Message: clip(e.Message), Hint: clip(e.Hint)}
	}
	_, notStarted := errors.AsType[*environment.NotStartedError](err)
	return outcome{NotStarted: notStarted, Error: f}
}

// err is what the executor says went wrong, in kinds that a stranger may choose; nil: nothing.
func (o outcome) err() error {
	f := o.Error
	if f == nil {
		if o.Done {
			return nil
		}
		f = &failure{Message: "the executor gave no outcome"}
	}
	k := stead.Kind(f.Kind)
	switch k {
	case stead.KindInvalid, stead.KindNotFound, stead.KindTooLarge, stead.KindNotImplemented, stead.KindForbidden, stead.KindLimited:
	default:
		k = stead.KindUnavailable
	}
	return &stead.Error{Kind: k, Param: clip(line1(f.Param)), Message: clip(line1(f.Message)), Hint: clip(line1(f.Hint))}
}

// exitOf is how a command ended, made to fit what the contract allows.
func (o outcome) exitOf() environment.Exit {
	const most = 255
	x := environment.Exit{Code: min(max(o.Exit.Code, -1), most), Duration: max(o.Exit.Duration, 0), CPU: max(o.Exit.CPU, 0)}
	switch r := environment.Reason(o.Exit.Reason); r {
	case environment.ReasonTimeout, environment.ReasonCancelled, environment.ReasonMemory, environment.ReasonDisk, environment.ReasonNodeDisk,
		environment.ReasonNodeFiles, environment.ReasonFiles, environment.ReasonProcesses, environment.ReasonExpired:
		x.Reason, x.Code = r, -1
	}
	return x
}

// maxUsage is the most that is believed: sums of it do not overflow.
const maxUsage = math.MaxInt64 >> 16

// usageOf merges what a stranger says into a usage that only grows.
func usageOf(old environment.Usage, said *environment.Usage) environment.Usage {
	if said != nil {
		old.CPU = min(max(old.CPU, said.CPU), maxUsage)
		old.MemoryBytes = min(max(old.MemoryBytes, said.MemoryBytes), maxUsage)
		old.DiskBytes = min(max(said.DiskBytes, 0), maxUsage)
	}
	return old
}

// clip shortens a text to MaxErrorBytes of valid UTF-8.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxErrorBytes {
		return s
	}
	n := MaxErrorBytes
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// line1 makes a text one line without control characters: it may be shown on a terminal.
func line1(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}
