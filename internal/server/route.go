package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/identity/workload"
)

// handler answers one request; what it returns becomes the error envelope.
type handler func(w http.ResponseWriter, r *http.Request, p stead.Principal) error

// route is one call: of it the mux and the OpenAPI document are made.
type route struct {
	method, path string
	mux          string // the path as the mux has it, where that is another
	summary      string
	handle       handler
	query        []string // names of components.parameters
	body         string   // name of the request's schema; "" for none
	bodyMedia    string   // of the request; "": application/json
	status       int      // of success; 0: 200
	answer       string   // name of the answer's schema; "" for an empty one
	media        string   // of the answer; "": application/json
	orStream     bool     // the answer may also be an event stream
	events       string   // name of that stream's schema; "": SessionEvent
	orCSV        bool     // the answer may also be CSV
	keyed        bool     // honours Idempotency-Key
	open         bool     // served without authentication
	lenient      bool     // query parameters that it does not know are passed over: others write its URL
	oauth        bool     // its errors are those of RFC 6749
	scope        string   // what a session token must be for, one of these words; "": it opens nothing here
	always       bool     // served on a full disk: it reads, takes away or ends, though its method does not say so
}

// killSwitches is the path of the switches.
const killSwitches = "/v1/kill_switches"

const (
	mediaStream = "text/event-stream"
	mediaLines  = "application/jsonl"
	mediaText   = "text/plain"
	mediaBytes  = "application/octet-stream"
	mediaZIP    = "application/zip"
	mediaForm   = "multipart/form-data"
	mediaCSV    = "text/csv"
	mediaHTML   = "text/html"
)

// oneTemplate is the mux's pattern of the routes of one template: see ofTemplates.
const oneTemplate = "/v1/agents/environments/{collection}/{id}"

// table lists what works. The order is the document's.
func (s *server) table() []route {
	const (
		agents       = "/v1/agents"
		one          = agents + "/{id}"
		sessions     = agents + "/sessions"
		session      = sessions + "/{id}"
		subagent     = session + "/subagents/{part}"
		artifact     = session + "/artifacts/{part}"
		environments = agents + "/environments"
		environment  = environments + "/{id}"
		templates    = environments + "/templates"
		template     = templates + "/{id}"
		files        = "/v1/files"
		skills       = "/v1/skills"
		skill        = skills + "/{id}"
		version      = skill + "/versions/{version}"
		keys         = "/v1/api_keys"
		responses    = "/v1/responses"
		response     = responses + "/{id}"

		vectorStores = "/v1/vector_stores"
		vectorStore  = vectorStores + "/{id}"
		vectorFile   = vectorStore + "/files/{file}"
		fileBatches  = vectorStore + "/file_batches"
		sources      = vectorStore + "/sources"
		sourcePath   = sources + "/{source}"
		fileBatch    = fileBatches + "/{batch}"

		memoryStores = "/v1/memory_stores"
		memoryStore  = memoryStores + "/{id}"
		memories     = memoryStore + "/memories"
		oneMemory    = memories + "/{memory}"

		vaults      = "/v1/vaults"
		oneVault    = vaults + "/{id}"
		credentials = oneVault + "/credentials"
		credential  = credentials + "/{credential}"

		policySets = "/v1/policy_sets"
		policySet  = policySets + "/{id}"

		meanings = "/v1/semantic_models"
		meaning  = meanings + "/{id}"

		budgets       = "/v1/budgets"
		conversations = "/v1/conversations"
		conversation  = conversations + "/{id}"
	)
	paged := []string{"after", "limit", "order"}
	return []route{
		{method: "POST", path: agents, summary: "Create an agent", handle: s.createAgent, body: "AgentParams", answer: "Agent", keyed: true},
		{method: "GET", path: agents, summary: "List agents", handle: s.listAgents, query: paged, answer: "AgentList"},
		{method: "GET", path: one, summary: "Retrieve an agent", handle: s.getAgent, query: []string{"version"}, answer: "Agent"},
		{method: "POST", path: one, summary: "Update an agent: its next version", handle: s.updateAgent, body: "AgentParams", answer: "Agent"},
		{method: "DELETE", path: one, summary: "Delete an agent; its sessions carry on", handle: s.deleteAgent, answer: "Deleted"},

		{method: "POST", path: sessions, summary: "Create a session, with its first input", handle: s.createSession, body: "SessionParams", answer: "Session", orStream: true, keyed: true},
		{method: "GET", path: sessions, summary: "List sessions", handle: s.listSessions, query: append(paged, "agent_id", "status", "user", "metadata", "session_model", "session_tool", "session_labels"), answer: "SessionList"},
		{method: "GET", path: session, summary: "Retrieve a session", handle: s.getSession, answer: "Session"},
		{method: "POST", path: session, summary: "Update a session", handle: s.updateSession, body: "SessionUpdate", answer: "Session"},
		{method: "DELETE", path: session, summary: "Delete a session and all that was derived from it", handle: s.deleteSession, answer: "Deleted"},
		{method: "POST", path: session + "/events", summary: "Submit input events: when this answers, they are on disk", handle: s.sendEvents, scope: identity.ScopeWrite + " " + identity.ScopeApprove, body: "InputEvents", status: http.StatusAccepted, keyed: true, always: true},
		{method: "GET", path: session + "/events", summary: "Follow a session's events", handle: s.streamEvents, scope: identity.ScopeRead, query: []string{"resume", "last_event_id", "include_obfuscation"}, answer: "SessionEvent", media: mediaStream},
		{method: "POST", path: session + "/tokens", summary: "Make a token of this session alone, for a browser or an executor: its secret is shown this once", handle: s.withKeys(s.createSessionToken), body: "SessionTokenParams", answer: "SessionToken"},
		{method: "GET", path: session + "/tokens", summary: "List the session's valid tokens, without their secrets", handle: s.withKeys(s.listSessionTokens), query: paged, answer: "SessionTokenList"},
		{method: "DELETE", path: session + "/tokens/{token}", summary: "Revoke a token of the session, on all nodes within a second", handle: s.withKeys(s.revokeSessionToken), answer: "Deleted"},
		{method: "GET", path: session + "/items", summary: "List a session's items", handle: s.listItems, scope: identity.ScopeRead, query: append(paged, "turn_id"), answer: "ItemList"},
		{method: "GET", path: session + "/turns", summary: "List a session's turns", handle: s.listTurns, scope: identity.ScopeRead, query: paged, answer: "TurnList"},
		{method: "GET", path: session + "/turns/{turn}", summary: "Retrieve a turn", handle: s.getTurn, scope: identity.ScopeRead, answer: "Turn"},
		{method: "GET", path: session + "/turns/{turn}/items", summary: "List a turn's items", handle: s.listTurnItems, scope: identity.ScopeRead, query: paged, answer: "ItemList"},
		{method: "GET", path: session + "/subagents", summary: "List a session's subagents, nested and closed ones as well", handle: s.listSubagents, scope: identity.ScopeRead, query: paged, answer: "SubagentList"},
		{method: "GET", path: subagent, summary: "Retrieve a subagent", handle: s.getSubagent, scope: identity.ScopeRead, answer: "Subagent"},
		{method: "GET", path: subagent + "/items", summary: "List a subagent's own items, of all its turns", handle: s.listSubagentItems, scope: identity.ScopeRead, query: paged, answer: "ItemList"},
		{method: "GET", path: subagent + "/turns", summary: "List a subagent's turns", handle: s.listSubagentTurns, scope: identity.ScopeRead, query: paged, answer: "TurnList"},
		{method: "GET", path: subagent + "/turns/{turn}", summary: "Retrieve a subagent's turn", handle: s.getSubagentTurn, scope: identity.ScopeRead, answer: "Turn"},
		{method: "GET", path: subagent + "/turns/{turn}/items", summary: "List the items of a subagent's turn", handle: s.listSubagentTurnItems, scope: identity.ScopeRead, query: paged, answer: "ItemList"},
		{method: "GET", path: session + "/traces", summary: "List the traces of a session's root turns, as OTLP JSON: no texts are in them", handle: s.listTraces, query: paged, answer: "TraceList"},
		{method: "GET", path: session + "/artifacts", summary: "List the files that completed turns published", handle: s.listArtifacts, scope: identity.ScopeRead, query: append(paged, "environment_id"), answer: "ArtifactList"},
		{method: "GET", path: artifact, summary: "Retrieve an artifact", handle: s.getArtifact, scope: identity.ScopeRead, answer: "Artifact"},
		{method: "GET", path: artifact + "/content", summary: "Download an artifact", handle: s.getArtifactContent, scope: identity.ScopeRead, answer: "Bytes", media: mediaBytes},
		{method: "DELETE", path: artifact, summary: "Delete an artifact; the file in the workspace stays", handle: s.deleteArtifact, answer: "Deleted"},

		{method: "POST", path: environments, summary: "Make an environment before its session", handle: s.createEnvironment, body: "EnvironmentCreate", answer: "EnvironmentInfo", keyed: true},
		{method: "GET", path: environments, summary: "List hosted environments", handle: s.listEnvironments, query: append(paged, "type"), answer: "EnvironmentInfoList"},
		{method: "GET", path: environment, summary: "Retrieve an environment", handle: s.getEnvironment, answer: "EnvironmentInfo"},
		{method: "POST", path: environment + "/files", summary: "Put a file into the workspace: it is there before the next command", handle: s.putEnvironmentFile, body: "EnvironmentFileParam", answer: "EnvironmentFile"},
		{method: "GET", path: environment + "/files", summary: "List the files of the workspace", handle: s.listEnvironmentFiles, query: []string{"page", "limit", "order", "path"}, answer: "EnvironmentFilePage"},
		{method: "GET", path: environment + "/files/content", summary: "Download a file of the workspace", handle: s.readEnvironmentFile, query: []string{"path"}, answer: "Bytes", media: mediaBytes},

		{method: "GET", path: environment + "/executor", summary: "Where the executor of a self-hosted environment connects to, by WebSocket and with a token of its own", handle: s.connectExecutor, status: http.StatusSwitchingProtocols, open: true},

		{method: "POST", path: templates, summary: "Create a template of environments", handle: s.createTemplate, body: "EnvironmentTemplateParams", answer: "EnvironmentTemplate", keyed: true},
		{method: "GET", path: templates, summary: "List templates", handle: s.listTemplates, query: paged, answer: "EnvironmentTemplateList"},
		{method: "GET", path: template, mux: oneTemplate, summary: "Retrieve a template", handle: s.ofTemplates(s.getTemplate), answer: "EnvironmentTemplate"},
		{method: "POST", path: template, mux: oneTemplate, summary: "Update a template: null is a field's default again", handle: s.ofTemplates(s.updateTemplate), body: "EnvironmentTemplateParams", answer: "EnvironmentTemplate"},
		{method: "DELETE", path: template, mux: oneTemplate, summary: "Delete a template and what it kept secret; environments made from it carry on", handle: s.ofTemplates(s.deleteTemplate), answer: "Deleted"},

		{method: "POST", path: files, summary: "Upload a file", handle: s.createFile, body: "FileParams", bodyMedia: mediaForm, answer: "File", keyed: true},
		{method: "GET", path: files, summary: "List files", handle: s.listFiles, query: append(paged, "purpose"), answer: "FileList"},
		{method: "GET", path: files + "/{id}", summary: "Retrieve a file's metadata", handle: s.getFile, answer: "File"},
		{method: "DELETE", path: files + "/{id}", summary: "Delete a file; environments that it was copied into keep their copy", handle: s.deleteFile, answer: "Deleted"},
		{method: "GET", path: files + "/{id}/content", summary: "Download a file", handle: s.getFileContent, answer: "Bytes", media: mediaBytes},

		{method: "POST", path: vectorStores, summary: "Create a vector store, with files in it", handle: s.createVectorStore, body: "VectorStoreParams", answer: "VectorStore", keyed: true},
		{method: "GET", path: vectorStores, summary: "List vector stores", handle: s.listVectorStores, query: append(paged, "before"), answer: "VectorStoreList"},
		{method: "GET", path: vectorStore, summary: "Retrieve a vector store", handle: s.getVectorStore, answer: "VectorStore"},
		{method: "POST", path: vectorStore, summary: "Update what is said about a vector store", handle: s.updateVectorStore, body: "VectorStoreUpdate", answer: "VectorStore"},
		{method: "DELETE", path: vectorStore, summary: "Delete a vector store with its passages; the files stay", handle: s.deleteVectorStore, answer: "Deleted"},
		{method: "POST", path: vectorStore + "/search", summary: "Find passages of a vector store's files, with no model", handle: s.searchVectorStore, body: "VectorStoreSearch", answer: "VectorStoreResults", always: true},
		{method: "POST", path: vectorStore + "/files", summary: "Put a file into a vector store", handle: s.attachFile, body: "VectorStoreFileParams", answer: "VectorStoreFile"},
		{method: "GET", path: vectorStore + "/files", summary: "List the files of a vector store", handle: s.listVectorFiles, query: append(paged, "before", "filter"), answer: "VectorStoreFileList"},
		{method: "GET", path: vectorFile, summary: "Retrieve a file of a vector store", handle: s.getVectorFile, answer: "VectorStoreFile"},
		{method: "POST", path: vectorFile, summary: "Replace the attributes of a file", handle: s.updateVectorFile, body: "VectorStoreFileUpdate", answer: "VectorStoreFile"},
		{method: "DELETE", path: vectorFile, summary: "Take a file out of a vector store, with its passages", handle: s.detachFile, answer: "Deleted"},
		{method: "GET", path: vectorFile + "/content", summary: "Read the text of a file as it was understood", handle: s.getVectorFileContent, answer: "VectorStoreFileContent"},
		{method: "POST", path: sources, summary: "Keep a vector store up to date with a source: a directory, a Git repository, the resources of an MCP server or the tables of a database", handle: s.createSource, body: "SourceParams", answer: "Source", keyed: true},
		{method: "GET", path: sources, summary: "List the sources of a vector store", handle: s.listSources, answer: "SourceList"},
		{method: "GET", path: sourcePath, summary: "Retrieve a source, with what its last synchronisation did", handle: s.getSource, answer: "Source"},
		{method: "POST", path: sourcePath, summary: "Give a source other rules of access, and synchronise it", handle: s.updateSource, body: "SourceUpdate", answer: "Source"},
		{method: "DELETE", path: sourcePath, summary: "Delete a source with its documents", handle: s.deleteSource, answer: "Deleted"},
		{method: "POST", path: sourcePath + "/sync", summary: "Synchronise a source now", handle: s.syncSource, answer: "Source", always: true},
		{method: "POST", path: fileBatches, summary: "Put many files into a vector store", handle: s.createFileBatch, body: "VectorStoreBatchParams", answer: "VectorStoreBatch", keyed: true},
		{method: "GET", path: fileBatch, summary: "Retrieve a batch of files", handle: s.getFileBatch, answer: "VectorStoreBatch"},
		{method: "POST", path: fileBatch + "/cancel", summary: "Stop the work on what of a batch is in progress", handle: s.cancelFileBatch, answer: "VectorStoreBatch", always: true},
		{method: "GET", path: fileBatch + "/files", summary: "List the files of a batch", handle: s.listVectorFiles, query: append(paged, "before", "filter"), answer: "VectorStoreFileList"},

		{method: "POST", path: skills, summary: "Create a skill from a directory's files or one ZIP archive", handle: s.createSkill, body: "SkillParams", bodyMedia: mediaForm, answer: "Skill", keyed: true},
		{method: "GET", path: skills, summary: "List skills", handle: s.listSkills, query: paged, answer: "SkillList"},
		{method: "GET", path: skill, summary: "Retrieve a skill", handle: s.getSkill, answer: "Skill"},
		{method: "POST", path: skill, summary: "Choose a skill's default version", handle: s.updateSkill, body: "SkillUpdate", answer: "Skill"},
		{method: "DELETE", path: skill, summary: "Delete a skill with all of its versions", handle: s.deleteSkill, answer: "Deleted"},
		{method: "GET", path: skill + "/content", summary: "Download the default version as a ZIP archive", handle: s.getSkillContent, answer: "Bytes", media: mediaZIP},
		{method: "POST", path: skill + "/versions", summary: "Create a skill's next version", handle: s.createSkillVersion, body: "SkillParams", bodyMedia: mediaForm, answer: "SkillVersion"},
		{method: "GET", path: skill + "/versions", summary: "List a skill's versions", handle: s.listSkillVersions, query: paged, answer: "SkillVersionList"},
		{method: "GET", path: version, summary: "Retrieve a skill's version", handle: s.getSkillVersion, answer: "SkillVersion"},
		{method: "DELETE", path: version, summary: "Delete a version that is not the default one", handle: s.deleteSkillVersion, answer: "SkillVersionDeleted"},
		{method: "GET", path: version + "/content", summary: "Download a version as a ZIP archive", handle: s.getSkillContent, answer: "Bytes", media: mediaZIP},

		{method: "POST", path: responses, summary: "Create a response: a turn of a session, unless store is false", handle: s.createResponse, body: "ResponseParams", answer: "Response", orStream: true, events: "ResponseEvent", keyed: true},
		{method: "GET", path: response, summary: "Retrieve a response, or follow its events from a sequence number", handle: s.getResponse, query: []string{"stream", "starting_after"}, answer: "Response", orStream: true, events: "ResponseEvent"},
		{method: "DELETE", path: response, summary: "Delete a response; its session goes with its last one", handle: s.deleteResponse, answer: "Deleted"},
		{method: "POST", path: response + "/cancel", summary: "Cancel a response that runs in the background", handle: s.cancelResponse, answer: "Response", always: true},
		{method: "GET", path: response + "/input_items", summary: "List what a response was made of", handle: s.inputItems, query: paged, answer: "ResponseItemList"},
		{method: "POST", path: responses + "/input_tokens", summary: "Estimate the tokens of an input", handle: s.countInputTokens, body: "InputTokensParams", answer: "InputTokens", always: true},
		{method: "POST", path: responses + "/compact", summary: "Sum a conversation up, so that it can be sent as its summary", handle: s.compactResponse, body: "CompactParams", answer: "CompactedResponse"},
		{method: "POST", path: "/v1/chat/completions", summary: "Complete a chat; nothing of it is kept", handle: s.createChatCompletion, body: "ChatParams", answer: "ChatCompletion", orStream: true, events: "chat.completion.chunk"},
		{method: "POST", path: "/v1/embeddings", summary: "Turn texts into vectors", handle: s.createEmbeddings, body: "EmbeddingsParams", answer: "Embeddings"},
		{method: "POST", path: conversations, summary: "Create a conversation", handle: s.createConversation, body: "ConversationParams", answer: "Conversation", keyed: true},
		{method: "GET", path: conversation, summary: "Retrieve a conversation", handle: s.getConversation, answer: "Conversation"},
		{method: "POST", path: conversation, summary: "Update a conversation's metadata", handle: s.updateConversation, body: "ConversationParams", answer: "Conversation"},
		{method: "DELETE", path: conversation, summary: "Delete a conversation with all that it holds", handle: s.deleteConversation, answer: "Deleted"},
		{method: "POST", path: conversation + "/items", summary: "Add items to a conversation", handle: s.addItems, body: "ConversationItems", answer: "ResponseItemList", keyed: true},
		{method: "GET", path: conversation + "/items", summary: "List the items of a conversation", handle: s.listConversationItems, query: paged, answer: "ResponseItemList"},
		{method: "GET", path: conversation + "/items/{item}", summary: "Retrieve an item of a conversation", handle: s.getConversationItem, answer: "ResponseItem"},
		{method: "DELETE", path: conversation + "/items/{item}", summary: "Delete an item: it is no longer listed, and no model is given it", handle: s.deleteConversationItem, answer: "Conversation"},

		{method: "POST", path: session + "/pause", summary: "Pause: what is in flight finishes, nothing more starts", handle: s.pauseSession, answer: "Session", always: true},
		{method: "POST", path: session + "/resume", summary: "Resume a paused session", handle: s.resumeSession, answer: "Session"},
		{method: "POST", path: sessions + "/control", summary: "Pause, resume or cancel all sessions that fit a filter", handle: s.controlSessions, body: "SessionControlParams", answer: "SessionControl", always: true},
		{method: "POST", path: session + "/fork", summary: "Copy a session's history into a new one", handle: s.forkSession, body: "ForkParams", answer: "Session"},
		{method: "GET", path: session + "/export", summary: "Download a session as JSON lines", handle: s.exportSession, answer: "Lines", media: mediaLines},
		{method: "POST", path: sessions + "/import", summary: "Make a session from an exported file", handle: s.importSession, body: "Lines", answer: "Session"},
		{method: "GET", path: "/v1/approvals", summary: "List what waits for a person", handle: s.listApprovals, query: paged, answer: "ApprovalList"},
		{method: "GET", path: "/v1/approvals/{id}", summary: "Retrieve a request that waits; one of the API also for a day after it is over", handle: s.getApproval, answer: "Approval"},
		{method: "POST", path: "/v1/approvals/{id}", summary: "Answer a request", handle: s.decide, body: "Decision", status: http.StatusAccepted, keyed: true, always: true},
		{method: "POST", path: keys, summary: "Make an API key: its secret is shown this once", handle: s.withKeys(s.createKey), body: "APIKeyParams", answer: "APIKey"},
		{method: "GET", path: keys, summary: "List API keys, without their secrets", handle: s.withKeys(s.listKeys), query: paged, answer: "APIKeyList"},
		{method: "GET", path: keys + "/{id}", summary: "Retrieve an API key, without its secret", handle: s.withKeys(s.getKey), answer: "APIKey"},
		{method: "DELETE", path: keys + "/{id}", summary: "Revoke an API key, on all nodes within a second", handle: s.withKeys(s.revokeKey), answer: "Deleted"},
		{method: "POST", path: keys + "/{id}/rotate", summary: "Give an API key a new secret; the old one is valid for grace_seconds", handle: s.withKeys(s.rotateKey), body: "APIKeyRotation", answer: "APIKey", keyed: true, always: true},
		{method: "GET", path: "/v1/policies", summary: "List the policies in force", handle: s.withPolicies(s.listPolicies), answer: "PolicyList"},
		{method: "GET", path: "/v1/policies/schema", summary: "What policies can speak of, in Cedar's schema language", handle: s.withPolicies(s.policySchema), answer: "Lines", media: mediaText},
		{method: "POST", path: policySets, summary: "Upload a set of policies: it counts at every node within a second", handle: s.withPolicySets(s.createPolicySet), body: "PolicySetParams", answer: "PolicySet", keyed: true},
		{method: "GET", path: policySets, summary: "List the project's policy sets, by their names", handle: s.withPolicySets(s.listPolicySets), query: paged, answer: "PolicySetList"},
		{method: "POST", path: policySets + "/validate", summary: "Check policies as an upload does, and store nothing", handle: s.withPolicySets(s.validatePolicySet), body: "PolicySetCheckParams", answer: "PolicySetCheck", always: true},
		{method: "GET", path: policySet, summary: "Retrieve a policy set with its text; its ETag is its version", handle: s.withPolicySets(s.getPolicySet), answer: "PolicySet"},
		{method: "POST", path: policySet, summary: "Write a policy set's next version, over the one in If-Match or expected_version", handle: s.withPolicySets(s.updatePolicySet), body: "PolicySetUpdate", answer: "PolicySet", keyed: true},
		{method: "DELETE", path: policySet, summary: "Delete a policy set: its versions stay, and can be restored", handle: s.withPolicySets(s.deletePolicySet), answer: "Deleted"},
		{method: "POST", path: policySet + "/rollback", summary: "Write an older version again, as the next one", handle: s.withPolicySets(s.rollbackPolicySet), body: "PolicySetRollback", answer: "PolicySet", keyed: true},
		{method: "GET", path: policySet + "/versions", summary: "List a policy set's versions, newest first", handle: s.withPolicySets(s.listPolicySetVersions), query: paged, answer: "PolicySetList"},
		{method: "GET", path: policySet + "/versions/{version}", summary: "Retrieve a version of a policy set with its text", handle: s.withPolicySets(s.getPolicySetVersion), answer: "PolicySet"},
		{method: "POST", path: meanings, summary: "Upload a semantic model", handle: s.withSemantic(s.createSemanticModel), body: "SemanticModelParams", answer: "SemanticModel", keyed: true},
		{method: "GET", path: meanings, summary: "List the semantic models that the project uploaded, by their names", handle: s.withSemantic(s.listSemanticModels), query: paged, answer: "SemanticModelList"},
		{method: "POST", path: meanings + "/validate", summary: "Check a semantic model as an upload does, and store nothing", handle: s.withSemantic(s.validateSemanticModel), body: "SemanticModelParams", answer: "SemanticModelCheck", always: true},
		{method: "POST", path: meanings + "/query", summary: "Ask for metrics or rows in the terms of semantic models", handle: s.withSemantic(s.querySemantic), body: "SemanticQuery", answer: "SemanticAnswer", always: true},
		{method: "POST", path: meanings + "/describe", summary: "Tell what a term means, or what there is", handle: s.withSemantic(s.describeSemantic), body: "SemanticTerm", answer: "SemanticDescription", always: true},
		{method: "GET", path: meaning, summary: "Retrieve a semantic model with its text; its ETag is its version", handle: s.withSemantic(s.getSemanticModel), answer: "SemanticModel"},
		{method: "POST", path: meaning, summary: "Write a semantic model's next version, over the one in If-Match or expected_version", handle: s.withSemantic(s.updateSemanticModel), body: "SemanticModelUpdate", answer: "SemanticModel", keyed: true},
		{method: "DELETE", path: meaning, summary: "Delete a semantic model with its versions", handle: s.withSemantic(s.deleteSemanticModel), answer: "Deleted"},
		{method: "GET", path: meaning + "/versions", summary: "List a semantic model's versions, newest first", handle: s.withSemantic(s.listSemanticModelVersions), query: paged, answer: "SemanticModelList"},
		{method: "GET", path: meaning + "/versions/{version}", summary: "Retrieve a version of a semantic model with its text", handle: s.withSemantic(s.getSemanticModelVersion), answer: "SemanticModel"},
		{method: "GET", path: "/v1/routes", summary: "Explain which routes a call to a model would take, and why", handle: s.explainRoutes, query: []string{"model", "calls", "agent_id", "session_id", "label"}, answer: "RouteList"},
		{method: "GET", path: "/v1/model_figures", summary: "What each version of a model has done: calls, errors, money, times, quality", handle: s.modelFigures, query: []string{"model", "from", "to"}, answer: "ModelFiguresList"},
		{method: "POST", path: "/v1/models/{id}/feedback", summary: "Judge an answer of a model, once", handle: s.judgeModel, body: "ModelFeedbackParams", answer: "ModelFeedback"},
		{method: "GET", path: "/v1/capacity", summary: "List this node's pools of model throughput", handle: s.listCapacity, answer: "PoolList"},
		{method: "GET", path: "/v1/capacity/commitments", summary: "How commitments stand against what was used", handle: s.listCommitments, query: []string{"at", "format"}, answer: "CommitmentList", orCSV: true},
		{method: "GET", path: "/v1/usage_records", summary: "List what was used, a record each", handle: s.listUsage, query: append(paged, usageFilters()...), answer: "UsageRecordList"},
		{method: "GET", path: "/v1/usage", summary: "Add up what was used, by any dimensions", handle: s.reportUsage, query: append([]string{"group_by", "format", "project"}, usageFilters()...), answer: "UsageReport", orCSV: true},
		{method: "GET", path: "/v1/usage/statement", summary: "Who gets what of a time's usage, by the rules of the configuration", handle: s.usageStatement, query: []string{"month", "from", "to", "format", "capped", "project"}, answer: "UsageStatement", orCSV: true},
		{method: "POST", path: "/v1/usage/verify", summary: "Hold the usage records against the journals that they follow from", handle: s.verifyUsage, body: "UsageVerify", answer: "UsageVerification", always: true},
		{method: "GET", path: "/v1/audit_records", summary: "List decisions and administrative acts, chained by their hashes", handle: s.withAudit(s.listAudit), query: append(paged, auditFilters()...), answer: "AuditRecordList"},
		{method: "GET", path: "/v1/audit_checkpoints", summary: "List the signed checkpoints of the audit log, the smallest first; the last covers every record", handle: s.withAudit(s.listCheckpoints), query: []string{"after", "limit"}, answer: "AuditCheckpointList"},
		{method: "GET", path: "/v1/retention", summary: "How long this project keeps things, in days", handle: s.getRetention, answer: "Retention"},
		{method: "POST", path: "/v1/erasures", summary: "Erase all that there is of a session or a user, or what an item says; it goes on by itself, to a signed certificate", handle: s.withErasures(s.beginErasure), body: "ErasureParams", answer: "Erasure", keyed: true, always: true},
		{method: "GET", path: "/v1/erasures", summary: "List erasures", handle: s.withErasures(s.listErasures), query: paged, answer: "ErasureList"},
		{method: "GET", path: "/v1/erasures/{id}", summary: "Retrieve an erasure, with its certificate once nothing is left", handle: s.withErasures(s.getErasure), answer: "Erasure"},
		{method: "POST", path: killSwitches, summary: "Stop an agent, a model, a tool, a user or the project at once", handle: s.setKillSwitch, body: "KillSwitchParams", answer: "KillSwitch", keyed: true, always: true},
		{method: "GET", path: killSwitches, summary: "List the kill switches that are set", handle: s.listKillSwitches, query: paged, answer: "KillSwitchList"},
		{method: "GET", path: killSwitches + "/{id}", summary: "Retrieve a kill switch", handle: s.getKillSwitch, answer: "KillSwitch"},
		{method: "DELETE", path: killSwitches + "/{id}", summary: "Lift a kill switch", handle: s.liftKillSwitch, answer: "Deleted"},
		{method: "POST", path: budgets, summary: "Create a budget: what calls and environments may use", handle: s.createBudget, body: "BudgetParams", answer: "Budget", keyed: true},
		{method: "GET", path: budgets, summary: "List budgets, those of the configuration as well", handle: s.listBudgets, query: paged, answer: "BudgetList"},
		{method: "GET", path: budgets + "/{id}", summary: "Retrieve a budget, with what it has used", handle: s.getBudget, answer: "Budget"},
		{method: "POST", path: budgets + "/{id}", summary: "Change a budget's name and limit", handle: s.updateBudget, body: "BudgetUpdate", answer: "Budget"},
		{method: "DELETE", path: budgets + "/{id}", summary: "Delete a budget: it limits nothing from then on", handle: s.deleteBudget, answer: "Deleted"},
		{method: "GET", path: "/v1/models", summary: "List models", handle: s.listModels, answer: "ModelList"},
		{method: "GET", path: "/v1/models/{id...}", summary: "Retrieve a model", handle: s.getModel, answer: "Model"},

		{method: "POST", path: vaults, summary: "Create a vault", handle: s.withVaults(s.createVault), body: "VaultParams", answer: "Vault", keyed: true},
		{method: "GET", path: vaults, summary: "List vaults", handle: s.withVaults(s.listVaults), query: append(paged, "metadata", "vault_status"), answer: "VaultList"},
		{method: "POST", path: vaults + "/rekey", summary: "Seal what the project, or every project, has sealed with the key that seals now, where an older one did", handle: s.withVaults(s.rekeyVaults), body: "VaultsRekey", answer: "VaultsRekeyed", always: true},
		{method: "GET", path: oneVault, summary: "Retrieve a vault", handle: s.withVaults(s.getVault), answer: "Vault"},
		{method: "POST", path: oneVault, summary: "Update a vault: null clears its name", handle: s.withVaults(s.updateVault), body: "VaultParams", answer: "Vault"},
		{method: "DELETE", path: oneVault, summary: "Delete a vault with all of its credentials: none is used from then on", handle: s.withVaults(s.deleteVault), answer: "Deleted"},
		{method: "POST", path: credentials, summary: "Put a credential into a vault: its secrets are never returned", handle: s.withVaults(s.createCredential), body: "CredentialParams", answer: "Credential", keyed: true},
		{method: "GET", path: credentials, summary: "List a vault's credentials, without their secrets", handle: s.withVaults(s.listCredentials), query: append(paged, "metadata", "vault_status"), answer: "CredentialList"},
		{method: "GET", path: credential, summary: "Retrieve a credential, without its secrets", handle: s.withVaults(s.getCredential), answer: "Credential"},
		{method: "POST", path: credential, summary: "Update a credential, or rotate its secrets: they count from the next request on", handle: s.withVaults(s.updateCredential), body: "CredentialUpdate", answer: "Credential", always: true},
		{method: "DELETE", path: credential, summary: "Delete a credential: it is not used from the next request on", handle: s.withVaults(s.deleteCredential), answer: "Deleted"},

		{method: "POST", path: memoryStores, summary: "Create a memory store", handle: s.createMemoryStore, body: "MemoryStoreParams", answer: "MemoryStore", keyed: true},
		{method: "GET", path: memoryStores, summary: "List memory stores", handle: s.listMemoryStores, query: paged, answer: "MemoryStoreList"},
		{method: "GET", path: memoryStore, summary: "Retrieve a memory store", handle: s.getMemoryStore, answer: "MemoryStore"},
		{method: "POST", path: memoryStore, summary: "Update a memory store", handle: s.updateMemoryStore, body: "MemoryStoreParams", answer: "MemoryStore"},
		{method: "DELETE", path: memoryStore, summary: "Forget a memory store with everything in it", handle: s.deleteMemoryStore, answer: "Deleted"},
		{method: "POST", path: memories, summary: "Add a memory, which may supersede another", handle: s.createMemory, body: "MemoryParams", answer: "Memory", keyed: true},
		{method: "GET", path: memories, summary: "List memories", handle: s.listMemories, query: append(paged, "memory_kind", "memory_scope", "memory_label", "without_label", "metadata", "session_id", "written_by", "memory_from", "memory_until", "memory_as_of"), answer: "MemoryList"},
		{method: "POST", path: memories + "/batch", summary: "Add memories: all of them or none", handle: s.createMemories, body: "MemoryBatch", answer: "MemoryList", keyed: true},
		{method: "GET", path: oneMemory, summary: "Retrieve a memory; its ETag is its version", handle: s.getMemory, answer: "Memory"},
		{method: "POST", path: oneMemory, summary: "Make a memory's next version, over the one in If-Match or expected_version", handle: s.updateMemory, body: "MemoryUpdate", answer: "Memory"},
		{method: "DELETE", path: oneMemory, summary: "Forget a memory with all of its versions", handle: s.deleteMemory, query: []string{"cited"}, answer: "Deleted"},
		{method: "POST", path: oneMemory + "/redact", summary: "Take away what a memory says, in all of its versions", handle: s.redactMemory, answer: "Memory", always: true},
		{method: "GET", path: oneMemory + "/versions", summary: "List a memory's versions, newest first", handle: s.listMemoryVersions, answer: "MemoryList"},
		{method: "POST", path: memoryStore + "/ingest", summary: "Make each message of a session a memory, once", handle: s.ingestSession, body: "MemoryIngest", answer: "MemoryIngested"},
		{method: "POST", path: memoryStore + "/forget", summary: "Forget what filters select: a session, a scope, a user", handle: s.forgetMemories, body: "MemoryForget", answer: "MemoryForgotten", always: true},
		{method: "POST", path: memoryStores + "/forget", summary: "Forget what filters select in every store of the project: a user, a scope", handle: s.forgetMemories, body: "MemoryForget", answer: "MemoryForgotten", always: true},
		{method: "POST", path: memoryStore + "/search", summary: "Find memories by what they say, with no model", handle: s.searchMemories, body: "MemorySearch", answer: "MemoryHits", always: true},

		{method: "POST", path: workload.TokenPath, summary: "Exchange a key, or a token of an identity provider, for one that may less (RFC 8693)", handle: s.exchangeToken, body: "TokenExchange", bodyMedia: mediaURLForm, answer: "ExchangedToken", open: true, oauth: true, always: true},
		{method: "GET", path: consent.PagePath, summary: "The page on which a user is asked to let an agent act for them at a tool server; the ticket in its query is the proof, and it does nothing", handle: s.showConsent, query: []string{"ticket"}, answer: "Page", media: mediaHTML, open: true},
		{method: "POST", path: consent.PagePath, summary: "Go on from that page to the authorization server", handle: s.beginConsent, body: "ConsentForm", bodyMedia: mediaURLForm, status: http.StatusSeeOther, media: mediaHTML, open: true, always: true},
		{method: "GET", path: consent.CallbackPath + "{issuer}", summary: "Where an authorization server sends the user back to: the state is the proof, once, in the browser that began with it", handle: s.endConsent, query: []string{"state", "code", "error", "iss"}, answer: "Page", media: mediaHTML, open: true, lenient: true},
		{method: "GET", path: "/v1/workload_keys", summary: "List the keys that tokens of agents are signed with", handle: s.listWorkloadKeys, answer: "WorkloadKeyList"},
		{method: "POST", path: "/v1/workload_keys/rotate", summary: "Have another key sign the tokens of agents, as soon as everybody can know it", handle: s.rotateWorkloadKey, answer: "WorkloadKey"},
		{method: "GET", path: consent.ClientPath + "{issuer}", summary: "What this server is, for an authorization server that takes its URL as a client", handle: s.aboutClient, answer: "Anything", open: true},
		{method: "GET", path: workload.KeysPath, summary: "The keys that tokens of agents can be checked with", handle: s.publicKeys, answer: "KeySet", open: true},
		{method: "GET", path: workload.AboutPath, summary: "What verifiers of those tokens need to know, as OpenID Connect's discovery says it", handle: s.aboutIssuer, answer: "IssuerInfo", open: true},
		{method: "GET", path: "/healthz", summary: "The process answers", handle: s.health, answer: "Health", open: true},
		{method: "GET", path: "/readyz", summary: "The node can serve", handle: s.ready, answer: "Health", open: true},
		{method: "GET", path: "/metrics", summary: "Counters, in the text format of Prometheus", handle: s.exposeMetrics, answer: "Lines", media: mediaText},
		{method: "GET", path: "/openapi.json", summary: "This document", handle: s.spec, answer: "Anything", open: true},
	}
}

// later lists the routes of the contract that have not landed: "METHODS path".
func later() []string {
	return []string{
		"POST,GET /v1/agents/automations",
		"GET,POST,DELETE /v1/agents/automations/{id}",
		"POST /v1/agents/automations/{id}/pause",
		"POST /v1/agents/automations/{id}/resume",
		"POST,GET /v1/agents/automations/{id}/invocations",
		"GET /v1/agents/automations/{id}/invocations/{id}",
	}
}

// shadowed lists the later routes that would else be taken for an agent's id.
func shadowed() []string {
	return []string{"/v1/agents/automations"}
}

// unknown answers for every path that the table does not have.
func (s *server) unknown(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	var allowed []string
	for _, l := range later() {
		methods, path, _ := strings.Cut(l, " ")
		if !matches(path, r.URL.Path) {
			continue
		}
		if slices.Contains(strings.Split(methods, ","), r.Method) {
			e := stead.Errorf(stead.KindNotImplemented, "%s %s is part of the contract, and has not landed in this version of Stead", r.Method, path)
			e.Hint = "GET /openapi.json lists what works."
			return e
		}
		allowed = append(allowed, strings.Split(methods, ",")...)
	}
	if !slices.Contains(shadowed(), r.URL.Path) {
		for _, rt := range s.routes {
			if matches(rt.path, r.URL.Path) && !slices.Contains(allowed, rt.method) {
				allowed = append(allowed, rt.method)
			}
		}
	}
	if len(allowed) > 0 {
		return s.wrongMethod(w, r, allowed)
	}
	e := stead.Errorf(stead.KindNotFound, "there is no %s %.200s", r.Method, r.URL.Path)
	e.Hint = "GET /openapi.json lists what there is."
	return e
}

// wrongMethod answers 405, which no kind of error stands for: only the mux can know it.
func (s *server) wrongMethod(w http.ResponseWriter, r *http.Request, allowed []string) error {
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	code := "method_not_allowed"
	s.writeStatus(w, http.StatusMethodNotAllowed, envelope{wireError{
		Message: r.Method + " is not for " + r.URL.Path + ", which allows " + strings.Join(allowed, ", "),
		Type:    "invalid_request_error", Code: &code,
	}})
	return nil
}

// matches reports whether a path has the form of a pattern with {…} segments.
func matches(pattern, path string) bool {
	if head, ok := strings.CutSuffix(pattern, "/{id...}"); ok {
		return strings.HasPrefix(path, head+"/") && len(path) > len(head)+1
	}
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && (!strings.HasPrefix(want[i], "{") || have[i] == "") {
			return false
		}
	}
	return true
}
