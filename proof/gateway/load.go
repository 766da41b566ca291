package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

const (
	clients = 16 // of the closed loop
	rounds  = 3  // of which the median counts
	idle    = 2048
)

// rate is what one measurement found.
type rate struct {
	perSecond float64
	cpu       time.Duration // a request, of the process in the middle
	latencies []time.Duration
	first     []time.Duration // until the first byte of the body
}

func (r rate) quantile(of []time.Duration, q float64) time.Duration {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return of[min(int(q*float64(len(of))), len(of)-1)]
}

func client() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConns: idle, MaxIdleConnsPerHost: idle}}
}

// prompt is how long what is sent is.
type prompt struct {
	name  string
	bytes int
}

func prompts() []prompt { return []prompt{{"200 B", 200}, {"100 KB", 100 << 10}} }

func body(prompt string) []byte {
	return []byte(`{"model":"m","stream":true,"messages":[{"role":"user","content":"` + prompt + `"}]}`)
}

// once makes one request and reads its answer to the end.
func once(c *http.Client, url string, payload []byte) (first, whole time.Duration, err error) {
	began := time.Now()
	res, err := c.Post(url, "application/json", bytes.NewReader(payload))
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	head := make([]byte, 1)
	if _, err := io.ReadFull(res.Body, head); err != nil {
		return 0, 0, err
	}
	first = time.Since(began)
	rest, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || !bytes.HasSuffix(rest, []byte("[DONE]\n\n"))) {
		err = fmt.Errorf("status %d: %.200s", res.StatusCode, rest)
	}
	return first, time.Since(began), err
}

// run makes requests for a while: as fast as some clients can, or, with a pace, one each so often.
func run(m middle, payload []byte, window, pace time.Duration) (rate, error) {
	var mu sync.Mutex
	var out rate
	var failed error
	var wg sync.WaitGroup
	do := func() {
		first, whole, err := once(m.client, m.url, payload)
		mu.Lock()
		defer mu.Unlock()
		failed = errors.Join(failed, err)
		out.latencies, out.first = append(out.latencies, whole), append(out.first, first)
	}
	before, err := cpu(m.pid)
	if err != nil {
		return out, err
	}
	began := time.Now()
	if pace > 0 {
		for next := began; time.Since(began) < window; next = next.Add(pace) {
			time.Sleep(time.Until(next))
			wg.Go(do)
		}
	} else {
		for range clients {
			wg.Go(func() {
				for time.Since(began) < window {
					do()
				}
			})
		}
	}
	wg.Wait()
	took := time.Since(began)
	after, err := cpu(m.pid)
	n := len(out.latencies)
	out.perSecond, out.cpu = float64(n)/took.Seconds(), (after-before)/time.Duration(max(n, 1))
	return out, errors.Join(err, failed)
}

// pair measures both by turns, and returns of each the round with the median of by.
func pair(bare, ours middle, payload []byte, window, pace time.Duration, by func(rate) float64) (b, o rate, err error) {
	var bs, os []rate
	for range rounds {
		for _, m := range []middle{bare, ours} {
			r, err := run(m, payload, window, pace)
			if err != nil {
				return b, o, fmt.Errorf("%s: %w", m.name, err)
			}
			if m == bare {
				bs = append(bs, r)
			} else {
				os = append(os, r)
			}
		}
	}
	median := func(rs []rate) rate {
		slices.SortFunc(rs, func(x, y rate) int {
			if by(x) < by(y) {
				return -1
			}
			return 1
		})
		return rs[len(rs)/2]
	}
	return median(bs), median(os), nil
}

// table is the result.
type table struct{ w *tabwriter.Writer }

func (t table) row(name, bare, ours, ratio, goal string, ok bool) {
	verdict := map[bool]string{true: "yes", false: "NO"}[ok]
	if goal == "" {
		verdict = ""
	}
	fmt.Fprintln(t.w, strings.Join([]string{name, bare, ours, ratio, goal, verdict}, "\t"))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

func report(w io.Writer, bare, ours middle, window time.Duration, streams int) error {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t.w, "figure\tbare proxy\tstead\tratio\tgoal\treached")
	for _, p := range prompts() {
		if err := t.prompt(bare, ours, p.name, body(strings.Repeat("x", p.bytes)), window); err != nil {
			return err
		}
	}
	b, err := perStream(bare, streams)
	if err != nil {
		return err
	}
	o, err := perStream(ours, streams)
	if err != nil {
		return err
	}
	const goal = 64 << 10
	t.row(fmt.Sprintf("memory per open stream (%d)", streams), fmt.Sprintf("%d KB", b>>10), fmt.Sprintf("%d KB", o>>10), "", "≤ 64 KB", o <= goal)
	return t.w.Flush()
}

func (t table) prompt(bare, ours middle, name string, payload []byte, window time.Duration) error {
	for _, m := range []middle{bare, ours} { // warm up
		if _, err := run(m, payload, window/3, 0); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	b, o, err := pair(bare, ours, payload, window, 0, func(r rate) float64 { return r.perSecond })
	if err != nil {
		return err
	}
	t.row(name+": requests/s", fmt.Sprintf("%.0f", b.perSecond), fmt.Sprintf("%.0f", o.perSecond), fmt.Sprintf("%.2f", o.perSecond/b.perSecond), "", false)
	const cpuGoal = 1.3
	ratio := float64(o.cpu) / float64(b.cpu)
	t.row(name+": CPU a request", fmt.Sprintf("%d µs", b.cpu.Microseconds()), fmt.Sprintf("%d µs", o.cpu.Microseconds()), fmt.Sprintf("%.2f", ratio), "≤ 1.30", ratio <= cpuGoal)

	pace := time.Duration(2 * float64(time.Second) / min(b.perSecond, o.perSecond))
	b, o, err = pair(bare, ours, payload, window, pace, func(r rate) float64 { return float64(r.quantile(r.latencies, 0.99)) })
	if err != nil {
		return err
	}
	for _, q := range []struct {
		name string
		q    float64
		goal string
		most time.Duration
	}{{"p50", 0.5, "", 0}, {"p99", 0.99, "+ ≤ 1 ms", time.Millisecond}} {
		bq, oq := b.quantile(b.latencies, q.q), o.quantile(o.latencies, q.q)
		t.row(name+": "+q.name+" at half load", ms(bq), ms(oq), "+ "+ms(oq-bq), q.goal, oq-bq <= q.most)
	}
	bf, of := b.quantile(b.first, 0.5), o.quantile(o.first, 0.5)
	t.row(name+": first token at half load", ms(bf), ms(of), "+ "+ms(of-bf), "+ ≤ 0.5 ms", of-bf <= time.Millisecond/2)
	return nil
}

// perStream opens streams that say one thing and then nothing, and returns what each holds in the
// process in the middle, in bytes.
func perStream(m middle, n int) (int, error) {
	c := &http.Client{Transport: &http.Transport{}}
	before, err := resident(m.pid)
	if err != nil {
		return 0, err
	}
	var open []io.Closer
	defer func() {
		for _, o := range open {
			_ = o.Close()
		}
	}()
	for range n {
		res, err := c.Post(m.url, "application/json", bytes.NewReader(body(holdHeader)))
		if err != nil {
			return 0, err
		}
		open = append(open, res.Body)
		if _, err := res.Body.Read(make([]byte, 1)); err != nil {
			return 0, fmt.Errorf("%s: a stream that is held: %w", m.name, err)
		}
	}
	after, err := resident(m.pid)
	return max(after-before, 0) / n, err
}
