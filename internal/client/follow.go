package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/stead-dev/stead"
)

// reconnectDelay is the pause before the n-th reconnection in a row, from 0.
func reconnectDelay(n int) time.Duration {
	const first, most = 100 * time.Millisecond, 3 * time.Second
	return min(first<<min(n, 10), most)
}

// stopError marks an error of the caller's yield, which ends Follow.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// Follow calls yield with each event of a session after the one with the id after ("0" for the
// first, "" for what comes next; then it can't reconnect before the first event) until yield returns an error, which Follow returns, or ctx ends.
// ready, unless nil, is called once the first connection stands: no later event is missed then.
func (c *Client) Follow(ctx context.Context, session, after string, ready func(), yield func(Event) error) error {
	idle := 0 // connections in a row that brought no event
	for {
		got, err := c.follow(ctx, session, &after, &ready, yield)
		if stop, ok := errors.AsType[*stopError](err); ok {
			return stop.err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch stead.KindOf(err) {
		case "", stead.KindUnavailable, stead.KindLimited:
		default:
			return err
		}
		if got {
			idle = 0
		}
		if idle++; idle > MaxReconnects || after == "" {
			if err == nil {
				err = stead.Errorf(stead.KindUnavailable, "the stream of session %s brings nothing", session)
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectDelay(idle)):
		}
	}
}

// follow reads one connection until it ends. got says whether it brought an event.
func (c *Client) follow(ctx context.Context, session string, after *string, ready *func(), yield func(Event) error) (got bool, err error) {
	query := url.Values{}
	if *after != "" {
		query.Set("after", *after)
	}
	resp, err := c.do(ctx, http.MethodGet, sessionPath(url.PathEscape(session), "/events"), query, nil, "text/event-stream", nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if *ready != nil {
		(*ready)()
		*ready = nil
	}
	for raw, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: MaxEventBytes}) {
		if err != nil {
			return got, c.unreachable(err)
		}
		var e Event
		if err := json.Unmarshal([]byte(raw.Data), &e); err != nil {
			return got, fmt.Errorf("decode an event of session %s: %w", session, err)
		}
		e.ID = raw.LastEventID
		if e.ID != "" {
			*after = e.ID
		}
		got = true
		if err := yield(e); err != nil {
			return got, &stopError{err}
		}
	}
	return got, nil
}
