package upstream

import (
	"bufio"
	"io"
)

// Events reads all server-sent events, as "name|data".
func Events(r io.Reader, maxBytes int) ([]string, error) {
	var out []string
	e := newEventReader(bufio.NewReaderSize(r, 16), maxBytes)
	for {
		ev, err := e.Next()
		if err != nil {
			return out, err
		}
		out = append(out, ev.Name+"|"+string(ev.Data))
	}
}
