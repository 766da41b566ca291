// Package stead holds the vocabulary that every other package speaks: identifiers, the journal's
// event, items, principals, kinds of error and named limits. It imports nothing of the project.
//
// Shape:
//
//	project ── session ── event (Seq 1, 2, 3 …, append-only)
//	                        └─ folds into turns and items
//
// Units: Seq counts events of one session from 1; times are UTC Unix milliseconds in the journal
// and Unix seconds on the wire; sizes are bytes; money is micro-cents (1 US cent = 1,000,000).
//
// Errors: every error that crosses a package border is, or wraps, an *Error with a Kind.
//
// Source: the nouns follow the OpenAI Agents API (npm openai 7.57.0, resources/beta/agents).
package stead

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Identifiers have types of their own so that they cannot be mixed up.
type (
	// ProjectID names a tenant. Nothing crosses from one project to another.
	ProjectID string
	// SessionID is "sess_" and 32 hex digits of a UUIDv7: ids sort by creation time.
	SessionID string
	// AgentID is "agent_" and 32 hex digits of a UUIDv7.
	AgentID string
	// NodeID names one run of one process; a restarted process is another node.
	NodeID string
)

// DefaultProject is the project of principals that name none.
const DefaultProject ProjectID = "default"

// SessionKey addresses one session: the project leads every key, so that stores can shard by it.
type SessionKey struct {
	Project ProjectID `json:"project"`
	Session SessionID `json:"session"`
}

func (k SessionKey) String() string { return string(k.Project) + "/" + string(k.Session) }

// Seq numbers the events of one session from 1 without gaps. Zero is before the first event.
type Seq int64

// Epoch counts the leases of one session. A lease with a smaller epoch than the session's is dead.
type Epoch int64

// Event is one fact in a session's journal. What is in the journal is never rewritten.
type Event struct {
	Seq  Seq             `json:"seq"`            // set by the store (or, for Append, by After+1 …)
	At   int64           `json:"at"`             // Unix milliseconds, from the clock of the writer
	Kind string          `json:"kind"`           // past tense: "tool.returned"
	Data json.RawMessage `json:"data,omitempty"` // one JSON object, its shape given by Kind
	// Thread is the event that made the subagent whose thread this is of; 0: it is of the root agent's, or the session's.
	Thread Seq `json:"thread,omitempty"`

	// Payload is Data decoded, where whoever made the event still has it. It is never stored and
	// must not be changed.
	Payload any `json:"-"`
}

// threadMark stands between an event's kind and its thread in what stores write.
const threadMark = "@"

// StoredKind is the kind as stores write it, with the thread behind. So events of the root have the form that they always had, and a
// server from before there were threads passes over those of subagents, as over every kind that it does not know.
func (e *Event) StoredKind() string {
	if e.Thread == 0 {
		return e.Kind
	}
	return e.Kind + threadMark + strconv.FormatInt(int64(e.Thread), 10)
}

// SetStoredKind is the inverse of StoredKind.
func (e *Event) SetStoredKind(stored string) {
	e.Kind, e.Thread = stored, 0
	kind, thread, ok := strings.Cut(stored, threadMark)
	if !ok {
		return
	}
	if n, err := strconv.ParseInt(thread, 10, 64); err == nil && n > 0 {
		e.Kind, e.Thread = kind, Seq(n)
	}
}

// PrincipalKind says what sort of identity acts.
type PrincipalKind string

// The kinds of principal.
const (
	PrincipalUser    PrincipalKind = "user"
	PrincipalService PrincipalKind = "service"
	PrincipalAgent   PrincipalKind = "agent"
	PrincipalNode    PrincipalKind = "node"
)

// Principal is who asks. It is an argument of every operation, never a context value.
type Principal struct {
	Project ProjectID     `json:"project"`
	Kind    PrincipalKind `json:"kind"`
	ID      string        `json:"id"`
	Role    Role          `json:"role,omitempty"`  // "": the server itself, or its one local user
	Bound   bool          `json:"bound,omitempty"` // sees only the sessions that it made

	// Maker is who made the session token that this one comes with, as KIND:ID: both may be the same person. "": no token.
	Maker string `json:"maker,omitempty"`

	// Session and Scope are of who comes with a session token: the one session that there is for it, and what it may do
	// there, words with spaces between. "": it comes with something else. They are in no journal, since what such a
	// principal does stands in the journal of that session.
	Session SessionID `json:"-"`
	Scope   string    `json:"-"`
}

// MadeBy is who made the session token that somebody came with, with the role of that; false: it is that one, or there was no token.
func (p Principal) MadeBy() (Principal, bool) {
	kind, id, ok := strings.Cut(p.Maker, ":")
	if !ok || kind == string(p.Kind) && id == p.ID {
		return Principal{}, false
	}
	return Principal{Project: p.Project, Kind: PrincipalKind(kind), ID: id, Role: p.Role}, true
}

// Alone reports whether everybody who stands behind something is p, with whatever key or token of their own.
func (p Principal) Alone(behind []Principal) bool {
	for _, b := range behind {
		if _, handed := b.MadeBy(); handed || b.Project != p.Project || b.Kind != p.Kind || b.ID != p.ID {
			return false
		}
	}
	return true
}

// Beside are those of behind who are not p, each once and without what they came with.
func (p Principal) Beside(behind []Principal) []Principal {
	var out []Principal
	add := func(b Principal) {
		if b.Project != p.Project || b.Kind != p.Kind || b.ID != p.ID {
			b = Principal{Project: b.Project, Kind: b.Kind, ID: b.ID}
			for _, o := range out {
				if o == b {
					return
				}
			}
			out = append(out, b)
		}
	}
	for _, b := range behind {
		add(b)
		if maker, handed := b.MadeBy(); handed {
			add(maker)
		}
	}
	return out
}

// Role says what a principal may do in its project; package identity has them.
type Role string

// LocalPrincipal is the one user of a server that runs without authentication on loopback.
func LocalPrincipal() Principal {
	return Principal{Project: DefaultProject, Kind: PrincipalUser, ID: "local"}
}

// Ids of turns, items and requests are derived from where they stand in the journal, so they need
// no storage, survive replay and lead straight back to their event:
// PREFIX_<the session's id without its prefix>_<seq>[_<index>].

// DerivedID returns the id of the thing that event seq made; index < 0 leaves the index out.
func DerivedID(prefix string, session SessionID, seq Seq, index int) string {
	id := prefix + "_" + sessionTail(session) + "_" + strconv.FormatInt(int64(seq), 10)
	if index >= 0 {
		id += "_" + strconv.Itoa(index)
	}
	return id
}

// ParseDerivedID is the inverse of DerivedID for a known session. It reports false for ids of
// another session and for anything malformed. Index is -1 where the id has none.
func ParseDerivedID(session SessionID, id string) (prefix string, seq Seq, index int, ok bool) {
	prefix, rest, _ := strings.Cut(id, "_")
	tail, rest, _ := strings.Cut(rest, "_")
	number, rest, indexed := strings.Cut(rest, "_")
	if tail != sessionTail(session) {
		return "", 0, 0, false
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 {
		return "", 0, 0, false
	}
	index = -1
	if indexed {
		index, err = strconv.Atoi(rest)
		if err != nil || index < 0 {
			return "", 0, 0, false
		}
	}
	return prefix, Seq(n), index, true
}

func sessionTail(id SessionID) string { return strings.TrimPrefix(string(id), SessionPrefix) }

// SessionPrefix begins every session's id.
const SessionPrefix = "sess_"

// SessionOf returns the session that a derived id belongs to; false for anything malformed.
func SessionOf(id string) (SessionID, bool) {
	parts := strings.Split(id, "_")
	if len(parts) < 3 {
		return "", false
	}
	session := SessionID(SessionPrefix + parts[1])
	_, _, _, ok := ParseDerivedID(session, id)
	return session, ok
}

// Cursor is a place in the stream of a session's wire events, finer than a Seq: it is the SSE id.
// See package session for what Part and Ahead count. Its text form is "SEQ.PART.AHEAD".
type Cursor struct {
	Seq   Seq // last journal event delivered in full
	Part  int // wire events of journal event Seq+1 delivered
	Ahead int // bytes of streamed text delivered beyond what those hold
}

func (c Cursor) String() string { return fmt.Sprintf("%d.%d.%d", c.Seq, c.Part, c.Ahead) }

// ParseCursor reads the text form of a Cursor; the short forms "SEQ" and "SEQ.PART" are accepted.
// The error is of KindInvalid.
func ParseCursor(s string) (Cursor, error) {
	parts := strings.Split(s, ".")
	nums := [3]int64{}
	if len(parts) > len(nums) {
		return Cursor{}, cursorError(s)
	}
	for i, p := range parts {
		n, err := strconv.ParseInt(p, 10, 64)
		if err != nil || n < 0 {
			return Cursor{}, cursorError(s)
		}
		nums[i] = n
	}
	return Cursor{Seq: Seq(nums[0]), Part: int(nums[1]), Ahead: int(nums[2])}, nil
}

func cursorError(s string) error {
	return Invalid("after", "cursor %.40q is not one that this server gave: it looks like 12.0.0", s)
}
