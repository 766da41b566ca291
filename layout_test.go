package stead_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the prefix of our own import paths.
const module = "github.com/stead-dev/stead"

// maxLines is the longest file that is not a test: at 500 lines there is a second concept in it.
const maxLines = 500

// rule says what one package may import beyond the standard library. Everything else is refused.
type rule struct {
	pkg     string   // below the module; a trailing "/…" stands for it and everything in it
	ours    []string // our packages, written the same way; the root package is free to all
	outside []string // modules of others
	why     string
}

// layout is policy, not a description: a change of it is a change of the design. Contracts import
// contracts; an adapter imports its own contract and the module it adapts; siblings never import
// siblings; only cmd/stead knows everybody.
func layout() []rule {
	return []rule{
		{"", nil, nil, "the vocabulary: if it imported anything, everything would"},
		{"internal/held", nil, nil, "bounds what requests hold in memory, over all of them: shared by the door and the runner"},
		{"internal/volume", nil, nil, "what a file system has left, and the error of a full one: shared by whoever stores"},
		{"internal/ballast", []string{"internal/volume"}, []string{"golang.org/x/sys"}, "the journal's reserve of a disk that it shares: asked by whoever stores, and given to the journal's adapter by cmd alone"},
		{"internal/redact", nil, nil, "takes secrets out of what others say: shared by whoever sends them"},
		{"internal/param", nil, nil, "reads JSON fields: needs the kinds of error alone"},
		{"internal/journal", nil, nil, "contract of the log: adapters and the runner meet here"},
		{"internal/blob", []string{"internal/volume"}, []string{"golang.org/x/sys"}, "contract of bytes by digest, with the directory store that syncs it"},
		{"internal/policy", nil, nil, "contract of decisions"},
		{"internal/policy/trial", []string{"internal/policy"}, []string{"github.com/goccy/go-yaml"}, "cases for policies, as people write them; knows no language of policies"},
		{"internal/policy/replay", []string{"internal/policy", "internal/session", "internal/agent", "internal/egress", "internal/environment"}, nil, "what policies would have decided: joins journals, with what they say of tools and connections, and the contract of decisions"},
		{"internal/policy/cedar", []string{"internal/policy"}, []string{"github.com/cedar-policy/cedar-go"}, "adapter: policies in the Cedar language"},
		{"internal/policy/policyset", []string{"internal/document", "internal/policy", "internal/policy/cedar"}, nil, "policies that projects upload: a service over contracts, which has their language read by its adapter"},
		{"internal/sensitive", nil, nil, "personal data and secrets in texts, found by their forms: pure"},
		{"internal/guardrail", []string{"internal/policy", "internal/sensitive"}, nil, "checks texts by the operator's rules: pure, with its judge, recorder and schema language given to it"},
		{"internal/guardrail/judge", []string{"internal/guardrail", "internal/model"}, nil, "a judge that is a model: joins the two contracts"},
		{"internal/guardrail/trial", []string{"internal/guardrail"}, []string{"github.com/goccy/go-yaml"}, "cases for guardrails, as people write them"},
		{"internal/audit", []string{"internal/policy"}, nil, "who was allowed what, chained and signed: its contract of a store, and the decider that records"},
		{"internal/approval", []string{"internal/audit", "internal/document", "internal/policy", "internal/sensitive"}, nil, "requests of the API that wait for somebody's approval: a decider and a service over contracts"},
		{"internal/erasure", []string{"internal/approval", "internal/audit", "internal/document", "internal/file", "internal/policy", "internal/session"}, nil, "removes all of a session or a user, to a signed certificate: a service over contracts, which goes on under what was approved of it"},
		{"internal/source", []string{"internal/approval", "internal/document", "internal/param", "internal/passage", "internal/policy", "internal/vectorstore"}, []string{"golang.org/x/text"}, "keeps vector stores up to date: a service over contracts, which goes on under what was approved of a source; names the fields of its patterns, and compares paths in one normal form"},
		{"internal/source/directory", []string{"internal/source", "internal/vectorstore"}, []string{"golang.org/x/sys"}, "reads one type of source: implements its contract, and says who may read what in the form of vector stores; access control lists of open files are no part of the standard library"},
		{"internal/source/sql", []string{"internal/database", "internal/sensitive", "internal/source", "internal/vectorstore"}, nil, "reads one type of source: joins its contract and that of databases, and says who may read what in the form of vector stores"},
		{"internal/source/mcp", []string{"internal/source", "internal/tool"}, nil, "reads one type of source: joins its contract and that of tool servers' resources"},
		{"internal/source/git", []string{"internal/source"}, nil, "reads one type of source, by the machine's git"},
		{"internal/source/web", []string{"internal/param", "internal/source"}, []string{"golang.org/x/net"}, "reads one type of source, through a guard that it is given; names the fields of its URLs"},
		{"internal/retention", []string{"internal/audit", "internal/document", "internal/journal", "internal/policy", "internal/session"}, nil, "deletes what was kept for long enough: a service over contracts"},
		{"internal/audit/audittest", []string{"internal/audit", "internal/journal", "internal/policy"}, nil, "the suites that every store of audit records passes, of which one is about what appends bring, and a store in memory; used by tests"},
		{"internal/tool", nil, nil, "contract of a callable"},
		{"internal/model", nil, nil, "contract of a model"},
		{"internal/environment", []string{"internal/tool"}, nil, "contract of a computer for an agent"},
		{"internal/environment/ns", []string{"internal/environment", "internal/environment/census", "internal/environment/cgroup", "internal/environment/packet", "internal/environment/seccomp", "internal/environment/workspace"}, []string{"golang.org/x/sys"}, "driver: Linux namespaces"},
		{"internal/environment/census", nil, nil, "whose process is whose, for the first process inside of a sandbox: ns's and gVisor's, which must link little"},
		{"internal/environment/packet", nil, []string{"golang.org/x/sys"}, "messages with descriptors to a process of the driver's own, for every driver that forks one"},
		{"internal/environment/seccomp", nil, []string{"golang.org/x/sys"}, "the filter of system calls, for every driver that shares the host's kernel"},
		{"internal/environment/cgroup", []string{"internal/environment"}, nil, "limits of a local environment by control groups, for every driver that forks"},
		{"internal/environment/workspace", []string{"internal/environment", "internal/environment/workspace/manifest", "internal/volume"}, []string{"golang.org/x/sys"}, "an agent's files: every local driver has them in common, and none writes its own"},
		{"internal/environment/patch", []string{"internal/environment"}, nil, "the patch format that models know: text to operations to files, over a small interface"},
		{"internal/environment/workspace/manifest", nil, []string{"github.com/klauspost/compress"}, "the stored form of a workspace: pure bytes to trees and back, with the compression"},
		{"internal/environment/environmenttest", []string{"internal/environment", "internal/environment/workspace", "internal/blob"}, []string{"golang.org/x/sys"}, "the suites that every driver passes; used by tests"},
		{"internal/environment/landlock", []string{"internal/environment", "internal/environment/workspace", "internal/environment/cgroup", "internal/environment/packet", "internal/environment/seccomp"}, []string{"golang.org/x/sys"}, "adapter: Landlock, where namespaces are denied"},
		{"internal/environment/environmenttest/probe", nil, []string{"golang.org/x/sys"}, "runs inside of environments and attacks; used by tests"},
		{"internal/environment/gvisor", []string{"internal/environment", "internal/environment/cgroup", "internal/environment/gvisor/wire", "internal/environment/workspace"}, []string{"golang.org/x/sys"}, "adapter: a kernel of their own for commands, by the program stead-gvisor, which links gVisor so that this does not"},
		{"internal/environment/gvisor/wire", nil, nil, "what that driver and that program say to each other: the one package that both link"},
		{"internal/environment/bare", []string{"internal/environment", "internal/environment/workspace"}, []string{"golang.org/x/sys"}, "adapter: no sandbox at all, for an executor whose user says so by name"},
		{"internal/environment/executor", []string{"internal/environment"}, []string{"github.com/coder/websocket"}, "adapter: environments on users' machines, both ends of its protocol"},
		{"internal/environment/host", []string{"internal/environment", "internal/environment/trait", "internal/environment/workspace", "internal/environment/workspace/manifest", "internal/environment/wrap", "internal/environment/origin", "internal/egress", "internal/blob", "internal/seal", "internal/template", "internal/capability", "internal/tool", "internal/volume"}, nil, "keeps a node's environments: joins driver, workspace, way out and blobs, and knows no driver"},
		{"internal/environment/wrap", []string{"internal/blob", "internal/document", "internal/seal", "internal/seal/reseal"}, nil, "keeps what wraps the keys of environments' confidential texts, beside the blobs that hold them: joins the contracts of both"},
		{"internal/environment/plan", []string{"internal/environment/wrap", "internal/seal", "internal/session", "internal/template"}, nil, "resolves what an environment names; joins templates and the service of sessions"},
		{"internal/environment/origin", []string{"internal/environment", "internal/tool"}, nil, "adapter: tool servers inside an environment; joins the two contracts"},
		{"internal/document", nil, []string{"github.com/google/uuid"}, "contract of what is configured and not journaled"},
		{"internal/document/documenttest", []string{"internal/document"}, nil, "the suite that every store of documents passes; used by tests"},
		{"internal/awsauth", nil, []string{"github.com/aws/aws-sdk-go-v2"}, "as whom AWS is called, and its signatures"},
		{"internal/seal/kms", []string{"internal/awsauth"}, []string{"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"}, "adapters: key management services, which unwrap the keys that seal"},
		{"internal/seal/kms/kmstest", nil, nil, "servers that speak their protocols; used by tests"},
		{"internal/seal/reseal", []string{"internal/document", "internal/policy", "internal/seal"}, nil, "seals anew what older keys sealed, wherever it stands: a service over contracts, which those who keep it tell where"},
		{"internal/seal", nil, nil, "secrets at rest: needs the standard library's ciphers alone"},
		{"internal/capability", nil, []string{"github.com/goccy/go-yaml"}, "reads archives of strangers, and the front matter in them"},
		{"internal/asset", []string{"internal/blob", "internal/document"}, nil, "bytes that come and go with the document that owns them"},
		{"internal/file", []string{"internal/asset", "internal/document", "internal/policy"}, nil, "uploaded files: a service over contracts"},
		{"internal/skill", []string{"internal/asset", "internal/capability", "internal/document", "internal/policy"}, nil, "uploaded skills: a service over contracts"},
		{"internal/vault", []string{"internal/document", "internal/environment", "internal/param", "internal/policy", "internal/seal", "internal/seal/reseal", "internal/tool"}, nil, "credentials that agents use and never see: a service over contracts, which decodes their wire form"},
		{"internal/oauth", nil, []string{"github.com/modelcontextprotocol/go-sdk"}, "a client's side of OAuth for tool servers: keeps nothing, and is told which HTTP client to use"},
		{"internal/oauth/oauthtest", nil, []string{"github.com/modelcontextprotocol/go-sdk"}, "an authorization server and a tool server behind it; used by tests"},
		{"internal/consent", []string{"internal/document", "internal/oauth", "internal/policy", "internal/seal", "internal/seal/reseal", "internal/vault"}, nil, "asks users whether agents may act for them, and gives vaults what comes of it: a service over contracts and the vaults"},
		{"internal/template", []string{"internal/asset", "internal/capability", "internal/document", "internal/egress", "internal/environment", "internal/param", "internal/policy", "internal/seal", "internal/seal/reseal"}, nil, "what an environment is made of: decodes its own wire form, and keeps templates of it"},
		{"internal/environment/image", []string{"internal/environment"}, []string{"github.com/google/go-containerregistry", "golang.org/x/sys"}, "adapter: OCI images become root directories for the local drivers"},
		{"internal/egress", nil, nil, "the way out of an environment, and of the server where users name the address: needs neither its contract nor its drivers"},
		{"internal/environment/layer", []string{"internal/environment"}, nil, "what a set-up changed in a container's root, from file system to archive and back; runs inside, for drivers whose engine mounts nothing of ours"},
		{"internal/environment/trait", []string{"internal/environment", "internal/environment/workspace/manifest"}, []string{"golang.org/x/sys"}, "owners, modes and overlays' marks of a layer, as a list beside its checkpoint"},
		{"internal/environment/guest", []string{"internal/environment", "internal/environment/layer", "internal/environment/seccomp", "internal/environment/workspace"}, []string{"golang.org/x/sys"}, "commands inside a container that an engine or cluster made; shared by the drivers for those"},
		{"internal/environment/docker", []string{"internal/environment", "internal/environment/guest", "internal/environment/workspace"}, nil, "adapter: any OCI engine, by plain HTTP over its socket"},
		{"internal/environment/kubernetes", []string{"internal/environment", "internal/environment/guest", "internal/environment/workspace"}, []string{"github.com/coder/websocket"}, "adapter: claims of agent-sandbox, by plain HTTP and a WebSocket"},
		{"internal/usage", []string{"internal/journal", "internal/model"}, []string{"github.com/google/uuid"}, "records of what was used, and what is made of them: pure but for its contract of budgets"},
		{"internal/trace", []string{"internal/agent", "internal/guardrail", "internal/model", "internal/policy", "internal/session"}, nil, "events to spans: a pure fold beside the session's own, and the contract that the door calls"},
		{"internal/usage/meter", []string{"internal/environment", "internal/journal", "internal/model", "internal/session", "internal/usage"}, nil, "events to records: the one place that knows both"},
		{"internal/usage/usagetest", []string{"internal/usage"}, nil, "the suite that every ledger passes; used by tests"},
		{"internal/killswitch", []string{"internal/document", "internal/policy"}, nil, "a service over contracts: what is stopped, before policies and while effects are under way"},
		{"internal/usage/budget", []string{"internal/document", "internal/journal", "internal/policy", "internal/usage"}, nil, "a service over contracts: keeps budgets and decides by them"},
		{"internal/usage/stateless", []string{"internal/journal", "internal/usage"}, nil, "records of calls without a journal, written behind them"},
		{"internal/usage/account", []string{"internal/journal", "internal/policy", "internal/session", "internal/usage", "internal/usage/meter"}, nil, "a service over contracts: joins the records and the journals that they follow from"},
		{"internal/agent", []string{"internal/param"}, nil, "what an agent is: decodes its own wire form"},
		{"internal/identity", []string{"internal/document", "internal/policy", "internal/identity/token"}, nil, "who asks, and what their roles may do"},
		{"internal/identity/certificate", nil, nil, "who comes with a TLS client certificate"},
		{"internal/identity/certificate/certificatetest", nil, nil, "issues certificates; used by tests"},
		{"internal/identity/token", nil, []string{"github.com/go-jose/go-jose/v4"}, "who comes with a token of an identity provider"},
		{"internal/identity/workload", []string{"internal/document", "internal/environment", "internal/policy", "internal/seal", "internal/seal/reseal", "internal/tool"}, []string{"github.com/go-jose/go-jose/v4", "github.com/google/uuid"}, "tokens by which agents are known to others: a service over contracts"},
		{"internal/capacity", []string{"internal/model"}, nil, "shares throughput among projects; stands in front of any model"},
		{"internal/chat", []string{"internal/model", "internal/param"}, nil, "the wire of Chat Completions; does no I/O"},
		{"internal/responses", []string{"internal/citation", "internal/agent", "internal/model", "internal/param"}, nil, "the wire of the Responses API; does no I/O"},
		{"internal/memory", []string{"internal/document", "internal/memory/extract", "internal/memory/recall", "internal/policy"}, nil, "what outlives a session: contract of its store, and the service over it"},
		{"internal/passage", nil, []string{"golang.org/x/net", "golang.org/x/text"}, "cuts documents into passages: pure, as text goes in and text comes out, of the charsets that browsers know"},
		{"internal/office", []string{"internal/passage"}, []string{"github.com/xuri/excelize/v2"}, "office documents become Markdown: bytes go in and text comes out; which row is a table's header is the same in CSV"},
		{"internal/pdf", nil, []string{"github.com/klippa-app/go-pdfium", "github.com/tetratelabs/wazero"}, "PDF becomes Markdown, in a sandbox"},
		{"internal/vectorstore", []string{"internal/document", "internal/file", "internal/memory", "internal/memory/recall", "internal/param", "internal/passage", "internal/policy"}, nil, "uploaded files that are found by what they say: a service over contracts, with memory's store and index; reads its own filters"},
		{"internal/memory/memorytest", []string{"internal/document", "internal/memory", "internal/memory/recall", "internal/policy"}, nil, "the suite that every store of memories passes; used by tests"},
		{"internal/memory/extract", []string{"internal/sensitive"}, nil, "what of a conversation is worth remembering: prompt, answer and rules, pure"},
		{"internal/memory/mount", []string{"internal/memory"}, nil, "memory stores as files of a workspace: reads and writes both by their contracts"},
		{"internal/memory/remember", []string{"internal/agent", "internal/memory", "internal/memory/extract", "internal/memory/mount", "internal/memory/recall", "internal/model", "internal/session"}, nil, "what sessions remember by themselves: joins their contract and memory's"},
		{"internal/memory/embed", []string{"internal/model", "internal/policy", "internal/usage"}, nil, "a configured model that makes memories' vectors: joins the contracts of models, policies and budgets"},
		{"internal/memory/recall", nil, []string{"golang.org/x/text"}, "the ranking of memories: a pure index, so that both databases rank alike"},
		{"internal/session", []string{"internal/citation", "internal/guardrail", "internal/environment", "internal/agent", "internal/policy", "internal/tool", "internal/model", "internal/param"}, nil, "the pure core speaks in contracts; it does no I/O"},
		{"internal/runner", []string{"internal/citation", "internal/guardrail", "internal/environment", "internal/param", "internal/held", "internal/session", "internal/agent", "internal/policy", "internal/tool", "internal/model", "internal/journal", "internal/blob", "internal/trace", "internal/usage", "internal/usage/meter"}, []string{"github.com/google/uuid"}, "joins the contracts; knows no adapter and no door"},
		{"internal/journal/journaltest", []string{"internal/journal", "internal/agent"}, nil, "the suite that every store passes; used by tests"},
		{"internal/responses/responsestest", nil, []string{"github.com/google/jsonschema-go"}, "the published description of Open Responses, for tests"},
		{"internal/model/modeltest", []string{"internal/model"}, nil, "the suite that every model passes; used by tests"},
		{"internal/tool/tooltest", []string{"internal/tool"}, []string{"github.com/modelcontextprotocol/go-sdk"}, "the suite that every tool source passes; used by tests"},
		{"internal/sqlite", []string{"internal/audit", "internal/usage", "internal/journal", "internal/agent", "internal/document", "internal/memory"}, []string{"modernc.org/sqlite", "golang.org/x/sys"}, "adapter: SQLite"},
		{"internal/postgres", []string{"internal/audit", "internal/usage", "internal/journal", "internal/agent", "internal/document", "internal/memory"}, []string{"github.com/jackc/pgx/v5"}, "adapter: PostgreSQL"},
		{"internal/postgres/pgtest", []string{"internal/volume"}, []string{"github.com/jackc/pgx/v5", "golang.org/x/sys"}, "real servers for tests"},
		{"internal/model/router", []string{"internal/model"}, nil, "chooses among routes; knows no provider"},
		{"internal/citation", nil, nil, "marks by which models name what they speak from: shared by who gives passages, who hears the answer, and the simulator"},
		{"internal/model/sim", []string{"internal/citation", "internal/model"}, nil, "adapter: the simulator"},
		{"internal/model/upstream", []string{"internal/model", "internal/redact"}, nil, "what the adapters of HTTP providers have in common; knows no provider"},
		{"internal/model/openai", []string{"internal/model", "internal/model/upstream", "internal/param"}, nil, "adapter: both OpenAI dialects"},
		{"internal/model/anthropic", []string{"internal/model", "internal/model/claude", "internal/model/upstream"}, nil, "adapter: Anthropic's Messages API"},
		{"internal/model/claude", []string{"internal/model", "internal/model/upstream"}, nil, "what Claude models take, whoever serves them"},
		{"internal/model/azure", []string{"internal/model", "internal/model/openai", "internal/model/upstream"}, nil, "adapter: OpenAI's wire at Azure's address, with its credentials"},
		{"internal/model/bedrock", []string{"internal/model", "internal/model/claude", "internal/model/upstream", "internal/awsauth"}, []string{"github.com/aws/smithy-go"}, "adapter: Bedrock's Converse, with its frames"},
		{"internal/model/gemini", []string{"internal/model", "internal/model/upstream"}, nil, "adapter: the Gemini API"},
		{"internal/audit/stream", []string{"internal/audit", "internal/document", "internal/policy"}, nil, "sends audit logs on to webhooks and syslog; keeps its place in documents"},
		{"internal/model/catalog", []string{"internal/model", "internal/model/router"}, nil, "names of models and where they lead; knows no provider"},
		{"internal/tool/mcp", []string{"internal/redact", "internal/tool"}, []string{"github.com/modelcontextprotocol/go-sdk", "golang.org/x/sys", "github.com/google/jsonschema-go"}, "adapter: Model Context Protocol"},
		{"internal/tool/recollect", []string{"internal/memory", "internal/tool"}, nil, "an agent's tools over its memory stores: joins the two contracts"},
		{"internal/semantic", nil, []string{"github.com/goccy/go-yaml"}, "what business terms mean, and SQL of it: pure, with its contract of a database that is read"},
		{"internal/database", nil, nil, "the contract of SQL databases that are read, with the first wall of statements and the text of a table: pure"},
		{"internal/database/reader", []string{"internal/database"}, []string{"github.com/jackc/pgx/v5", "modernc.org/sqlite"}, "adapter: SQLite and PostgreSQL, statements of others and catalogs"},
		{"internal/semantic/sqlread", []string{"internal/database", "internal/semantic"}, []string{"github.com/jackc/pgx/v5", "modernc.org/sqlite"}, "adapter: SQLite and PostgreSQL, read-only"},
		{"internal/semantic/upload", []string{"internal/document", "internal/policy", "internal/semantic"}, nil, "semantic models that projects upload: a service over contracts"},
		{"internal/semantic/layer", []string{"internal/policy", "internal/semantic", "internal/semantic/upload"}, nil, "which models a project has, and answers in terms of them: a service over contracts"},
		{"internal/tool/semantics", []string{"internal/semantic", "internal/semantic/layer", "internal/semantic/upload", "internal/tool"}, nil, "an agent's tools over semantic models: joins the two contracts"},
		{"internal/tool/sqlquery", []string{"internal/database", "internal/sensitive", "internal/tool"}, nil, "an agent's tools over SQL databases: joins the two contracts"},
		{"internal/tool/filesearch", []string{"internal/citation", "internal/param", "internal/tool", "internal/vectorstore"}, nil, "an agent's tool over its vector stores: joins the two contracts"},
		{"internal/tool/computer", []string{"internal/environment", "internal/environment/patch", "internal/tool"}, nil, "an agent's tools in its environment: joins the two contracts"},
		{"internal/tool/schema", nil, []string{"github.com/google/jsonschema-go"}, "adapter: JSON Schema"},
		{"internal/session/sessiontest", []string{"internal/session", "internal/agent", "internal/policy", "internal/tool", "internal/model"}, nil, "builds journals and checks states; used by tests"},
		{"internal/server/wiretest", []string{"internal/session", "internal/agent", "internal/model", "internal/server"}, []string{"github.com/google/jsonschema-go"}, "checks answers against the OpenAPI document; used by tests"},
		{"internal/server", []string{"internal/citation", "internal/vault", "internal/consent", "internal/killswitch", "internal/audit", "internal/audit/stream", "internal/approval", "internal/erasure", "internal/retention", "internal/seal", "internal/seal/reseal", "internal/held", "internal/policy", "internal/policy/policyset", "internal/vectorstore", "internal/source", "internal/passage", "internal/model/router", "internal/memory", "internal/memory/recall", "internal/memory/remember", "internal/identity", "internal/identity/certificate", "internal/identity/workload", "internal/usage", "internal/usage/account", "internal/capacity", "internal/chat", "internal/responses", "internal/capability", "internal/file", "internal/skill", "internal/session", "internal/agent", "internal/model", "internal/param", "internal/environment", "internal/template", "internal/semantic", "internal/semantic/layer", "internal/semantic/upload", "internal/trace", "internal/usage/budget", "internal/guardrail"}, []string{"github.com/google/uuid"}, "a door: calls the service contract, never the runner"},
		{"internal/server/wiretest", nil, []string{"github.com/google/jsonschema-go"}, "holds the wire against our own OpenAPI document; used by tests"},
		{"internal/client", nil, []string{"github.com/tmaxmax/go-sse", "github.com/google/uuid"}, "the other end of the door: shares the wire, not the code"},
		{"internal/config", nil, []string{"github.com/goccy/go-yaml"}, "what the operator says; knows nobody that it configures"},
		{"internal/simulation", nil, nil, "whole nodes from one seed; tests only"},
		{"cmd/stead-guest", []string{"internal/environment/guest"}, nil, "the guest alone, for engines whose containers can't run the stead binary"},
		{"cmd/stead", []string{"internal/…"}, []string{"github.com/spf13/cobra", "github.com/goccy/go-yaml", "github.com/google/uuid", "github.com/jackc/pgx/v5", "github.com/modelcontextprotocol/go-sdk", "golang.org/x/sys"}, "wiring and command line: the one place that knows everybody"},
		{"proof/…", []string{"proof/…", "internal/…", "cmd/stead"}, []string{"*"}, "proves the product from outside; nothing imports it"},
	}
}

// forTests are modules that only test files may import, beside those of their package.
func forTests() []string {
	return []string{"github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "github.com/modelcontextprotocol/go-sdk", "github.com/jackc/pgx/v5", "modernc.org/sqlite", "golang.org/x/sys", "github.com/tmaxmax/go-sse", "github.com/google/jsonschema-go", "github.com/coder/websocket", "github.com/klauspost/compress"}
}

func TestImports(t *testing.T) {
	used := map[string]bool{} // rules that some package needs
	for _, f := range goFiles(t) {
		if f.nested {
			continue // has a go.mod of its own, and nothing of the product imports it
		}
		r, ok := ruleOf(f.pkg)
		if !ok {
			t.Errorf("%s: package %q is not in the layout: add a line with the reason why it exists", f.path, f.pkg)
			continue
		}
		used[r.pkg] = true
		for _, imp := range f.syntax.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if !f.mayImport(r, name) {
				t.Errorf("%s imports %s: %s may not (%s)", f.path, name, orRoot(f.pkg), r.why)
			}
		}
	}
	for _, r := range layout() {
		if !used[r.pkg] && !strings.HasSuffix(r.pkg, "/…") {
			t.Errorf("the layout has %q, and no package is there", r.pkg)
		}
	}
}

func ruleOf(pkg string) (rule, bool) {
	var found rule
	ok := false
	for _, r := range layout() { // an exact line counts more than one with "…"
		if r.pkg == pkg {
			return r, true
		}
		if !ok && matches(r.pkg, pkg) {
			found, ok = r, true
		}
	}
	return found, ok
}

func (f goFile) mayImport(r rule, name string) bool {
	if !strings.Contains(strings.Split(name, "/")[0], ".") || name == module {
		return true // the standard library, the vocabulary
	}
	if own, ok := strings.CutPrefix(name, module+"/"); ok {
		if f.test || own == f.pkg {
			return !strings.HasPrefix(own, "proof/") || strings.HasPrefix(f.pkg, "proof/")
		}
		return slices.ContainsFunc(r.ours, func(p string) bool { return matches(p, own) })
	}
	allowed := r.outside
	if f.test {
		allowed = append(slices.Clone(allowed), forTests()...)
	}
	return slices.ContainsFunc(allowed, func(m string) bool { return m == "*" || name == m || strings.HasPrefix(name, m+"/") })
}

func matches(pattern, pkg string) bool {
	prefix, tree := strings.CutSuffix(pattern, "…")
	return pattern == pkg || tree && strings.HasPrefix(pkg+"/", prefix)
}

func orRoot(pkg string) string {
	if pkg == "" {
		return "the root package"
	}
	return pkg
}

func TestPackageComments(t *testing.T) {
	said := map[string]bool{} // package directory → has a comment
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		if doc := f.syntax.Doc; doc != nil {
			want := "Package " + f.syntax.Name.Name + " "
			if f.syntax.Name.Name == "main" {
				want = "Command "
			}
			if !strings.HasPrefix(doc.Text(), want) {
				t.Errorf("%s: the package comment begins with %.30q, want %q", f.path, doc.Text(), want)
			}
			if said[f.pkg] {
				t.Errorf("%s: a second package comment", f.path)
			}
			said[f.pkg] = true
		} else if !said[f.pkg] {
			said[f.pkg] = false
		}
	}
	for pkg, ok := range said {
		if !ok {
			t.Errorf("%s has no package comment", orRoot(pkg))
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test && f.lines > maxLines {
			t.Errorf("%s has %d lines, the limit is %d: look for the second concept", f.path, f.lines, maxLines)
		}
	}
}

// TestText looks for what does not belong into any file: marks of unfinished work, and places that
// exist on one machine alone.
func TestText(t *testing.T) {
	marks := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK:", "/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"}
	walk(t, func(name string) {
		if strings.HasSuffix(name, ".sum") || path.Base(name) == "LICENSE" {
			return
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(data), "\n") {
			for _, m := range marks {
				if strings.Contains(line, m) {
					t.Errorf("%s:%d: %q: finish it, say it in ROUGH_EDGES.md, or leave the path out", name, i+1, m)
				}
			}
			if path.Base(name) == "package-lock.json" && strings.Contains(line, `"resolved": "http`) {
				t.Errorf("%s:%d: a lock file names a registry: set omit-lockfile-registry-resolved", name, i+1)
			}
		}
	})
}

// goFile is one parsed file of this repository.
type goFile struct {
	path   string
	pkg    string // directory, "" for the root
	test   bool
	nested bool // in a module of its own
	lines  int
	syntax *ast.File // imports and comments only
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	var modules []string
	walk(t, func(name string) {
		if path.Base(name) == "go.mod" && name != "go.mod" {
			modules = append(modules, path.Dir(name)+"/")
		}
		if path.Ext(name) != ".go" {
			return
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Errorf("parse: %v", err)
			return
		}
		pkg := path.Dir(name)
		if pkg == "." {
			pkg = ""
		}
		files = append(files, goFile{
			path: name, pkg: pkg, test: strings.HasSuffix(name, "_test.go"),
			lines: strings.Count(string(data), "\n"), syntax: syntax,
		})
	})
	for i := range files {
		files[i].nested = slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(files[i].path, m) })
	}
	return files
}

// walk visits the files that are ours: not what tools put beside them, not what Git holds.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // a test of another package has just removed it
			}
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			switch d.Name() {
			case ".git", "node_modules", "bin", ".stead", "testdata":
				return fs.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() && name != ".git" { // a file in a linked work tree
			visit(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
