// Package tau plays 100 recorded customer-service conversations through the real binary and proves
// that every recorded tool call reaches its tool server exactly once and in order, and that every
// text comes out as recorded, with SIGKILLs at every kind of moment. It has tests only.
//
// Shape:
//
//	driver (one conversation a session) ──▶ stead ──▶ recorded model, OpenAI-compatible, over HTTP
//	                                          └─────▶ airline, an MCP server with a ledger
//
// The recordings stay outside the repository: STEAD_TAU_DIR names their folder (tau-bench airline:
// trajectories.json), and beside it stands tools/traj_llm.py, the recorded model (STEAD_TAU_MODEL
// names another copy of it). Without the variable, ../shared/data/tau-airline is looked for beside
// the repository; without any of them the tests are skipped and say so.
//
//	STEAD_TAU_DIR=/path/to/tau-airline go test ./proof/tau -kills 100
package tau
