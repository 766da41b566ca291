package environment

import "slices"

// Isolation is how strong a driver's border is.
type Isolation string

// The strengths.
const (
	// IsolationShared: the host's kernel is shared; a hole in it is a hole in the border.
	IsolationShared Isolation = "shared_kernel"
	// IsolationStrong: the inside talks to a kernel of its own. What `isolation: strong` accepts.
	IsolationStrong Isolation = "own_kernel"
	// IsolationRemote: the commands run on a machine of the user's.
	IsolationRemote Isolation = "remote"
	// IsolationNone: bare processes of the host. Only ever by name.
	IsolationNone Isolation = "none"
)

// Report is what a driver can do on this machine, tried and not guessed.
type Report struct {
	Driver    string
	Usable    bool
	Problem   string // why it is not usable, a sentence
	Remedy    string // what to do about it, a sentence; may be empty
	Isolation Isolation
	Controls  []Control // in the order of Controls
	// Egress: Spec.Egress works, so that an environment can have a network policy other than none.
	Egress bool
	Notes  []string // sentences for the operator
}

// Names of controls, in the order in which they are shown.
const (
	ControlFiles     = "files"      // the host's files are out of sight
	ControlProcesses = "processes"  // the host's processes are out of sight
	ControlNetwork   = "network"    // no network but the proxy
	ControlSyscalls  = "syscalls"   // dangerous system calls are refused
	ControlMemory    = "memory"     // Limits.MemoryBytes
	ControlPIDs      = "pids"       // Limits.Processes
	ControlCPU       = "cpu"        // Limits.CPUMilli
	ControlDisk      = "disk"       // Limits.DiskBytes
	ControlOpenFiles = "open_files" // Limits.OpenFiles
	ControlCleanup   = "cleanup"    // no process survives Close or a kill of the server
	ControlLayers    = "layers"     // Root.Upper works: packages and set-up commands
)

// Enforced reports whether a control of that name is held by something.
func (r Report) Enforced(name string) bool {
	return slices.ContainsFunc(r.Controls, func(c Control) bool { return c.Name == name && c.By != "" })
}

// Control is one thing that a driver enforces, or can't.
type Control struct {
	Name   string
	By     string // what enforces it: "cgroup v1", "rlimit", "network namespace"; "" when nothing does
	Gap    string // what is not enforced, a sentence; "" for nothing
	Remedy string // how to close the gap, a sentence
}
