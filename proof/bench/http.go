package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/stead-dev/stead/proof/rig"
)

// Goals of targets.
const (
	goalFirstByteSyncs = 2
	goalFirstByteOwn   = time.Millisecond
	goalColdStart      = 300 * time.Millisecond
)

// measureHTTP runs the real binary and takes the time from a POST to the first byte of its stream.
func (b *bench) measureHTTP() error {
	program, err := rig.Build(b.dir, "./cmd/stead")
	if err != nil {
		return err
	}
	n, err := rig.NewNode(rig.NodeOptions{Program: program, Dir: filepath.Join(b.dir, "http")})
	if err != nil {
		return err
	}
	defer n.Kill()
	var starts []time.Duration
	for range 5 {
		n.Kill()
		began := time.Now()
		if err := n.Start(); err != nil {
			return err
		}
		starts = append(starts, time.Since(began))
	}
	b.table.within("stead serve, from exec to serving (SQLite)", "", quantile(starts, 0.5), goalColdStart, "", "≤ "+ms(goalColdStart))

	samples := 300
	if b.quick {
		samples = 50
	}
	created, err := sample(samples, func() (time.Duration, error) { return firstByte(n.URL()) })
	if err != nil {
		return err
	}
	b.firstByteRow("POST of a session with stream: true to first SSE byte", created)
	follow, err := follower(n.URL())
	if err != nil {
		return err
	}
	defer follow.Close()
	sent, err := sample(samples, follow.next)
	if err != nil {
		return err
	}
	b.firstByteRow("POST of a message to first SSE event on an open stream", sent)
	return nil
}

func (b *bench) firstByteRow(name string, took []time.Duration) {
	sync := b.fdatasync()
	p50 := quantile(took, 0.5)
	b.table.within(name+fmt.Sprintf(", p50 (p99 %s)", ms(quantile(took, 0.99))), "one fdatasync "+ms(sync), p50,
		goalFirstByteSyncs*sync+goalFirstByteOwn, fmt.Sprintf("%.2f", float64(p50)/float64(sync)),
		fmt.Sprintf("≤ %d fdatasyncs + %s", goalFirstByteSyncs, ms(goalFirstByteOwn)))
}

// sample measures n times, after a few that are left out.
func sample(n int, measure func() (time.Duration, error)) ([]time.Duration, error) {
	const warm = 10
	var took []time.Duration
	for range warm + n {
		d, err := measure()
		if err != nil {
			return nil, err
		}
		took = append(took, d)
	}
	return slices.Clone(took[warm:]), nil
}

// firstByte makes a session that streams, and takes the time to the first byte of its body.
func firstByte(base string) (time.Duration, error) {
	body, err := json.Marshal(map[string]any{
		"environment": map[string]string{"type": "none"}, "agent": map[string]string{"model": "sim"}, "input": "Say yes", "stream": true,
	})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/agents/sessions", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	start := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", resp.StatusCode)
	}
	// The rest is read, so that the turn is over before the next begins.
	return took, readUntil(bufio.NewReader(resp.Body), "agent.session.idle")
}

// readUntil reads a stream's lines up to an event of the type.
func readUntil(in *bufio.Reader, event string) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("the stream ended before %s: %w", event, err)
		}
		if bytes.HasPrefix([]byte(line), []byte("data:")) && bytes.Contains([]byte(line), []byte(`"`+event+`"`)) {
			return nil
		}
	}
}

// following is an open stream of one session.
type following struct {
	client  *rig.Client
	session string
	body    io.Closer
	in      *bufio.Reader
	sent    int
}

func follower(base string) (*following, error) {
	f := &following{client: rig.NewClient(base)}
	var s rig.Session
	err := f.client.Do(context.Background(), http.MethodPost, "/v1/agents/sessions", "", map[string]any{
		"environment": map[string]string{"type": "none"}, "agent": map[string]string{"model": "sim"}, "input": "Say ready",
	}, &s)
	if err != nil {
		return nil, err
	}
	f.session = s.ID
	err = rig.Poll(shutdownTimeout, "the session to be at rest", func() error {
		now, err := f.client.Session(context.Background(), s.ID)
		if err == nil && now.Status != "idle" {
			err = errors.New("it is " + now.Status)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	resp, err := http.Get(base + rig.SessionPath(s.ID, "/events"))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("status %d", resp.StatusCode), resp.Body.Close())
	}
	f.body, f.in = resp.Body, bufio.NewReader(resp.Body)
	return f, nil
}

func (f *following) Close() error { return f.body.Close() }

// next sends a message and takes the time to the first event that comes of it.
func (f *following) next() (time.Duration, error) {
	first := make(chan error, 1)
	var at time.Time
	go func() {
		err := readUntil(f.in, "agent.session.turn.created")
		at = time.Now()
		first <- err
	}()
	f.sent++
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	start := time.Now()
	if err := f.client.Send(ctx, f.session, fmt.Sprintf("m-%d", f.sent), rig.Message("Say yes")); err != nil {
		return 0, err
	}
	select {
	case err := <-first:
		if err != nil {
			return 0, err
		}
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return at.Sub(start), readUntil(f.in, "agent.session.idle")
}
