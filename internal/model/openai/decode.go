package openai

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/stead-dev/stead/internal/model"
)

// decoder turns one dialect's wire into deltas.
type decoder interface {
	// event takes one event. It reports true when nothing more is needed.
	event(ev event) (last bool, err *model.Error)
	// document takes a whole reply that came as plain JSON.
	document(data []byte) *model.Error
	// complete reports whether the upstream said that it was done.
	complete() bool
	// finish closes open items and emits Done.
	finish()
}

// decode reads a reply to its end. It never returns nil without a Done, unless the consumer stopped.
func decode(ctx context.Context, body io.Reader, dec decoder) *model.Error {
	r := bufio.NewReaderSize(&cappedReader{r: body, left: MaxReplyBytes}, 32<<10)
	plain, err := isDocument(r)
	if err != nil && err != io.EOF {
		return readFailure(ctx, err)
	}
	if plain {
		data, err := io.ReadAll(r)
		if err != nil {
			return readFailure(ctx, err)
		}
		if e := dec.document(data); e != nil {
			return e
		}
		dec.finish()
		return nil
	}
	events := newEventReader(r, MaxEventBytes)
	for {
		ev, err := events.next()
		if err != nil {
			// What follows the terminal event, if only a reset, changes nothing.
			if dec.complete() && ctx.Err() == nil {
				break
			}
			return readFailure(ctx, err)
		}
		last, e := dec.event(ev)
		if e != nil {
			return e
		}
		if ctx.Err() != nil {
			return readFailure(ctx, ctx.Err())
		}
		if last {
			break
		}
	}
	dec.finish()
	return nil
}

// isDocument looks whether the reply is a JSON document: servers that cannot stream answer with
// one, and their content types are not to be trusted. No line of an event stream starts with "{".
func isDocument(r *bufio.Reader) (bool, error) {
	for {
		if _, err := r.Peek(1); err != nil {
			return false, err
		}
		buf, _ := r.Peek(r.Buffered()) // cannot fail: all of it is there
		rest := bytes.TrimLeft(buf, " \t\r\n")
		if len(rest) > 0 {
			return rest[0] == '{' || rest[0] == '[', nil
		}
		_, _ = r.Discard(len(buf))
	}
}

// cappedReader ends with errTooLarge after left bytes.
type cappedReader struct {
	r    io.Reader
	left int64
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	return n, err
}

func readFailure(ctx context.Context, err error) *model.Error {
	if ctx.Err() != nil {
		return cancelled(ctx.Err())
	}
	if errors.Is(err, errTooLarge) {
		return &model.Error{Code: model.CodeServer, Message: "the model provider's reply is too large", Err: err}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &model.Error{Code: model.CodeConnection, Message: "the model provider's reply was cut off", Retry: true, Err: err}
}

// broken is an event or document that cannot be read.
func broken(err error) *model.Error {
	return &model.Error{Code: model.CodeConnection, Message: "the model provider's reply is garbled", Retry: true, Err: err}
}

func unmarshal(data []byte, v any) *model.Error {
	if err := json.Unmarshal(data, v); err != nil {
		return broken(err)
	}
	return nil
}
