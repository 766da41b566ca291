package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// json reports whether the output is for programs.
func (a *app) json() bool { return a.output == outputJSON }

// object prints one value: v as indented JSON, or what text writes.
func (a *app) object(v any, text func(w io.Writer)) error {
	if !a.json() {
		text(a.out)
		return nil
	}
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table prints rows under a header, or with -o json the list {"data": […]}.
func (a *app) table(list any, none string, header []string, rows [][]string) error {
	return a.object(map[string]any{"data": list}, func(w io.Writer) {
		if len(rows) == 0 {
			fmt.Fprintln(w, none)
			return
		}
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(tw, strings.Join(header, "\t"))
		for _, r := range rows {
			fmt.Fprintln(tw, strings.Join(r, "\t"))
		}
		_ = tw.Flush()
	})
}

// ago says how long a Unix time is past, coarsely.
func ago(unix int64, now time.Time) string {
	if unix == 0 {
		return "-"
	}
	d := now.Sub(time.Unix(unix, 0))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// oneLine makes text fit a line of at most n characters.
func oneLine(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// spinner shows on a terminal that something is awaited. Its methods do nothing elsewhere.
type spinner struct {
	w    io.Writer // nil: no terminal
	mu   sync.Mutex
	stop chan struct{} // closed to stop; nil while it does not turn
	done chan struct{} // closed when its line is clean again
}

// newSpinner draws on err when out is a terminal.
func (a *app) newSpinner() *spinner {
	if !a.terminal || a.json() {
		return &spinner{}
	}
	return &spinner{w: a.err}
}

// Start shows what is awaited until Stop. Starting twice keeps the first.
func (s *spinner) Start(what string) {
	if s.w == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return
	}
	s.stop, s.done = make(chan struct{}), make(chan struct{})
	go turn(s.w, what, s.stop, s.done)
}

// Stop clears the line before it returns, so that output may follow.
func (s *spinner) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		return
	}
	close(s.stop)
	<-s.done
	s.stop = nil
}

func turn(w io.Writer, what string, stop, done chan struct{}) {
	defer close(done)
	const frames, every, patience = `|/-\`, 120 * time.Millisecond, 300 * time.Millisecond
	timer := time.NewTimer(patience) // what is quick is not announced
	defer timer.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			if i > 0 {
				fmt.Fprint(w, "\r\x1b[K")
			}
			return
		case <-timer.C:
			fmt.Fprintf(w, "\r%c %s", frames[i%len(frames)], what)
			timer.Reset(every)
		}
	}
}
