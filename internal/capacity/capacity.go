// Package capacity shares reserved model throughput fairly: how many tokens and requests a minute, and
// how many calls at once, a provider or a deployment takes from this node.
//
// Shape: every call takes a ticket of its pool before it goes out, and gives it back with what it
// really used.
//
//	call ──Enter(project, tier, tokens)──▶ queue of its project ──turn──▶ upstream ──Leave(tokens used)
//	                                            │ full, or too long to wait
//	                                            ▼
//	                                     429 with Retry-After, or another route
//
// Who is next: the higher tier first; within a tier the project that has had least for its weight
// (start-time fair queueing over tokens); within a project the older call. Nothing is set aside: what
// a project leaves unused the others borrow at once, and when it comes back its next call goes first,
// as soon as a borrower's call ends. A call that runs is never stopped.
//
// Units and limits: tokens are estimates until the call has ended, then what the upstream counted; an
// estimate that was too low is a debt that the pool pays off before it starts more. Rates are per
// minute, kept by buckets that hold a tenth of a minute, so that a minute never takes much more.
// Queues hold at most Pool.Queue calls (DefaultQueue), which wait at most Pool.Wait (DefaultWait).
// Pools are a node's: several nodes divide the figures among them.
//
// Errors: *model.Error with CodeRateLimit and when to come again, from a queue that is full or a wait
// that was too long.
//
// Delivery: a ticket is given once and taken back once, whatever the call does. State is in memory:
// a restart begins with full buckets. Limits change under way (Change, Retire), and what runs, waits and is owed stays.
//
// Source: P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996.
package capacity

import (
	"time"

	"github.com/stead-dev/stead"
)

// Defaults and limits of a pool.
const (
	DefaultQueue = 1_000            // calls that wait
	DefaultWait  = 30 * time.Second // of one call
	MaxQueue     = 100_000
	MaxWait      = time.Hour
	// MaxWeight is the largest weight of a project.
	MaxWeight = 1_000
	// bucketShare of a minute's rate is what a bucket holds.
	bucketShare = 10
	// idleProjects without calls are forgotten after so long: their past no longer counts.
	idleProject = 10 * time.Minute
)

// Tier is how urgent a call is: the service tiers of the API in their order.
type Tier int

// The tiers.
const (
	TierFlex     Tier = iota // what nobody else wants
	TierDefault              // also "auto", and anything unknown
	TierPriority             // also "fast"
	TierUltrafast
)

// TierOf reads a service tier of the API.
func TierOf(name string) Tier {
	switch name {
	case "flex":
		return TierFlex
	case "priority", "fast":
		return TierPriority
	case "ultrafast":
		return TierUltrafast
	}
	return TierDefault
}

// Config is a pool. Zero rates are no limit.
type Config struct {
	Name              string
	TokensPerMinute   int64
	RequestsPerMinute int64
	Concurrent        int
	Queue             int           // calls that wait; 0: DefaultQueue, negative: none
	Wait              time.Duration // of one call; 0: DefaultWait
	// Weights are the shares of projects that have more than 1.
	Weights map[stead.ProjectID]int
	// Stay: a call that finds no place is not sent to another route instead.
	Stay bool
}

// Status is a pool as it stands, for people.
type Status struct {
	Name              string          `json:"name"`
	TokensPerMinute   int64           `json:"tokens_per_minute,omitempty"`
	RequestsPerMinute int64           `json:"requests_per_minute,omitempty"`
	Concurrent        int             `json:"concurrent,omitempty"`
	Running           int             `json:"running"`
	Waiting           int             `json:"waiting"`
	Refused           int64           `json:"refused"` // since the start of the node
	Projects          []ProjectStatus `json:"projects"`
}

// ProjectStatus is a project's part of it.
type ProjectStatus struct {
	Project stead.ProjectID `json:"project"`
	Weight  int             `json:"weight"`
	Running int             `json:"running"`
	Waiting int             `json:"waiting"`
	Tokens  int64           `json:"tokens"` // used since it was first seen
	Calls   int64           `json:"calls"`
}
