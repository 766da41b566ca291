// Package simulation runs whole nodes from one seed: the real core and runner, a memory store with
// faults, a scripted model, tools that keep a ledger of their effects, an application that answers,
// and a clock that is not real. It exists only as tests: go test ./internal/simulation.
//
// Shape: a world has a store, one to three node slots, and up to five sessions; in a quarter of the
// worlds most of them have environments, on a machine for each slot. While the chaos
// lasts nodes are killed and started, also in the middle of a commit, leases stolen, acknowledgements
// lost, blobs refused, old snapshots planted, the clock moved; actions of environments are slow and
// fail, and environments die. Then it stops, everything must come to rest, and the invariants are
// checked: those of environments are at computers.check.
//
// A seed draws the same faults again; the Go scheduler's choices between goroutines that are ready
// at the same moment are its own, so that a run of a seed is close to the same, not always equal.
// A failure prints its seed and every journal.
//
// Source: the idea is that of deterministic simulation testing (FoundationDB, TigerBeetle's VOPR).
package simulation
