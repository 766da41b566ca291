// Package audit keeps the record of who was allowed to do what, in a form that can't be changed unnoticed.
//
// Shape: one log a project, append-only, of Records with the places 1, 2, 3 …
//
//	record 1 ◀── record 2 ◀── record 3 …      each holds the hash of the one before it (Prev)
//	   └── leaf ──┴── leaf ──┴── leaf …       and is a leaf of a Merkle tree (Tree)
//	                 Checkpoint: size and root, signed with Ed25519, every CheckpointEvery that brought something
//
// A record is made where it is decided (Authorizer), before the effect: of every administrative act,
// of every refusal of a call of the API, and, as Level says, of what else is done. What is decided in a
// session rides as a Draft in the append that holds its intent, in one transaction: a record stands if
// and only if its event does.
//
// Units and limits: times are Unix milliseconds; MaxFieldBytes, MaxPolicies, MaxBatch, MaxWaiting.
//
// Delivery: what Log.Append answered without an error is on stable storage. After an error it may be:
// a record then speaks of something that was not done. Calls that arrive together share a commit.
//
// Errors: KindUnavailable when a record can't be stored: the act is then refused. KindInternal for a
// stored record that can't be read. Verify says what is wrong with an export in a Problem.
//
// Source: RFC 6962, 2.1 (hashes of leaves and nodes); C2SP signed-note and tlog-checkpoint.
package audit

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

const (
	// MaxFieldBytes bounds each text of a record: what is longer is cut.
	MaxFieldBytes = 1 << 10
	// MaxPolicies bounds the policies that a record names.
	MaxPolicies = 64
	// MaxRecordBytes is the longest line that Verify reads: texts grow when they are escaped.
	MaxRecordBytes = 1 << 20
)

// IDPrefix begins the id of a record on the wire; its place follows.
const IDPrefix = "audit_"

// ID is a record's id on the wire.
func ID(seq int64) string { return IDPrefix + strconv.FormatInt(seq, 10) }

// SeqOf is the place in an id; KindInvalid for what is none.
func SeqOf(id string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimPrefix(id, IDPrefix), 10, 64)
	if err != nil || n < 1 || ID(n) != id {
		return 0, stead.Invalid("after", "%.80q is no id of an audit record", id)
	}
	return n, nil
}

// Decision is the outcome of what was asked.
type Decision string

// The decisions.
const (
	Allow           Decision = "allow"
	Deny            Decision = "deny"
	RequireApproval Decision = "require_approval"
)

// Principal is who asked.
type Principal struct {
	Kind stead.PrincipalKind `json:"kind"`
	ID   string              `json:"id"`
	Role stead.Role          `json:"role,omitempty"`
	Key  string              `json:"key,omitempty"` // id of the API key that it came with
}

// Record is one decision or act. Its canonical form is its JSON as Encode makes it: those bytes are
// stored, exported and hashed.
type Record struct {
	Seq     int64           `json:"seq"`  // its place in its project's log, from 1; set by Extend
	Prev    Hash            `json:"prev"` // leaf hash of the record before it; zeros for the first. Set by Extend
	At      int64           `json:"at"`   // Unix milliseconds
	Project stead.ProjectID `json:"project"`

	Principal Principal       `json:"principal"`
	Agent     stead.AgentID   `json:"agent,omitempty"`    // that acted in the principal's name
	Subagent  string          `json:"subagent,omitempty"` // of the agent's, that acted; "": the agent did itself
	Session   stead.SessionID `json:"session,omitempty"`
	Action    string          `json:"action"`              // an effect of package policy, or one of the acts below
	Resource  string          `json:"resource,omitempty"`  // id of what it is about, where it has one by then
	Arguments string          `json:"arguments,omitempty"` // of a tool call, or the text of a set of policies: SHA-256 in hex. They stand nowhere else outside of the session
	Decision  Decision        `json:"decision"`
	By        string          `json:"by,omitempty"`     // which decider
	Reason    string          `json:"reason,omitempty"` // for people
	// ReasonDigest stands in place of a reason that somebody wrote, which stands beside the log: see Text.
	ReasonDigest string `json:"reason_digest,omitempty"`
	// Quotes is the id of somebody whose words the reason repeats: it stands beside the log then, as that of ActAnswer and ActGuardrail.
	Quotes   string   `json:"-"`
	About    string   `json:"-"`                  // the id of whom they are about, where that is somebody
	Policies []string `json:"policies,omitempty"` // ids of those that decided
	Version  string   `json:"version,omitempty"`  // digest of all policies that were asked
	Request  string   `json:"request,omitempty"`  // id of the request, as in X-Request-Id
	From     string   `json:"from,omitempty"`     // network address of the caller
	Detail   string   `json:"detail,omitempty"`   // "DELETE /v1/files/file_1"
	// Approval is the request for approval that ActAsk, ActAnswer and ActExpire are about.
	Approval *policy.Asking `json:"approval,omitempty"`
	// Set is the version of an uploaded set of policies that a policy.write or policy.delete is about.
	Set *policy.SetVersion `json:"policy_set,omitempty"`
	// Written is what an administrative act was about to write or take away, as policy.Request has it.
	Written map[string]string `json:"written,omitempty"`
}

// The acts that no effect of package policy names.
const (
	ActPolicies = "policies.load" // Version: the digest of those in force from then on
	// ActGuardrails: Version is the digest of the guardrails in force from then on.
	ActGuardrails = "guardrails.load"
	// ActGuardrail is what a guardrail did to a text. Resource: its name; Detail: where, and what kinds of things it found.
	ActGuardrail = "guardrail.decide"
	ActModels    = "models.load" // Version: the digest of the registry in force from then on
	// ActConfiguration is what a node was configured with from then on. Version: the digest of all of it; Detail: the sections that are
	// others than before (at its start: all that are there), with the digest of each.
	ActConfiguration = "configuration.load"
	// ActConnect is a connection, or a request, out of an environment. Resource: HOST:PORT; Detail: what was asked for.
	ActConnect = "network.connect"
	// ActExecutor is that somebody becomes the executor of a self-hosted environment by a client certificate, each time that they
	// connect. Resource: the environment; Principal: the certificate.
	ActExecutor = "executor.connect"
	// ActCall is a call of the API by somebody whom a kill switch stops.
	ActCall = "api.call"
	// ActForget is that what was derived from a session was forgotten. Resource: the session; Detail: how many memories.
	ActForget = "memory.forget"
)

// ActAnswer is that somebody answered a request for approval. Resource: the request; Reason: why; Detail: the answer and the digest
// of what was shown.
const ActAnswer = "approval.answer"

// ActAsk is that a request for approval was made, and ActExpire that its time was over before enough had answered. Resource: the request.
const (
	ActAsk    = "approval.ask"
	ActExpire = "approval.expire"
)

// ActErase is that a certificate of an erasure is issued. Resource: the erasure; Detail: of whom, and the SHA-256 of the certificate.
const ActErase = "erasure.certify"

// ActCheckpoint is no act: what a stream says in place of one where it sends a checkpoint.
const ActCheckpoint = "audit.checkpoint"

// ActRetention is that what was kept for long enough is deleted. Resource: what; Detail: how much, and from before when.
const ActRetention = "retention.apply"

// clean cuts texts to what a record may hold.
func (r Record) clean() Record {
	for _, s := range []*string{(*string)(&r.Project), (*string)(&r.Principal.Kind), &r.Principal.ID, (*string)(&r.Principal.Role), &r.Principal.Key,
		(*string)(&r.Agent), &r.Subagent, (*string)(&r.Session), &r.Action, &r.Arguments, &r.Resource, &r.By, &r.Reason, &r.Version, &r.Request, &r.From, &r.Detail} {
		*s = short(*s)
	}
	var policies []string
	for _, p := range r.Policies[:min(len(r.Policies), MaxPolicies)] {
		policies = append(policies, short(p))
	}
	r.Policies = policies
	if r.Approval != nil {
		a := *r.Approval
		for _, s := range []*string{&a.ID, &a.Kind, (*string)(&a.Effect), &a.Of, &a.For, &a.Digest, &a.Then, &a.Answer, &a.To} {
			*s = short(*s)
		}
		r.Approval = &a
	}
	if r.Set != nil {
		s := *r.Set
		s.Mode, s.Digest = short(s.Mode), short(s.Digest)
		r.Set = &s
	}
	r.Written = shortAll(r.Written)
	return r
}

// maxWritten is how many things Record.Written says.
const maxWritten = 24

func shortAll(all map[string]string) map[string]string {
	var out map[string]string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] == "" || len(out) == maxWritten {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[short(name)] = short(all[name])
	}
	return out
}

func short(s string) string {
	if len(s) > MaxFieldBytes {
		s = s[:MaxFieldBytes]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "")
	}
	return s
}

// Encode is the canonical form: one line of JSON without its end.
func (r Record) Encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "an audit record can't be written")
	}
	return b, nil
}

// Decode reads the canonical form. Fields that this version does not know are passed over: the bytes
// are what is hashed.
func Decode(b []byte) (Record, error) {
	var r Record
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&r); err != nil || r.Seq < 1 {
		return r, stead.Wrap(stead.KindInternal, err, "an audit record can't be read")
	}
	return r, nil
}

// decisionOf is a policy's outcome in the words of a record.
func decisionOf(d policy.Decision) Decision {
	switch d.Outcome() {
	case policy.Allowed:
		return Allow
	case policy.Approval:
		return RequireApproval
	}
	return Deny
}
