// Package stream sends audit logs on, as they grow, to where an organisation watches over its systems.
//
// Shape: a stream is a receiver with a name; how far it has got in each project's log is a document.
//
//	audit records ──▶ Streamer ── Batch ──▶ Receiver: Webhook (HTTP POST), Syslog (TCP, TLS) or Approvals (HTTP POST, an event each)
//	                     └─ position {sent, signed, node, until} a stream and project, in the documents
//
// Units and limits: times are Unix milliseconds; MaxBatchRecords and MaxBatchBytes a batch; logs are looked
// at every Every.
//
// Delivery: at least once, in the order of the log. A position moves behind a batch once the receiver has
// taken it, so a crash, or an answer that was lost, sends that batch again; the place of each record says
// which are repeated. Nothing is passed over: what a receiver refuses is sent again, MaxPause apart at most,
// until it takes it, and keeps other projects' records from nobody meanwhile. Of several nodes one sends a project's log, for as long as it holds the position.
// Syslog acknowledges nothing: see Syslog.
//
// Errors: those of receivers are logged, and shown by Status; nobody waits for a stream.
//
// Source: webhooks are signed as standardwebhooks.com has it; RFC 5424, 5425 and 6587 for syslog.
package stream

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
)

const (
	// MaxBatchRecords is the most records that are sent at once.
	MaxBatchRecords = 500
	// MaxBatchBytes ends a batch that has more than one record.
	MaxBatchBytes = 1 << 20
	// Every is how often it is looked for what is new.
	Every = time.Second
	// SendTimeout bounds the sending of one batch.
	SendTimeout = 20 * time.Second
	// MaxPause is the longest pause after a failure. The first is Every, and each is twice the one before.
	MaxPause = time.Minute
	// lastTimeout bounds what is sent when a node stops: the next start goes on.
	lastTimeout = 3 * time.Second
)

// Format is how records are written.
type Format string

// The formats.
const (
	JSONL Format = "jsonl" // the stored bytes: what is hashed and can be verified
	OCSF  Format = "ocsf"  // events of the class API Activity
	// Records alone, without lines or checkpoints: see Approvals.
	Records Format = "records"
)

// Batch is what is sent at once: records of one project that follow each other.
type Batch struct {
	Stream      string
	Project     stead.ProjectID
	First, Last int64 // places
	Records     []audit.Record
	Lines       [][]byte // of Records, in the stream's format, without their ends; a record that people wrote into may have several
	// Checkpoints: they are checkpoints, each as an export has it, and First and Last their sizes. Records stand for them.
	Checkpoints bool

	rows int // how many different records they are
}

// Receiver takes batches, one after the other.
type Receiver interface {
	// Send returns once the receiver has the batch. ErrTooLarge: a smaller one may be taken.
	Send(ctx context.Context, b Batch) error
	Close() error
}

// ErrTooLarge is a receiver's answer to a batch that is larger than it takes, and ErrRefused to one that it does not take as it is: both may take others.
var (
	ErrTooLarge = errors.New("the receiver takes smaller batches only")
	ErrRefused  = errors.New("the receiver does not take this batch")
)

// Stream is one receiver with its name.
type Stream struct {
	Name     string
	Format   Format
	Projects []stead.ProjectID // empty: all
	Receiver Receiver
	// FromNow: a stream that was never started before begins with what comes then, not with the first record of each log.
	FromNow bool
}

func (s Stream) takes(p stead.ProjectID) bool {
	return len(s.Projects) == 0 || slices.Contains(s.Projects, p)
}

// Config is what a Streamer needs.
type Config struct {
	Streams   []Stream
	Logs      audit.Store
	Positions document.Store
	Node      string // names this node among those of its database
	Now       func() time.Time
	Log       *slog.Logger
}

// Status is how a stream stands on this node.
type Status struct {
	Name    string
	Sent    int64 // records that this node has sent
	Behind  int64 // records that were not sent when it was last looked
	Failing bool  // the last batch was not taken, of any project
}

// Streamer sends what is new. It is safe for concurrent use.
type Streamer struct {
	cfg Config

	mu     sync.Mutex
	status []Status // of cfg.Streams
}

// New makes a streamer.
func New(cfg Config) *Streamer {
	s := &Streamer{cfg: cfg, status: make([]Status, len(cfg.Streams))}
	for i, one := range cfg.Streams {
		s.status[i].Name = one.Name
	}
	return s
}

// Status is how all streams stand.
func (s *Streamer) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.status)
}

func (s *Streamer) note(i int, change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status[i])
}

// Start sends until the function that it returns is called, which sends what is there by then and lets the
// receivers go.
func (s *Streamer) Start() (stop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	feeds := make([]*feed, len(s.cfg.Streams))
	for i, one := range s.cfg.Streams {
		feeds[i] = &feed{streamer: s, index: i, Stream: one, known: map[stead.ProjectID]position{}}
		if err := feeds[i].begin(ctx); err != nil {
			s.cfg.Log.Warn("an audit stream begins later", "stream", one.Name, "err", err)
		}
		all.Go(func() { feeds[i].run(ctx) })
	}
	return func(ctx context.Context) error {
		cancel()
		all.Wait()
		var errs []error
		for _, f := range feeds {
			if err := f.last(ctx); err != nil {
				s.cfg.Log.Warn("audit records are sent to the stream after the next start", "stream", f.Name, "err", err)
			}
			errs = append(errs, f.release(ctx), f.Receiver.Close())
		}
		return errors.Join(errs...)
	}
}
