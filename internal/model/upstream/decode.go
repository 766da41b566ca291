package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/stead-dev/stead/internal/model"
)

// Decoder turns one dialect's wire into deltas.
type Decoder interface {
	// Event takes one event. It reports true when nothing more is needed.
	Event(ev Event) (last bool, err *model.Error)
	// Document takes a whole reply that came as plain JSON.
	Document(data []byte) *model.Error
	// Complete reports whether the upstream said that it was done.
	Complete() bool
	// Finish closes open items and emits Done.
	Finish()
}

// Decode reads a reply to its end. It never returns nil without a Done, unless the consumer stopped.
// Nil frames read server-sent events.
func Decode(ctx context.Context, body io.Reader, dec Decoder, frames func(*bufio.Reader) Frames) *model.Error {
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
		if e := dec.Document(data); e != nil {
			return e
		}
		dec.Finish()
		return nil
	}
	var events Frames = newEventReader(r, MaxEventBytes)
	if frames != nil {
		events = frames(r)
	}
	for {
		ev, err := events.Next()
		if err != nil {
			// What follows the terminal event, if only a reset, changes nothing.
			if dec.Complete() && ctx.Err() == nil {
				break
			}
			return readFailure(ctx, err)
		}
		last, e := dec.Event(ev)
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
	dec.Finish()
	return nil
}

// isDocument looks whether the reply is a JSON document: servers that cannot stream answer with
// one, and their content types are not to be trusted. No line of an event stream starts with "{", and
// no frame of AWS's: it would be of 1.9 GB.
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

// cappedReader ends with ErrTooLarge after left bytes.
type cappedReader struct {
	r    io.Reader
	left int64
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, ErrTooLarge
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
	if errors.Is(err, ErrTooLarge) {
		return &model.Error{Code: model.CodeServer, Message: "the model provider's reply is too large", Err: err}
	}
	if errors.Is(err, ErrGarbled) {
		return Broken(err)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if over := model.Overtime(err); over != nil {
		return over
	}
	return &model.Error{Code: model.CodeConnection, Message: "the model provider's reply was cut off", Retry: true, Err: err}
}

// Broken is an event or document that cannot be read.
func Broken(err error) *model.Error {
	return &model.Error{Code: model.CodeConnection, Message: "the model provider's reply is garbled", Retry: true, Err: err}
}

func Unmarshal(data []byte, v any) *model.Error {
	if err := json.Unmarshal(data, v); err != nil {
		return Broken(err)
	}
	return nil
}
