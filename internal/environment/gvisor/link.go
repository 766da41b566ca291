package gvisor

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// link is the driver's end of a supervisor's socket. What comes from there is not believed: a reply
// that nobody waits for ends it.
type link struct {
	conn *wire.Conn

	mu    sync.Mutex
	next  uint64
	calls map[uint64]chan wire.Reply // id → who waits, with room for every reply that may come
	err   error                      // why it ended

	dead chan struct{} // closed when it ended
}

// replies is the most replies to one request: Started and Exited.
const replies = 2

// errProtocol says that the supervisor sent what it must not.
var errProtocol = errors.New("the supervisor answers what nobody asked")

func newLink(conn *wire.Conn) *link {
	// Hello is the answer to nothing: id 0.
	return &link{conn: conn, calls: map[uint64]chan wire.Reply{0: make(chan wire.Reply, replies)}, dead: make(chan struct{})}
}

// receive delivers replies until the socket ends.
func (l *link) receive() {
	var err error
	for err == nil {
		var r wire.Reply
		var files []*os.File
		files, err = l.conn.Receive(&r)
		for _, f := range files {
			_ = f.Close() // none belong on a reply
		}
		if err == nil {
			err = l.deliver(r)
		}
	}
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	close(l.dead)
	_ = l.conn.Close()
}

func (l *link) deliver(r wire.Reply) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[r.ID]
	if c == nil {
		return errProtocol
	}
	select {
	case c <- r:
	default:
		return errProtocol
	}
	return nil
}

// send sends a request. The caller waits for replies, and forgets the request afterwards.
func (l *link) send(q wire.Request, files ...*os.File) (uint64, error) {
	l.mu.Lock()
	l.next++
	q.ID = l.next
	l.calls[q.ID] = make(chan wire.Reply, replies)
	l.mu.Unlock()
	if err := l.conn.Send(q, files...); err != nil {
		l.forget(q.ID)
		return 0, err
	}
	return q.ID, nil
}

func (l *link) forget(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, id)
}

// wait waits for the next reply to a request. A reply that is there wins over the end of the link.
func (l *link) wait(ctx context.Context, id uint64) (wire.Reply, error) {
	l.mu.Lock()
	c := l.calls[id]
	l.mu.Unlock()
	select {
	case r := <-c:
		return check(r)
	case <-ctx.Done():
		return wire.Reply{}, stead.Wrap(stead.KindUnavailable, ctx.Err(), "the sandbox did not answer in time")
	case <-l.dead:
		select {
		case r := <-c:
			return check(r)
		default:
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return wire.Reply{}, stead.Wrap(stead.KindUnavailable, l.err, "the sandbox has ended")
	}
}

// refusal is what the supervisor says when it could not do something.
type refusal string

func (r refusal) Error() string { return string(r) }

func check(r wire.Reply) (wire.Reply, error) {
	if r.Error != "" {
		return wire.Reply{}, refusal(r.Error)
	}
	return r, nil
}

// call sends a request and waits for its only reply.
func (l *link) call(ctx context.Context, q wire.Request) (wire.Reply, error) {
	id, err := l.send(q)
	if err != nil {
		return wire.Reply{}, stead.Wrap(stead.KindUnavailable, err, "the sandbox has ended")
	}
	defer l.forget(id)
	return l.wait(ctx, id)
}
