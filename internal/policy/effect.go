package policy

// Effect names what is about to happen.
type Effect string

// The effects that pass the gate. Later issues add theirs.
const (
	SessionCreate Effect = "session.create"
	SessionRead   Effect = "session.read"
	SessionWrite  Effect = "session.write" // input, update, pause, resume; a fork is a SessionCreate as well
	SessionDelete Effect = "session.delete"
	// SessionControl is to pause, resume or cancel many sessions at once; Request.Resource says which. Each is a session.write
	// as well.
	SessionControl Effect = "session.control"

	SessionTokenRead  Effect = "session_token.read"  // the tokens of a session, without their secrets
	SessionTokenWrite Effect = "session_token.write" // make, revoke
	AgentRead         Effect = "agent.read"
	AgentWrite        Effect = "agent.write"
	ModelCall         Effect = "model.call"
	ToolCall          Effect = "tool.call"
	ApprovalGive      Effect = "approval.give" // answering a required action
	// SubagentCreate is that an agent gives a task to a subagent, which it makes for that or has made; the resource is the session's agent, Arguments
	// have the task.
	SubagentCreate Effect = "subagent.create"

	EnvironmentPrepare Effect = "environment.prepare" // packages, files and set-up commands
	EnvironmentOpen    Effect = "environment.open"
	EnvironmentSave    Effect = "environment.save"
	EnvironmentSuspend Effect = "environment.suspend"
	EnvironmentExpire  Effect = "environment.expire"
	EnvironmentRead    Effect = "environment.read"  // its state and files
	EnvironmentWrite   Effect = "environment.write" // files
	FileRead           Effect = "file.read"
	FileWrite          Effect = "file.write"         // upload, delete
	VectorStoreRead    Effect = "vector_store.read"  // and search
	VectorStoreWrite   Effect = "vector_store.write" // and what is in it
	// VectorStoreFileRead is asked behind VectorStoreRead about documents of sources, once a request for those of the same source and
	// labels: what it refuses is not there for whoever asks.
	VectorStoreFileRead Effect = "vector_store.file.read"
	SkillRead           Effect = "skill.read"
	SkillWrite          Effect = "skill.write"
	TemplateRead        Effect = "template.read" // and starting a session from one
	TemplateWrite       Effect = "template.write"
	UsageRead           Effect = "usage.read"
	UsageWrite          Effect = "usage.write" // storing records that are missing
	BudgetRead          Effect = "budget.read"
	BudgetWrite         Effect = "budget.write"
	MemoryRead          Effect = "memory.read" // and search
	// MemoryEntryRead is asked behind MemoryRead about what is found, once a search for entries of the same scope, kind and labels:
	// what it refuses is not there for whoever asks.
	MemoryEntryRead Effect = "memory.entry.read"
	MemoryWrite     Effect = "memory.write" // add, change, forget
	// MemoryEntryWrite is asked behind MemoryWrite about what is made, changed or forgotten, once a request for entries of the same scope, kind
	// and labels.
	MemoryEntryWrite Effect = "memory.entry.write"

	PolicyRead   Effect = "policy.read"   // the policies in force, their schema, and the sets that a project uploaded
	PolicyWrite  Effect = "policy.write"  // make such a set, or its next version
	PolicyDelete Effect = "policy.delete" // delete one
	AuditRead    Effect = "audit.read"    // audit records and their checkpoints

	KillSwitchRead  Effect = "kill_switch.read"
	KillSwitchWrite Effect = "kill_switch.write" // set and lift

	VaultRead     Effect = "vault.read"     // vaults and what may be seen of their credentials
	VaultWrite    Effect = "vault.write"    // make, change, rotate, delete
	CredentialUse Effect = "credential.use" // a secret is about to be sent to Request.Destination; the resource is "vault/credential"
	// CredentialConsent is a user's consent to a credential that is to be: asked for, given or refused, as Request.Consent says. The
	// resource is the vault, Destination the authorization server.
	CredentialConsent Effect = "credential.consent"

	// NetworkConnect is a connection, or a request, out of an environment, which its network allows; or of the server's own, to a host that a source names. The resource is the host, in lower case.
	NetworkConnect Effect = "network.connect"

	SemanticRead  Effect = "semantic_model.read"  // what its terms mean
	SemanticWrite Effect = "semantic_model.write" // upload, delete
	SemanticQuery Effect = "semantic_model.query" // an answer; Request.Semantic says of what

	KeyRead  Effect = "key.read"  // API keys, without their secrets
	KeyWrite Effect = "key.write" // make, rotate, revoke
)

// Effects lists them all.
func Effects() []Effect {
	return []Effect{
		SessionCreate, SessionRead, SessionWrite, SessionDelete, SessionControl, SessionTokenRead, SessionTokenWrite, AgentRead, AgentWrite, ModelCall, ToolCall, ApprovalGive, SubagentCreate,
		EnvironmentPrepare, EnvironmentOpen, EnvironmentSave, EnvironmentSuspend, EnvironmentExpire, EnvironmentRead, EnvironmentWrite,
		FileRead, FileWrite, VectorStoreRead, VectorStoreFileRead, VectorStoreWrite, SkillRead, SkillWrite, TemplateRead, TemplateWrite, UsageRead, UsageWrite, BudgetRead, BudgetWrite,
		MemoryRead, MemoryEntryRead, MemoryWrite, MemoryEntryWrite, PolicyRead, PolicyWrite, PolicyDelete, AuditRead, KillSwitchRead, KillSwitchWrite, VaultRead, VaultWrite, CredentialUse, CredentialConsent, NetworkConnect, KeyRead, KeyWrite,
		SemanticRead, SemanticWrite, SemanticQuery,
	}
}

// EnvironmentEffect names what is done with an environment: prepare, open, save, suspend or expire.
func EnvironmentEffect(action string) Effect { return Effect("environment." + action) }
