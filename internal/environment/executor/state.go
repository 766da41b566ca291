package executor

import (
	"context"
	"errors"

	"github.com/stead-dev/stead"
)

// Why a conversation ended. The outcome of what was under way is unknown, but for errUnheard: the
// executor never knew of that conversation, so nothing of it was done.
var (
	errAway      = errors.New("the executor was away for too long")
	errOther     = errors.New("another executor has taken over")
	errForgotten = errors.New("the executor has begun anew")
	errUnheard   = errors.New("the executor was lost before it heard of this")
	errStopped   = errors.New("the executor was stopped")
	errStopping  = errors.New("the server stops")
	errOver      = errors.New("the environment is over")
)

// byeFor says to the executor why the server ended the conversation.
func byeFor(why error) bye {
	switch why {
	case errOver:
		return bye{CodeGone, "the environment is over"}
	case errOther:
		return bye{codeReplaced, "another executor of this environment has connected"}
	case errStopping:
		return bye{codeStopping, "the server stops"}
	}
	return bye{codeProtocol, why.Error()}
}

// judge decides what the end of a connection means for the conversation.
func judge(c *conversation, err error) (reason string) {
	reason = "the connection broke"
	if b, ok := errors.AsType[*bye](err); ok {
		switch b.Code {
		case codeStopped:
			reason = "the executor was stopped"
			c.end(errStopped)
		case codeReplaced:
			c.end(errOther)
		case codeProtocol:
			c.end(err)
		}
	}
	if _, broken := errors.AsType[*ruleError](err); broken {
		reason = "the executor broke the protocol"
		c.end(err)
	}
	return reason
}

// Connected reports whether an environment's executor is connected now.
func (h *Hub) Connected(environmentID string) bool {
	_, ok := h.Info(environmentID)
	return ok
}

// Info returns what the connected executor of an environment says of itself.
func (h *Hub) Info(environmentID string) (Info, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.links[environmentID]
	if l == nil || l.socket == nil {
		return Info{}, false
	}
	return l.info, true
}

// Drop ends an environment that is over: its executor is told, and stops for good. The next one that
// asks is refused by Lookup.
func (h *Hub) Drop(environmentID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[environmentID]; l != nil {
		l.c.end(errOver)
		if l.socket == nil {
			l.grace.Stop()
			delete(h.links, environmentID)
		}
	}
}

// Close ends all connections; executors will look for another node, or for this one again. What was
// under way has an unknown outcome. The error is that of ctx.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	for id, l := range h.links {
		l.c.end(errStopping)
		if l.socket == nil {
			l.grace.Stop()
			delete(h.links, id)
		}
	}
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		h.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	h.end() // cuts what is left
	<-done
	return ctx.Err()
}

// conversation returns that of a connected executor.
func (h *Hub) conversation(environmentID string) (*conversation, Info, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.links[environmentID]
	if l == nil || l.socket == nil {
		return nil, Info{}, notConnected()
	}
	return l.c, l.info, nil
}

func notConnected() error {
	return &stead.Error{
		Kind: stead.KindUnavailable, Code: CodeNotConnected, Message: "the environment's executor is not connected",
		Hint: "On the machine that is to be the environment, run: stead executor --remote with the environment's remote_url.",
	}
}

// changes holds the latest state of each environment until Changed was told.
type changes struct {
	waiting map[string]Change
	order   []string
	told    map[string]bool // environment → what Changed was told last
	telling bool
}

// tell passes a change on, in order, without waiting for Changed. It is called with the lock held.
func (h *Hub) tell(c Change) {
	if h.config.Changed == nil {
		return
	}
	q := &h.changes
	if q.waiting == nil {
		q.waiting, q.told = map[string]Change{}, map[string]bool{}
	}
	if _, waits := q.waiting[c.Environment]; !waits {
		q.order = append(q.order, c.Environment)
	}
	q.waiting[c.Environment] = c
	if !q.telling {
		q.telling = true
		h.work.Go(h.tellAll)
	}
}

func (h *Hub) tellAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := &h.changes
	for len(q.order) > 0 {
		c := q.waiting[q.order[0]]
		delete(q.waiting, q.order[0])
		q.order = q.order[1:]
		if q.told[c.Environment] == c.Connected {
			continue // it came back before anybody was told that it had gone
		}
		if c.Connected {
			q.told[c.Environment] = true
		} else {
			delete(q.told, c.Environment)
		}
		h.mu.Unlock()
		h.config.Changed(c)
		h.mu.Lock()
	}
	q.telling = false
}
