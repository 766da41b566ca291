package stead

import "time"

// Every limit of the system stands here, with its unit, or in the package that alone enforces it.
// What the Agents API fixes says so; the rest is ours.
const (
	// MaxInlineBytes is the largest text that a journal event holds itself; longer ones are blobs.
	MaxInlineBytes = 32 << 10
	// MaxEventBytes is the largest encoded journal event: a session.created with the largest tools
	// and instructions fits.
	MaxEventBytes = 5 << 20
	// MaxBatchEvents is the most events of one append or one send.
	MaxBatchEvents = 1024
	// MaxReadEvents is the most events that one read returns.
	MaxReadEvents = 4096
	// MaxImportEvents is the most events of a fork or import, which is one transaction.
	MaxImportEvents = 200_000

	// MaxRequestBytes is the largest request body of a door.
	MaxRequestBytes = 32 << 20
	// MaxTextBytes is the largest single text, tool output or image URL of an input.
	MaxTextBytes = 16 << 20
	// MaxInputEvents is the most input events of one POST.
	MaxInputEvents = 128
	// MaxToolsBytes is the largest resolved tool list of an agent, as compact JSON (Agents API).
	MaxToolsBytes = 3 << 20
	// MaxTools is the most tools of an agent, MCP servers counted once.
	MaxTools = 512
	// MaxInstructionsBytes is the longest instructions of an agent.
	MaxInstructionsBytes = 1 << 20
	// MaxNameRunes is the longest name of an agent.
	MaxNameRunes = 256
	// MaxIdempotencyKeyBytes is the longest idempotency key.
	MaxIdempotencyKeyBytes = 256

	// Metadata: pairs, and characters of keys and values (Agents API).
	MaxMetadataPairs      = 16
	MaxMetadataKeyRunes   = 64
	MaxMetadataValueRunes = 512
	// MaxLabels is how many different values the metadata of all that is said in one session may have
	// together: rules hold for each of them, so that each is kept.
	MaxLabels = 8192

	// Lists: entries of a page (Agents API).
	MaxPageSize     = 100
	DefaultPageSize = 20

	// DefaultMaxSteps is the most model calls of one turn, unless the agent says otherwise.
	DefaultMaxSteps = 200
	// MaxParallelTools is the most tool calls of one session that run at once; more wait their turn.
	MaxParallelTools = 16
	// EnvironmentIdle is how long an environment stays resident after it was needed last.
	EnvironmentIdle = 5 * time.Minute
	// MaxEnvironmentAttempts is how often preparing, opening, storing or ending an environment is tried.
	MaxEnvironmentAttempts = 4
	// MaxToolAttempts is how often a repeatable tool call is tried before the model is told of the failure.
	MaxToolAttempts = 3
	// MaxModelAttempts is how often one model call is tried before the turn fails.
	MaxModelAttempts = 6
	// MaxSteeringMessages is how many inputs of messages may wait for a running turn's next model call.
	MaxSteeringMessages = 256

	// MaxSubagents is how many subagents one session may make, closed ones counted.
	MaxSubagents = 64
	// MaxSubagentMessageBytes is the longest message to a subagent.
	MaxSubagentMessageBytes = MaxInlineBytes
	// MaxSubagentDepth is how many subagents stand below one another: the root agent's are at depth 1.
	MaxSubagentDepth = 3
	// DefaultConcurrentSubagents is how many work at once, unless the agent says otherwise (Agents API).
	DefaultConcurrentSubagents = 6
	// MaxConcurrentSubagents is the most that an agent may say.
	MaxConcurrentSubagents = 32

	// ModelIdleTimeout cuts off a model stream that says nothing.
	ModelIdleTimeout = 120 * time.Second
	// ModelCallTimeout ends a model call on one route, however much it says; the next route may be tried where nothing
	// was handed out yet. A turn does not try such a call again.
	ModelCallTimeout = time.Hour
	// ToolTimeout is the longest wall time of one tool call, unless configured.
	ToolTimeout = 5 * time.Minute
	// RetryBaseDelay and RetryMaxDelay bound the exponential backoff between attempts.
	RetryBaseDelay = 500 * time.Millisecond
	RetryMaxDelay  = 60 * time.Second

	// LeaseTTL is how long a node may be silent before others take over its sessions.
	LeaseTTL = 15 * time.Second
	// HeartbeatInterval is how often a node says that it lives.
	HeartbeatInterval = LeaseTTL / 5

	// FirstDeltaDelay and DeltaFlushInterval pace the journaling of streamed text; DeltaFlushBytes forces it.
	FirstDeltaDelay    = 5 * time.Millisecond
	DeltaFlushInterval = 250 * time.Millisecond
	DeltaFlushBytes    = 8 << 10

	// MaxSourceURLs is the most start pages of a source, and of a configured site.
	MaxSourceURLs = 16

	// SnapshotEvery is how many events apart state snapshots are taken, and one more for each SnapshotBytesPerEvent of the last: what they cost
	// is in proportion to the journal, however much a session's agents have said.
	SnapshotEvery         = 500
	SnapshotBytesPerEvent = 4 << 10
	// MaxSnapshotBytes is the largest that is stored. A session of more, of many subagents with long conversations, is read from its journal.
	MaxSnapshotBytes = 64 << 20
)
