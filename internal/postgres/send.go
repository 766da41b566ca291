package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"sort"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// anyTail and anyEpoch stand for no condition.
const (
	anyTail  stead.Seq   = -1
	anyEpoch stead.Epoch = -1
)

// op is one Send or Append on its way through the committer.
type op struct {
	key    stead.SessionKey
	expect stead.Seq   // the tail it needs, or anyTail
	epoch  stead.Epoch // of the lease, or anyEpoch for a Send
	node   stead.NodeID
	events []stead.Event
	bytes  int // of the events, for the limits of batches

	release bool  // gives the lease back
	wake    int64 // with release: due at, Unix milliseconds, 0 for never
	rouse   bool  // makes the session due unless it is held

	create *journal.Creation // makes the session; nil: it is there
	birth  int64             // of the session that create makes, 0 otherwise
	idem   []byte            // idempotency key, nil for none
	digest []byte
	update *journal.Listing
	usage  []journal.UsageRow
	audit  [][]byte // drafts of audit records

	done    chan struct{} // closed when receipt and err are set
	receipt journal.Receipt
	err     error
}

// finish is called once, by the committer.
func (o *op) finish(r journal.Receipt, err error) {
	o.receipt, o.err = r, err
	close(o.done)
}

// Send implements journal.Store.
func (s *Store) Send(ctx context.Context, key stead.SessionKey, in journal.Input) (journal.Receipt, error) {
	o, err := sendOp(key, in)
	if err != nil {
		return journal.Receipt{}, err
	}
	if err := s.committer.do(ctx, o); err != nil {
		return journal.Receipt{}, err
	}
	return o.receipt, nil
}

func sendOp(key stead.SessionKey, in journal.Input) (*op, error) {
	o := &op{
		key: key, expect: in.If, epoch: anyEpoch, events: in.Events,
		rouse: !in.Quiet, create: in.Create, update: in.Update, audit: in.Audit, done: make(chan struct{}),
	}
	limit := stead.MaxBatchEvents
	switch {
	case in.Create == nil:
		if err := checkSession(key); err != nil {
			return nil, err
		}
		if len(in.Events) == 0 {
			return nil, stead.Invalid("events", "a send without events must create the session")
		}
	case !storable(string(key.Project)), !storable(string(key.Session)), !storable(string(in.Create.Agent)):
		return nil, stead.Invalid("session", "an id is not text: it holds NUL or is not UTF-8")
	case in.If > 0:
		return nil, stead.Errorf(stead.KindTail, "a session that is created has no events, not %d", in.If)
	default:
		o.expect, o.birth = anyTail, rand.Int64()|1
		o.rouse = o.rouse && len(in.Events) > 0 // there is nothing to work on yet
		limit = stead.MaxImportEvents
	}
	if len(in.Key) > stead.MaxIdempotencyKeyBytes {
		return nil, stead.Errorf(stead.KindTooLarge, "an idempotency key of %d bytes: at most %d", len(in.Key), stead.MaxIdempotencyKeyBytes)
	}
	if in.Key != "" {
		o.idem, o.digest = []byte(in.Key), []byte(in.Digest)
	}
	return o, o.check(limit)
}

// Append implements journal.Store.
func (s *Store) Append(ctx context.Context, lease journal.Lease, b journal.Batch) error {
	if err := checkSession(lease.Key); err != nil {
		return stead.Wrap(stead.KindFenced, err, "no lease on session %s", lease.Key.Session)
	}
	if !storable(string(lease.Node)) || lease.Node == "" || lease.Epoch < 0 {
		return stead.Errorf(stead.KindFenced, "no lease on session %s", lease.Key.Session)
	}
	for i, e := range b.Events {
		if want := b.After + 1 + stead.Seq(i); e.Seq != want {
			return stead.Invalid("events", "event %d of the batch has seq %d, not %d", i, e.Seq, want)
		}
	}
	o := &op{
		key: lease.Key, expect: b.After, epoch: lease.Epoch, node: lease.Node, events: b.Events,
		release: b.Release, wake: b.Wake, update: b.Update, usage: b.Usage, audit: b.Audit, done: make(chan struct{}),
	}
	if b.After < 0 {
		return stead.Invalid("after", "a tail is not negative: %d", b.After)
	}
	if err := o.check(stead.MaxBatchEvents); err != nil {
		return err
	}
	return s.committer.do(ctx, o)
}

// check refuses what the database or a limit would, before it can spoil a batch of others.
func (o *op) check(maxEvents int) error {
	if len(o.events) > maxEvents {
		return stead.Errorf(stead.KindTooLarge, "%d events at once: at most %d", len(o.events), maxEvents)
	}
	for i, e := range o.events {
		if n := len(e.Data); n > stead.MaxEventBytes {
			return stead.Errorf(stead.KindTooLarge, "event %d has %d bytes: at most %d", i, n, stead.MaxEventBytes)
		}
		if !storable(e.Kind) {
			return stead.Invalid("events", "the kind of event %d is not text", i)
		}
		o.bytes += len(e.Data) + len(e.Kind) + rowOverhead
	}
	if u := o.update; u != nil && (!storable(string(u.Agent)) || !storable(u.Environment)) {
		return stead.Invalid("agent", "the agent or the environment is not text")
	}
	if o.update != nil && !storable(o.update.Status) {
		return stead.Invalid("status", "the status is not text")
	}
	for _, r := range o.usage {
		o.bytes += len(r.Data) + rowOverhead
	}
	for _, d := range o.audit {
		o.bytes += len(d) + rowOverhead
	}
	if err := journal.CheckAudit(o.audit); err != nil {
		return err
	}
	return journal.CheckUsage(o.usage)
}

// pairs returns the metadata as the database holds it, sorted: each pair as a JSON array.
func pairs(metadata map[string]string) [][]byte {
	list := make([][]byte, 0, len(metadata))
	for k, v := range metadata {
		b, err := json.Marshal([2]string{k, v})
		if err != nil {
			panic(err) // two strings always encode
		}
		list = append(list, b)
	}
	sort.Slice(list, func(i, j int) bool { return string(list[i]) < string(list[j]) })
	return list
}

func metadataOf(list [][]byte) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(list))
	for _, b := range list {
		var pair [2]string
		if err := json.Unmarshal(b, &pair); err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "stored metadata is not a pair")
		}
		m[pair[0]] = pair[1]
	}
	return m, nil
}

// arrayLiteral writes byte strings as the text form of a bytea[]: lists of unequal length cannot
// travel as one two-dimensional array.
func arrayLiteral(list [][]byte) string {
	quoted := make([]string, len(list))
	for i, b := range list {
		quoted[i] = `"\\x` + hex.EncodeToString(b) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}
