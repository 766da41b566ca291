package approval

import (
	"bytes"
	"context"
	"strings"
	"sync"
)

// Act is a request of the API while it is worked on: what an approval of it must cover. The door makes it; what is decided within the
// request finds it in its context.
type Act struct {
	Method, Path string // the path with its query
	Match        string // If-Match
	Key          string // Idempotency-Key, where the route honours it
	Request      string // its id

	mu    sync.Mutex
	body  []byte
	whole bool                 // body is all of it
	comes bool                 // it is known once it was read: see Stream
	used  map[string]*Question // slot → question that passed within this request
	asked string               // question that was asked within this request; "": none
}

// SetBody says what the whole body is. It must not change until the request is answered.
func (a *Act) SetBody(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.body, a.whole = b, true
}

// Stream says that what the request brings comes as a stream, and what it is, in short, once it was read: whoever stores it asks again then, before it counts.
func (a *Act) Stream() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.comes = true
}

// coming reports whether what the request brings is still to be known.
func (a *Act) coming() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.comes && !a.whole
}

// known reports whether the body is: one that comes as a stream is not before it was stored.
func (a *Act) known() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.whole
}

// names reports whether an id stands in the request: a session that does not is one of many, and done in the wake of another act; a resource
// that does not is about to be made, under another id each time.
func (a *Act) names(id string) bool {
	if _, bare, ok := strings.Cut(id, "_"); ok { // what is derived from an id has another prefix
		id = bare
	}
	return strings.Contains(a.Path, id) || bytes.Contains(a.body, []byte(id))
}

type actKey struct{}

// WithAct is ctx within a request.
func WithAct(ctx context.Context, a *Act) context.Context { return context.WithValue(ctx, actKey{}, a) }

func actOf(ctx context.Context) *Act {
	a, _ := ctx.Value(actKey{}).(*Act)
	return a
}
