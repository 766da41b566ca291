package wire

// What both sides must agree on about the inside. They are the contract's names, said again here so
// that the program does not link the contract; a test of the driver compares them.
const (
	WorkspaceDir = "/workspace"
	ServicesDir  = "/run/stead"
	EgressSocket = "egress.sock"
	EgressPort   = 3128
	LayerDir     = "/opt/stead"
)

const (
	// InsideDir holds what is ours inside.
	InsideDir = "/.stead"
	// InsideProgram is where the program itself stands inside. By this name it is the first process;
	// with the argument ProbeArg it is a trial command: it looks around and prints a Probe.
	InsideProgram = InsideDir + "/program"
	ProbeArg      = "probe"
	// ExecArg makes it start another program: the arguments follow, each as base64, then ExecEnd, the
	// variables likewise, and ExecEnd.
	ExecArg = "exec"
	ExecEnd = "."
	// ProbeFile is what the trial tries to write, in the workspace and elsewhere.
	ProbeFile = ".stead-probe"
)

// WorkDir is the name in an upper layer of what the supervisor needs there meanwhile.
const WorkDir = ".stead-overlay"

// Probe is what a command sees inside.
type Probe struct {
	UID        int      `json:"uid"`
	PID        int      `json:"pid"`
	Kernel     string   `json:"kernel"`
	Network    []string `json:"network"` // interfaces
	Processes  int64    `json:"processes"`
	OpenFiles  int64    `json:"open_files"`
	DataBytes  int64    `json:"data_bytes"`
	Writes     bool     `json:"writes"`      // the workspace
	WritesRoot bool     `json:"writes_root"` // anything of the rest
}
