// Package policyset keeps policies that a project uploads, in versions, and has every node ask them.
//
// Shape: a set is three kinds of documents, written in this order:
//
//	policy_set_version  VID  {version, before, who, mode, digest …}  tagged with the set
//	policy_set_text     VID  {text}
//	policy_set          ID   {version VID, the same …}               the head: version n+1 only over version n
//
// The head alone says what is in force: what was written before it and is not reached from it by "before" never was, and is
// swept by the next write. A set that is deleted leaves a head that says so; its versions go on where they ended.
//
//	Live.Project ── heads, at most CacheFor old ──▶ texts of versions that are new ── cedar.Load ──▶ cedar.Project
//
// Units and limits: text in bytes; times are Unix milliseconds; MaxSets sets and MaxPolicies policies a project (two writes at one
// moment may pass by one), MaxVersions kept of a set. What was written counts at every node within a second: it is believed for
// CacheFor without looking, and for twice that while somebody reads it again.
//
// Delivery: what was answered without an error is in force. The same idempotency key with the same request gives the same answer,
// until the next version.
//
// Errors: KindInvalid names the field, and has policy.Mistakes as its cause where policies are wrong; KindNotFound; KindConflict
// for a name that is taken, another version than the expected one, and limits; KindUnavailable. A set that can't be read refuses
// what it would be asked about (cedar.Unreadable), and can be written and deleted all the same.
package policyset

import (
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

// Limits.
const (
	MaxTextBytes        = 256 << 10
	MaxNameBytes        = 64
	MaxDescriptionBytes = 1 << 10
	// MaxSets is how many sets a project has, MaxNames how many names it has used for them.
	MaxSets  = 20
	MaxNames = 200
	// MaxPolicies is how many policies are in the sets of a project together: some may be asked at every call.
	MaxPolicies = 2000
	// CheckWait is how long a text waits while another of its project is checked.
	CheckWait = 10 * time.Second
	// MaxVersions is how many versions of a set are kept: the newest.
	MaxVersions = 100
	// CacheFor is how long what a project uploaded is believed without looking.
	CacheFor = 250 * time.Millisecond
	// MaxCachedBytes and MaxCachedProjects bound what is kept ready for decisions, by the texts that it was made of.
	MaxCachedBytes    = 256 << 20
	MaxCachedProjects = 10_000
)

// Prefix begins the ids of sets; the name follows.
const Prefix = "pset_"

// AnyVersion is an expected version that every version meets.
const AnyVersion = 0

const (
	kindHead    document.Kind = "policy_set"
	kindVersion document.Kind = "policy_set_version"
	kindText    document.Kind = "policy_set_text"
)

// Set is a set in one version.
type Set struct {
	ID          string
	Name        string
	Description string
	Metadata    map[string]string
	Mode        string // policy.Enforce or policy.Shadow: all of it is on trial
	Version     int64  // from 1
	Digest      string // of the text: SHA-256 in hex
	Bytes       int    // of the text
	Policies    int
	Restored    int64  // the version that it repeats; 0: none
	Deleted     bool   // this version is that it was deleted
	By          string // the principal who wrote this version
	CreatedAt   int64  // Unix milliseconds, of the set
	UpdatedAt   int64  // Unix milliseconds, of this version
	Text        string // "" in lists
	Problem     string // why it can't be asked; "": it can
}

// New is a set to be made.
type New struct {
	Name, Description, Mode, Text string
	Metadata                      map[string]string
}

// Change is what a new version says anew; nil: as it was.
type Change struct {
	Description, Mode, Text *string
	Metadata                *map[string]string
}

// Write is how a version is to be written.
type Write struct {
	Over        int64  // the version that it must follow; AnyVersion: whichever there is
	Key, Digest string // of the request; "": it has no key
}

// Query is a page of a list.
type Query struct {
	After string
	Desc  bool
	Limit int
}

// Config is what the service needs. All but Log must be set.
type Config struct {
	Documents document.Store
	Policy    policy.Authorizer
	Live      *Live // of this node: it sees at once what is written here
	Approvers map[string][]stead.Role
	Now       func() time.Time
}

// Service keeps sets. It is safe for concurrent use.
type Service struct {
	cfg      Config
	checking sync.Map // project → chan struct{} of one place: see Service.compile
}

// NewService makes the service.
func NewService(cfg Config) *Service { return &Service{cfg: cfg} }

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// checkName refuses what is no name: it stands in ids of sets and of policies.
func checkName(name string) error {
	if len(name) > MaxNameBytes || !nameForm.MatchString(name) {
		return stead.Invalid("name", "name must have 1 to %d of a-z, 0-9, - and _, and begin with a letter or a digit", MaxNameBytes)
	}
	return nil
}

func checkFields(description, mode string) error {
	if len(description) > MaxDescriptionBytes {
		return stead.Invalid("description", "description has %d bytes, the limit is %d", len(description), MaxDescriptionBytes)
	}
	if mode != policy.Enforce && mode != policy.Shadow {
		return stead.Invalid("mode", "mode is %q or %q, not %.40q", policy.Enforce, policy.Shadow, mode)
	}
	return nil
}

// Compile checks a text and makes it ready. Its mistakes are the cause of the error.
func Compile(name, mode, text string, approvers map[string][]stead.Role) (*cedar.Set, error) {
	if len(text) > MaxTextBytes {
		return nil, stead.Invalid("text", "text has %d bytes, the limit is %d", len(text), MaxTextBytes)
	}
	s, err := cedar.Load([]cedar.Source{{Name: name, Text: []byte(text)}}, cedar.Options{Approvers: approvers, Name: name, Trial: mode == policy.Shadow})
	if err == nil && len(s.Rules()) == 0 {
		e := stead.Invalid("text", "there are no policies in text")
		e.Hint = "Delete the set, where nothing is meant to be in it."
		return nil, e
	}
	if e, ok := err.(*stead.Error); ok && e.Kind == stead.KindInvalid {
		e.Param, e.Code = "text", CodeInvalid
	}
	return s, err
}

// CodeInvalid is the Code of errors that have policy.Mistakes.
const CodeInvalid = "invalid_policies"

// quiet is where nothing is logged.
func quiet(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
