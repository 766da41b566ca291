package postgres

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
)

const (
	// channel is what all nodes of a database listen to.
	channel = "stead"
	// announceEvery is the least time between two announcements of a node: what is committed
	// meanwhile is announced together. The first goes at once.
	announceEvery = 10 * time.Millisecond
	// maxAnnounced is how many sessions an announcement names; past that it says "look for yourself".
	maxAnnounced = 512
	// maxPayload is the longest payload of one notification; PostgreSQL allows less than 8000 bytes.
	maxPayload = 7500
	// settledPoll is how often a node looks for what no announcement told it: wake times, dead nodes.
	settledPoll = time.Second
	// fallbackPoll replaces it while the node cannot listen.
	fallbackPoll = 200 * time.Millisecond
	// sweepEvery is how often a node that listens looks at all the same.
	sweepEvery = 10 * time.Second
	// quietCheck is how long the listener trusts a silent connection.
	quietCheck = 15 * time.Second
	// forgetEvery is how often a node clears the rows of dead nodes.
	forgetEvery = 10 * time.Minute
)

// announcer tells other nodes of this node's commits, and hears theirs.
//
// An announcement is a hint, outside of any append's transaction: it carries nothing that the
// tables do not hold, so it may be late, double, or lost, and its own commit need not be durable.
type announcer struct {
	config   *pgx.ConnConfig
	pollOnly bool
	node     uint64 // random: to know our own announcements

	outMu sync.Mutex
	tails map[stead.SessionKey]stead.Seq // committed since the last announcement
	all   bool                           // more than tails could hold
	work  bool                           // something became due
	dirty chan struct{}

	listenMu  sync.Mutex
	listening bool
}

// note is the payload of a notification.
type note struct {
	Node  uint64   `json:"n"`
	Due   bool     `json:"d,omitempty"`
	All   bool     `json:"a,omitempty"`
	Tails []tailOn `json:"t,omitempty"`
}

type tailOn struct {
	Project stead.ProjectID `json:"p"`
	Session stead.SessionID `json:"s"`
	Tail    stead.Seq       `json:"t"`
}

func newWatch(s *Store, config *pgx.ConnConfig, pollOnly bool) *watch {
	return &watch{
		store: s, waiting: map[stead.SessionKey]map[*waiter]struct{}{},
		announcer: announcer{
			config: config, pollOnly: pollOnly, node: rand.Uint64(),
			tails: map[stead.SessionKey]stead.Seq{}, dirty: make(chan struct{}, 1),
		},
	}
}

func (w *watch) start(ctx context.Context, done *sync.WaitGroup) {
	done.Go(func() { w.poll(ctx) })
	if !w.pollOnly {
		done.Go(func() { w.listen(ctx) })
		done.Go(func() { w.speak(ctx) })
	}
}

func (a *announcer) announce(key stead.SessionKey, tail stead.Seq) {
	a.outMu.Lock()
	defer a.outMu.Unlock()
	if _, known := a.tails[key]; known || len(a.tails) < maxAnnounced {
		a.tails[key] = tail
	} else {
		a.all = true
	}
	a.signal()
}

func (a *announcer) announceDue() {
	a.outMu.Lock()
	defer a.outMu.Unlock()
	a.work = true
	a.signal()
}

func (a *announcer) signal() {
	select {
	case a.dirty <- struct{}{}:
	default:
	}
}

// collect returns what is to be announced, as payloads.
func (a *announcer) collect() []string {
	a.outMu.Lock()
	tails, all, work := a.tails, a.all, a.work
	a.tails, a.all, a.work = map[stead.SessionKey]stead.Seq{}, false, false
	a.outMu.Unlock()
	n := note{Node: a.node, Due: work, All: all}
	if all {
		tails = nil
	}
	var out []string
	size := 0
	for key, tail := range tails {
		one := tailOn{key.Project, key.Session, tail}
		b, err := json.Marshal(one)
		if err != nil || len(b) > maxPayload/2 {
			n.All = true // a name too long to call out
			continue
		}
		if size += len(b) + 1; size > maxPayload-100 {
			out = append(out, encode(n))
			n, size = note{Node: a.node}, len(b)+1
		}
		n.Tails = append(n.Tails, one)
	}
	return append(out, encode(n))
}

func encode(n note) string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // numbers, booleans and text always encode
	}
	return string(b)
}

// speak sends announcements. One that fails is lost: who misses it polls.
func (w *watch) speak(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.dirty:
		}
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		payloads := w.collect()
		_ = w.store.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			queue := &pgx.Batch{}
			queue.Queue("BEGIN")
			queue.Queue("SET LOCAL synchronous_commit = off")
			queue.Queue("SELECT pg_notify($1, p) FROM unnest($2::text[]) AS p", channel, payloads)
			queue.Queue("COMMIT")
			return c.SendBatch(ctx, queue).Close()
		})
		pause.Reset(announceEvery)
	}
}

// listen keeps a connection that hears the channel, as well as it can.
func (w *watch) listen(ctx context.Context) {
	for ctx.Err() == nil {
		_ = w.hear(ctx) // while it fails, poll goes faster
		w.setListening(false)
		select {
		case <-ctx.Done():
		case <-time.After(fallbackPoll):
		}
	}
}

func (w *watch) hear(ctx context.Context) error {
	connecting, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, w.config.Copy())
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(connecting, "LISTEN "+channel); err != nil {
		return err
	}
	w.setListening(true)
	w.store.signalWork() // for what was announced before
	if err := w.sweep(ctx); err != nil {
		return err
	}
	for {
		heard, cancel := context.WithTimeout(ctx, quietCheck)
		n, err := conn.WaitForNotification(heard)
		silent := heard.Err() != nil
		cancel()
		switch {
		case err == nil:
			w.take(ctx, n.Payload)
		case ctx.Err() != nil || !silent:
			return err
		default:
			if err := ping(ctx, conn); err != nil {
				return err
			}
		}
	}
}

func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return conn.Ping(ctx)
}

// take acts on a payload. One that it cannot read was made by another version: it looks for itself.
func (w *watch) take(ctx context.Context, payload string) {
	var n note
	if err := json.Unmarshal([]byte(payload), &n); err != nil {
		n = note{Due: true, All: true}
	}
	if n.Node == w.node {
		return
	}
	for _, t := range n.Tails {
		w.tell(stead.SessionKey{Project: t.Project, Session: t.Session}, t.Tail)
	}
	if n.All {
		_ = w.sweep(ctx) // the next one finds what this one missed
	}
	if n.Due {
		w.store.signalWork()
	}
}

func (w *watch) setListening(on bool) {
	w.listenMu.Lock()
	defer w.listenMu.Unlock()
	w.listening = on
}

func (w *watch) isListening() bool {
	w.listenMu.Lock()
	defer w.listenMu.Unlock()
	return w.listening
}

// poll looks for what nobody announces, and for everything while nothing is heard. Its errors are
// those of a database that is away; it goes on.
func (w *watch) poll(ctx context.Context) {
	tick := time.NewTicker(fallbackPoll)
	defer tick.Stop()
	var looked, swept, forgot time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		deaf := !w.isListening()
		if deaf || now.Sub(looked) >= settledPoll {
			_ = w.sweepDue(ctx)
			looked = now
		}
		if deaf || now.Sub(swept) >= sweepEvery {
			_ = w.sweep(ctx)
			swept = now
		}
		if now.Sub(forgot) >= forgetEvery {
			_ = w.store.forgetNodes(ctx)
			forgot = now
		}
	}
}
