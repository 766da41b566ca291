package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stead-dev/stead"
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
	return a.object(map[string]any{"data": list}, func(w io.Writer) { writeTable(w, none, header, rows) })
}

// writeTable aligns columns for a person; none is what is said of no rows.
func writeTable(w io.Writer, none string, header []string, rows [][]string) {
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

// byteSize says a number of bytes coarsely.
func byteSize(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, at := float64(n)/unit, 0
	for units := "KMGT"; v >= unit && at < len(units)-1; at++ {
		v /= unit
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[at])
}

// printable drops what steers a terminal from text that comes out of an environment: its lines, their
// tabs and everything that can be seen stay.
func printable(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r': // a progress bar: each state a line
			return '\n'
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// writeWhole writes beside the file first: what fails never leaves half a file under its name.
func writeWhole(file string, content func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".stead-*")
	if err != nil {
		return stead.Wrap(stead.KindInvalid, err, "the file can't be written")
	}
	defer os.Remove(tmp.Name())
	if err := content(tmp); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the file can't be written")
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return stead.Wrap(stead.KindInvalid, err, "the file can't be written")
	}
	return nil
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
