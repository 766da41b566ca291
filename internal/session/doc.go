// Package session is the pure core: it folds a session's events into a state and says what comes
// next; and it is the contract that every door calls.
//
// Shape:
//
//	events ── Apply ──▶ State{View, Context} ── Next ──▶ commands (call a model, call a tool, end the turn, wait)
//	events ── Project ─▶ wire events (what a stream shows)
//	events ── History ─▶ items and turns (what lists show)
//
// The package reads no clock, draws no random number and does no I/O: times, ids, decisions and
// outcomes arrive in events. A fresh start and a recovery are the same path: read, Apply, Next.
//
// Threads: the root agent is one thread of its session's journal; subagents are further threads
// of the same journal (their events carry the thread), under the same lease. See thread.go.
//
// Errors: Apply fails only for a journal that can't be (KindInternal): an event that can't be read,
// or a gap. Events that come too late (a second answer to one call) change nothing.
//
// Source: the wire's nouns and event order follow the OpenAI Agents API (npm openai 7.57.0,
// resources/beta/agents; lib/agents/agent-session-stream for how a client follows a turn).
package session
