// Package chaos kills the real binary with SIGKILL at random moments and proves that nothing is
// lost, nothing is doubled and nothing is stuck. It has tests only.
//
// Shape: nodes (one on SQLite, two on one PostgreSQL) ← drivers, a session each, that send turns
// with calls of every class of effect, answer what the runtime asks, and watch the stream; a killer
// that draws its moments from a seed; a tool server in a process of its own that survives the kills
// and keeps a ledger of its effects.
//
// Every fourth driver gives its work to subagents: see together_test.go.
//
// Memories that are erased while nodes are killed go from every session that was shown them, and from the files of the data directory,
// and certificates name them all: see forgotten_test.go.
//
// Beside them, on Linux, sessions whose commands append lines to the files of real sandboxes: see
// TestEnvironments.
//
//	go test ./proof/chaos -kills 200 -seed 7
//
// Invariants, checked at the end over everything: see check_test.go.
//
// The seed draws the loads and the moments; what a moment hits depends on the machine, so a failure
// is not always repeated by its seed. The journals of the sessions at fault are printed instead.
package chaos
