package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/server"
)

// The load of the streams, and the goals of targets.
const (
	openStreams     = 1000
	deltasPerStream = 100
	deltaInterval   = 50 * time.Millisecond // 20 a second
	goalDelivery    = 50 * time.Millisecond
	goalStreamBytes = 64 << 10
	streamsTimeout  = 2 * time.Minute
	streamsSettle   = 2 * time.Second
)

// ticks streams the time, in nanoseconds, again and again: whoever reads a delta knows how old it is.
func ticks(ctx context.Context, yield func(model.Delta, error) bool) (string, bool) {
	var all strings.Builder
	select { // until all streams are open: what is measured is delivery, not the making of sessions
	case <-ctx.Done():
		yield(model.Delta{}, ctx.Err())
		return "", false
	case <-time.After(streamsSettle):
	}
	beat := time.NewTicker(deltaInterval)
	defer beat.Stop()
	for range deltasPerStream {
		select {
		case <-ctx.Done():
			yield(model.Delta{}, ctx.Err())
			return "", false
		case <-beat.C:
		}
		text := strconv.FormatInt(time.Now().UnixNano(), 10) + " "
		all.WriteString(text)
		if !yield(model.Delta{Kind: model.TextDelta, Text: text}, nil) {
			return "", false
		}
	}
	return all.String(), true
}

// serveStreams is the child: the real door over the real runner, with the streaming model.
func serveStreams(dir string) error {
	m := newInstant(0)
	m.clock = true
	c, err := openCore(dir, "", m)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("%d http://%s\n", os.Getpid(), l.Addr())
	return http.Serve(l, server.New(server.Config{
		Sessions: c.runner, Agents: c.runner, Models: m, Version: "bench", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}))
}

// measureStreams opens many streams, each of a session whose model writes twenty times a second.
func (b *bench) measureStreams() error {
	n := openStreams
	if b.quick {
		n /= 10
	}
	child, err := b.child("streams", filepath.Join(b.dir, "streams"), n)
	if err != nil {
		return err
	}
	defer child.Close()
	pid, base, ok := strings.Cut(child.Line, " ")
	if !ok {
		return fmt.Errorf("the child said %q", child.Line)
	}
	if _, err := readStream(base); err != nil { // warm
		return err
	}
	before, err := rssOf(pid)
	if err != nil {
		return err
	}
	ages, most, err := readStreams(base, pid, n)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d streams of %.0f deltas/s", n, float64(time.Second/deltaInterval))
	b.table.within(name+", delivery p99, of all their deltas", "", quantile(ages, 0.99), goalDelivery, "", "≤ "+ms(goalDelivery))
	lost := n*deltasPerStream - len(ages)
	b.table.add(row{name: name + ", deltas lost", ours: strconv.Itoa(lost), goal: "0", verdict: reached(lost == 0)})
	each := (most - before) / int64(n)
	b.table.add(row{
		name: name + ", memory of the server a stream, session and model call with it", ours: fmt.Sprintf("%d KB", each>>10),
		goal: fmt.Sprintf("≤ %d KB", goalStreamBytes>>10), verdict: reached(each <= goalStreamBytes),
	})
	return nil
}

// readStreams reads n streams at once, and returns the age of every delta on arrival and the most
// memory that the server had meanwhile.
func readStreams(base, pid string, n int) (ages []time.Duration, most int64, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			mine, fault := readStream(base)
			mu.Lock()
			defer mu.Unlock()
			ages = append(ages, mine...)
			err = errors.Join(err, fault)
		})
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	for {
		if now, fault := rssOf(pid); fault == nil {
			most = max(most, now)
		}
		select {
		case <-over:
			return ages, most, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// readStream makes a session and reads its stream to the end of its turn.
func readStream(base string) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), streamsTimeout)
	defer cancel()
	body := `{"environment":{"type":"none"},"agent":{"model":"bench"},"input":"go","stream":true}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/agents/sessions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return readAges(bufio.NewReader(resp.Body))
}

func readAges(in *bufio.Reader) ([]time.Duration, error) {
	var ages []time.Duration
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return ages, fmt.Errorf("the stream ended before its turn: %w", err)
		}
		now := time.Now().UnixNano()
		if bytes.Contains(line, []byte(`"agent.session.idle"`)) {
			return ages, nil
		}
		if !bytes.Contains(line, []byte(`"agent.session.turn.output_text.delta"`)) || !bytes.HasPrefix(line, []byte("data:")) {
			continue
		}
		_, rest, ok := bytes.Cut(line, []byte(`"delta":"`))
		text, _, closed := bytes.Cut(rest, []byte(`"`))
		if !ok || !closed {
			return ages, fmt.Errorf("a delta without text: %s", line)
		}
		for _, tick := range strings.Fields(string(text)) {
			at, err := strconv.ParseInt(tick, 10, 64)
			if err != nil {
				return ages, fmt.Errorf("a delta cut in its middle: %s", text)
			}
			ages = append(ages, time.Duration(now-at))
		}
	}
}

// rssOf is the resident memory of a process.
func rssOf(pid string) (int64, error) {
	raw, err := os.ReadFile("/proc/" + pid + "/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%s/statm: %q", pid, raw)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
