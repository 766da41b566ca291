package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/stead-dev/stead/internal/model"
)

const (
	// relayBuffer is how much of an answer is read at once; it is all that an open stream holds of it.
	relayBuffer = 8 << 10
	// MaxObserved is the longest line of a stream, or whole answer, in which usage is looked for. Of
	// longer ones the usage is not known.
	MaxObserved = 1 << 20
)

// forward passes the call on as it is. It reports false for an upstream that must be translated to.
func (c *call) forward(w http.ResponseWriter, r *http.Request) (bool, error) {
	done, err := c.pass(w, r, false)
	if done {
		c.giveBack()
	}
	return done, err
}

// instead passes a call on that can't be translated, past the upstreams that it would be translated for.
// why is what the client is told when there is no other, or how those failed that were.
func (c *call) instead(w http.ResponseWriter, r *http.Request, why error) error {
	if done, err := c.pass(w, r, true); done {
		return gatewayError(err)
	}
	if c.failed != nil {
		return gatewayError(c.failed)
	}
	return c.becauseGuarded(why)
}

func (c *call) pass(w http.ResponseWriter, r *http.Request, only bool) (bool, error) {
	f, ok := c.model.(model.Forwarder)
	if !ok || c.guarded() {
		return false, nil
	}
	ctx, touch, stop := c.watched(r.Context())
	defer stop()
	input := c.size()
	answer, err := f.Forward(ctx, model.Forward{Dialect: c.door, Model: c.info.Upstream, Body: c.body, Loan: c.loan(), Tier: c.asked, InputBytes: input.text + input.media, MostOutput: c.most, Caller: c.meter.Caller, Only: only, Runs: slices.ContainsFunc(c.offers, theirs), TellUsage: c.tells})
	if err != nil {
		if me, ok := errors.AsType[*model.Error](err); ok && me.Code == model.CodeDialect {
			if me.Route != nil {
				c.meter.Caller.Tried = me.Route.Tried
				c.lost = append(c.lost, me.Route.Lost...)
			}
			c.failed = cmp.Or(me.Err, c.failed)
			return false, nil
		}
		err = c.blame(ctx, err)
		c.end(err)
		return true, err
	}
	defer answer.Body.Close()
	if c.meter.Route = answer.Route; answer.Route != nil {
		c.head(routeHeader, routeWords(answer.Route))
	}
	said, err := c.relay(w, answer, touch)
	answer.Used = c.meter.Usage
	err = c.blame(ctx, err)
	if answer.Ended != nil {
		answer.Ended(cmp.Or(err, said))
	}
	c.end(cmp.Or(err, said))
	return true, c.brokenOff(w, answer, err)
}

// relay writes the answer as it comes. A stream is flushed piece by piece. said is what the stream itself
// says has failed, of which the client knows.
func (c *call) relay(w http.ResponseWriter, a *model.Answer, touch func()) (said, err error) {
	streamed := strings.HasPrefix(a.ContentType, mediaStream)
	h := w.Header()
	h.Set("Content-Type", a.ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if streamed {
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no")
	}
	rc := http.NewResponseController(w)
	seen := observer{stream: streamed, door: c.door}
	var told speech
	var usage usageStripper
	held := c.s.relayed.Get().(*[relayBuffer]byte)
	defer c.s.relayed.Put(held)
	buf := held[:]
	for {
		n, err := a.Body.Read(buf)
		if n > 0 {
			if !streamed || told.in(buf[:n]) { // an upstream's comments keep the connection alive, and not the call
				touch()
			}
			c.began()
			plain := seen.write(buf[:n])
			c.count(buf[:n], streamed)
			c.texts = seen.texts
			var held []byte
			piece := buf[:n]
			if c.tells && streamed {
				held, piece = usage.pass(piece, plain)
			}
			if err := writeAll(w, held, piece); err != nil {
				c.meter.Usage = seen.usage
				return nil, errClientGone
			}
			if streamed {
				if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
					c.meter.Usage = seen.usage
					return nil, errClientGone
				}
			}
		}
		if err != nil {
			c.meter.Usage = seen.end()
			c.meter.Finish, c.served = seen.finish, seen.tier
			if rest := usage.end(); len(rest) > 0 {
				_, _ = w.Write(rest) // the answer ends either way
			}
			if err == io.EOF && seen.failed == nil && streamed && !seen.ended {
				return nil, &model.Error{Code: model.CodeConnection, Message: "the model's stream ended too early", Retry: true}
			}
			if err == io.EOF {
				c.meter.Whole = seen.failed == nil
				return seen.failed, nil
			}
			return nil, cutOff(err)
		}
	}
}

// writeAll writes one piece behind the other. A first one that is empty is none.
func writeAll(w io.Writer, first, then []byte) error {
	if len(first) > 0 {
		if _, err := w.Write(first); err != nil {
			return err
		}
	}
	_, err := w.Write(then)
	return err
}

// cutOff is an answer that can't be read to its end.
func cutOff(err error) error {
	if over := model.Overtime(err); over != nil {
		return over
	}
	return &model.Error{Code: model.CodeConnection, Message: "the model's answer broke off", Retry: true, Err: err}
}

// speech finds data in a stream, among comments and empty lines.
type speech struct {
	within bool // the last piece ended within a line
	data   bool // which is one of data
}

// in reports whether there is some in the next piece.
func (s *speech) in(b []byte) bool {
	said := s.within && s.data
	for len(b) > 0 {
		if !s.within {
			s.data = b[0] == 'd' // data: is the only field that begins so
			said = said || s.data
		}
		if said { // only how the piece ends is of interest by now
			if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
				b = b[i:]
			}
		}
		i := bytes.IndexByte(b, '\n')
		if s.within = i < 0; s.within {
			break
		}
		b = b[i+1:]
	}
	return said
}

// count notes how much of an answer has passed.
func (c *call) count(b []byte, streamed bool) {
	c.bytes += int64(len(b))
	if streamed {
		c.lines += int64(bytes.Count(b, []byte{'\n'}))
	}
}

// brokenOff says in the dialect's own way that a stream is not whole; any other answer is cut off, so
// that the client sees it.
func (c *call) brokenOff(w http.ResponseWriter, a *model.Answer, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errClientGone) {
		c.s.metrics.dropped.Add(1)
		return nil
	}
	out, ok := w.(*response)
	if !ok || out.code == 0 {
		return err
	}
	if !strings.HasPrefix(a.ContentType, mediaStream) {
		panic(http.ErrAbortHandler)
	}
	body, _, _ := wireErrorOf(gatewayError(err))
	raw, fault := json.Marshal(envelope{body})
	if c.door == model.DialectResponses {
		raw, fault = json.Marshal(map[string]any{"type": "error", "sequence_number": 0, "code": body.Code, "message": body.Message, "param": body.Param})
	}
	if fault != nil {
		return fault
	}
	head := "\n\ndata: " // the upstream may have stopped in the middle of a line
	if c.door == model.DialectResponses {
		head = "\n\nevent: error\ndata: "
	}
	_, _ = w.Write([]byte(head + string(raw) + "\n\n")) // the stream ends either way
	return nil
}

// gone reports whether the client no longer waits.
func gone(ctx context.Context, err error) bool {
	return errors.Is(err, errClientGone) || ctx.Err() != nil
}
