package server

import (
	"context"
	"net/http"
	"time"
)

// teller writes a translated stream. An error that comes before the first event is an error of the
// request, with its status, unless the model was silent for so long that the answer had to begin.
type teller struct {
	out  *eventWriter
	stop func()
}

func (s *server) newTeller(ctx context.Context, w http.ResponseWriter) *teller {
	t := &teller{out: newEventWriter(w)}
	ctx, cancel := context.WithCancel(ctx)
	opened := time.AfterFunc(KeepAliveInterval, func() { t.out.open() })
	go func() {
		tick := time.NewTicker(KeepAliveInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if t.out.comment() != nil { // the next event finds out as well
					return
				}
			}
		}
	}()
	t.stop = func() { opened.Stop(); cancel(); t.out.close() }
	return t
}
