package journaltest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
)

// Memory is a journal.Full and agent.Store in memory, for simulations: it has no goroutine and reads
// no clock but the one it is given, it lists and leases in an order that depends on nothing else,
// and faults.go makes it fail on demand. Several nodes may share one.
//
// Waiting is on channels, so that Wait works inside a testing/synctest bubble, if the store was
// made there.
type Memory struct {
	now  func() time.Time
	work chan struct{}

	mu       sync.Mutex
	closed   bool
	sessions map[stead.SessionKey]*memSession
	receipts map[memScope]memReceipt
	nodes    map[stead.NodeID]time.Time   // alive until then
	agents   map[memAgent][]agent.Agent   // all versions
	made     map[memScope]memMade         // keys of agents' creations
	audit    map[stead.ProjectID][][]byte // drafts, in the order of their appends
	usage    map[stead.ProjectID]map[journal.UsageName]journal.UsageRow
	faults   faults
}

// memSession is one session. Its change channel is closed, and made anew, whenever it changes.
type memSession struct {
	head   journal.Head // Holder is the lease's, whether it lives or not
	events []stead.Event
	due    int64 // Unix milliseconds; 0: idle
	change chan struct{}

	snapshotSeq stead.Seq
	snapshot    []byte
}

// memScope is an idempotency key in its scope; session is "" for creations.
type memScope struct {
	project stead.ProjectID
	session stead.SessionID
	key     string
}

type memReceipt struct {
	digest  string
	receipt journal.Receipt
}

var (
	_ journal.Full = (*Memory)(nil)
	_ agent.Store  = (*Memory)(nil)
)

// NewMemory makes an empty store that tells the time by now.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{
		now: now, work: make(chan struct{}, 1),
		sessions: map[stead.SessionKey]*memSession{}, receipts: map[memScope]memReceipt{},
		nodes: map[stead.NodeID]time.Time{}, agents: map[memAgent][]agent.Agent{}, made: map[memScope]memMade{},
		audit: map[stead.ProjectID][][]byte{},
		usage: map[stead.ProjectID]map[journal.UsageName]journal.UsageRow{},
	}
}

// enter locks the store for one operation; the caller unlocks it also after an error.
func (m *Memory) enter(ctx context.Context) error {
	m.mu.Lock()
	if m.closed {
		return stead.Errorf(stead.KindUnavailable, "the store is closed")
	}
	if err := ctx.Err(); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the request has ended")
	}
	return nil
}

// AuditDrafts are those that a project's appends and sends brought, in their order.
func (m *Memory) AuditDrafts(project stead.ProjectID) [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.audit[project])
}

// Send implements journal.Store.
func (m *Memory) Send(ctx context.Context, key stead.SessionKey, in journal.Input) (journal.Receipt, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return journal.Receipt{}, err
	}
	if err := checkInput(in); err != nil {
		return journal.Receipt{}, err
	}
	if err := m.faults.before(); err != nil {
		return journal.Receipt{}, err
	}
	r, err := m.send(key, in)
	if err != nil {
		return journal.Receipt{}, err
	}
	if err := m.faults.after(); err != nil {
		return journal.Receipt{}, err
	}
	return r, nil
}

func checkInput(in journal.Input) error {
	most := stead.MaxBatchEvents
	if in.Create != nil {
		most = stead.MaxImportEvents
	} else if len(in.Events) == 0 {
		return stead.Invalid("events", "a send without events must create its session")
	}
	return checkEvents(in.Events, most)
}

func checkEvents(evs []stead.Event, most int) error {
	if len(evs) > most {
		return stead.Errorf(stead.KindTooLarge, "%d events at once are more than the limit of %d", len(evs), most)
	}
	for _, e := range evs {
		if len(e.Data) > stead.MaxEventBytes {
			return stead.Errorf(stead.KindTooLarge, "an event of %d bytes is larger than the limit of %d bytes", len(e.Data), stead.MaxEventBytes)
		}
	}
	return nil
}

func (m *Memory) send(key stead.SessionKey, in journal.Input) (journal.Receipt, error) {
	scope := memScope{key.Project, key.Session, in.Key}
	if in.Create != nil {
		scope.session = ""
	}
	if had, ok := m.receipts[scope]; ok && in.Key != "" {
		if had.digest != in.Digest {
			return journal.Receipt{}, stead.Errorf(stead.KindConflict, "the idempotency key was used for another request")
		}
		had.receipt.Replayed = true
		return had.receipt, nil
	}
	s := m.sessions[key]
	switch {
	case in.Create != nil && s != nil:
		return journal.Receipt{}, stead.Errorf(stead.KindConflict, "session %s exists already", key.Session)
	case in.Create == nil && s == nil:
		return journal.Receipt{}, stead.NotFound("session", string(key.Session))
	}
	var tail stead.Seq
	if s != nil {
		tail = s.head.Tail
	}
	if in.If > tail || (in.If >= 0 && in.If != tail) {
		return journal.Receipt{}, tailError(key, tail)
	}
	if s == nil {
		s = &memSession{change: make(chan struct{})}
		s.head = journal.Head{Key: key, Agent: in.Create.Agent, CreatedAt: in.Create.CreatedAt}
		m.sessions[key] = s
	}
	r := journal.Receipt{Session: key.Session, First: tail + 1, Last: tail + stead.Seq(len(in.Events))}
	if in.Key != "" {
		m.receipts[scope] = memReceipt{in.Digest, r}
	}
	s.store(in.Events, in.Update)
	m.audit[key.Project] = append(m.audit[key.Project], in.Audit...)
	if !in.Quiet && len(in.Events) > 0 {
		m.makeDue(s)
	}
	return r, nil
}

func (m *Memory) makeDue(s *memSession) {
	now := m.now().UnixMilli()
	if s.due == 0 || s.due > now {
		s.due = max(now, 1)
	}
	if !m.heldLive(s) {
		m.signal()
	}
}

// store appends copies of the events and wakes who waits.
func (s *memSession) store(evs []stead.Event, update *journal.Listing) {
	for _, e := range evs {
		s.head.Tail++
		e.Seq = s.head.Tail
		e.Data = slices.Clone(e.Data)
		s.events = append(s.events, e)
	}
	if update != nil {
		next := cloneListing(*update)
		next.Agent = cmp.Or(next.Agent, s.head.Agent)
		next.Environment = cmp.Or(next.Environment, s.head.Listing.Environment)
		s.head.Listing, s.head.Agent = next, next.Agent
	}
	s.changed()
}

func (s *memSession) changed() {
	close(s.change)
	s.change = make(chan struct{})
}

func cloneListing(l journal.Listing) journal.Listing {
	l.Metadata = maps.Clone(l.Metadata)
	return l
}

// Append implements journal.Store.
func (m *Memory) Append(ctx context.Context, lease journal.Lease, b journal.Batch) error {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	if err := checkEvents(b.Events, stead.MaxBatchEvents); err != nil {
		return err
	}
	for i, e := range b.Events {
		if want := b.After + stead.Seq(i) + 1; e.Seq != want {
			return stead.Invalid("events", "event %d of the batch has seq %d where %d must stand", i, e.Seq, want)
		}
	}
	if err := journal.CheckUsage(b.Usage); err != nil {
		return err
	}
	if err := journal.CheckAudit(b.Audit); err != nil {
		return err
	}
	if err := m.faults.before(); err != nil {
		return err
	}
	s := m.sessions[lease.Key]
	if s == nil || s.head.Holder == "" || s.head.Holder != lease.Node || s.head.Epoch != lease.Epoch {
		return stead.Errorf(stead.KindFenced, "node %s lost its lease on session %s (epoch %d)", lease.Node, lease.Key, lease.Epoch)
	}
	if s.head.Tail != b.After {
		return tailError(lease.Key, s.head.Tail)
	}
	if b.Release {
		s.head.Holder, s.due = "", max(b.Wake, 0)
		if b.Wake > 0 {
			m.signal() // whoever sleeps until the next wake time must look again
		}
	}
	s.store(b.Events, b.Update)
	m.audit[lease.Key.Project] = append(m.audit[lease.Key.Project], b.Audit...)
	for _, r := range b.Usage {
		r.Session = lease.Key.Session
		m.addUsage(lease.Key.Project, r)
	}
	return m.faults.after()
}

func tailError(key stead.SessionKey, tail stead.Seq) error {
	return stead.Errorf(stead.KindTail, "session %s has %d events", key, tail)
}

// Read implements journal.Store. The events' Data is shared: it must not be changed.
func (m *Memory) Read(ctx context.Context, key stead.SessionKey, opts journal.ReadOptions) ([]stead.Event, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	s := m.sessions[key]
	if s == nil {
		return nil, stead.NotFound("session", string(key.Session))
	}
	limit := opts.Limit
	if limit <= 0 || limit > stead.MaxReadEvents {
		limit = stead.MaxReadEvents
	}
	n := len(s.events)
	if opts.Desc {
		end := n
		if opts.After > 0 {
			end = min(int(opts.After)-1, n)
		}
		out := slices.Clone(s.events[max(end-limit, 0):end])
		slices.Reverse(out)
		return out, nil
	}
	start := min(int(max(opts.After, 0)), n)
	return slices.Clone(s.events[start:min(start+limit, n)]), nil
}

// Wait implements journal.Store.
func (m *Memory) Wait(ctx context.Context, key stead.SessionKey, after stead.Seq) (stead.Seq, error) {
	for {
		tail, change, err := m.look(ctx, key)
		if err != nil || tail > after {
			return tail, err
		}
		select {
		case <-change:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (m *Memory) look(ctx context.Context, key stead.SessionKey) (stead.Seq, <-chan struct{}, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		return 0, nil, err
	}
	s := m.sessions[key]
	if s == nil {
		return 0, nil, stead.NotFound("session", string(key.Session))
	}
	return s.head.Tail, s.change, nil
}

// Work implements journal.Store. There is one channel: nodes that share a store share its signals.
func (m *Memory) Work() <-chan struct{} { return m.work }

func (m *Memory) signal() {
	select {
	case m.work <- struct{}{}:
	default:
	}
}

// Lives implements journal.Store.
func (m *Memory) Lives(_ context.Context, node stead.NodeID) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lives(node), nil
}

func (m *Memory) lives(node stead.NodeID) bool { return m.nodes[node].After(m.now()) }

func (m *Memory) heldLive(s *memSession) bool {
	return s.head.Holder != "" && m.lives(s.head.Holder)
}

// Heartbeat implements journal.Store.
func (m *Memory) Heartbeat(ctx context.Context, node stead.NodeID, ttl time.Duration) error {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	m.nodes[node] = m.now().Add(max(ttl, 0))
	if ttl <= 0 {
		m.signal()
	}
	return nil
}

// dueSince says since or from when others may lease the session; false: not until something happens.
func (m *Memory) dueSince(s *memSession) (time.Time, bool) {
	due := time.UnixMilli(s.due)
	if s.head.Holder != "" {
		if until := m.nodes[s.head.Holder]; s.due == 0 || until.After(due) {
			due = until
		}
		return due, true
	}
	return due, s.due > 0
}

// Acquire implements journal.Store.
func (m *Memory) Acquire(ctx context.Context, node stead.NodeID, limit int) (leases []journal.Lease, next time.Time, err error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, time.Time{}, err
	}
	type candidate struct {
		s  *memSession
		at time.Time
	}
	var found []candidate
	now := m.now()
	for _, s := range m.sessions {
		at, ok := m.dueSince(s)
		switch {
		case !ok:
		case !at.After(now) && !m.heldLive(s):
			found = append(found, candidate{s, at})
		case s.head.Holder != node && (next.IsZero() || at.Before(next)):
			next = at
		}
	}
	if !m.lives(node) {
		return nil, next, nil
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.s.head.Key.String(), b.s.head.Key.String()))
	})
	for _, c := range found[:min(len(found), max(limit, 0))] {
		c.s.head.Epoch++
		c.s.head.Holder = node
		leases = append(leases, journal.Lease{Key: c.s.head.Key, Epoch: c.s.head.Epoch, Node: node, Tail: c.s.head.Tail})
	}
	return leases, next, nil
}

// Close implements journal.Full.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, s := range m.sessions {
		s.changed()
	}
	return nil
}
