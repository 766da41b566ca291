package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/environment"
)

// computerReport is what doctor says of agents' computers.
type computerReport struct {
	Driver  string         `json:"driver"` // of hosted environments; "" for none
	Why     string         `json:"why"`
	Drivers []driverReport `json:"drivers"` // of this build, the best first
}

// driverReport is what one driver can do here.
type driverReport struct {
	Driver    string          `json:"driver"`
	Usable    bool            `json:"usable"`
	Isolation string          `json:"isolation,omitempty"`
	Problem   string          `json:"problem,omitempty"`
	Remedy    string          `json:"remedy,omitempty"`
	Controls  []controlReport `json:"controls"`
	Notes     []string        `json:"notes"`
}

// controlReport is one thing that a driver enforces, or does not.
type controlReport struct {
	Name   string `json:"name"`
	By     string `json:"by,omitempty"`
	Gap    string `json:"gap,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// examineComputers tries every driver that this machine has parts for, all at once, and says which of
// them a node would use: what chooseDriver takes.
func examineComputers(ctx context.Context, cfg *config.Config) (computerReport, finding) {
	list := candidates(slog.New(slog.DiscardHandler))
	out := computerReport{Drivers: make([]driverReport, len(list))}
	var wg sync.WaitGroup
	for i, c := range list {
		wg.Go(func() { out.Drivers[i] = examineDriver(ctx, cfg, c) })
	}
	wg.Wait()
	f := decideDriver(cfg.Environments, &out)
	return out, f
}

// decideDriver says which driver is used for hosted environments, by the rules of chooseDriver.
func decideDriver(e config.Environments, out *computerReport) finding {
	f := finding{Check: "hosted environments", Verdict: verdictOK}
	switch e.Driver {
	case config.DriverNone:
		out.Why = "environments.driver is none: agents have no computers"
		f.Detail = out.Why
		return f
	case config.DriverBare:
		out.Driver, out.Why = config.DriverBare, "environments.driver names it, and it isolates NOTHING: commands can do whatever the server can"
		f.Verdict, f.Detail, f.Remedy = verdictWarn, "bare, because "+out.Why, "Use it only where every session is trusted: leave environments.driver out to have a border."
		return f
	}
	var problems []string
	for _, d := range out.Drivers {
		if e.Driver != "" && e.Driver != d.Driver {
			continue
		}
		problem := refusal(e, d)
		if problem != "" {
			problems = append(problems, d.Driver+": "+problem)
			continue
		}
		out.Driver, out.Why = d.Driver, "it is the first in the order of preference that works here"
		switch {
		case e.Driver != "":
			out.Why = "environments.driver names it"
		case e.Isolation == config.IsolationStrong:
			out.Why = "environments.isolation is strong, and it has a kernel of its own"
		}
		f.Detail = d.Driver + ", because " + out.Why
		return f
	}
	out.Why = "nothing that is asked for works here"
	f.Verdict, f.Detail = verdictWarn, "agents have no computers here: none of the drivers works"
	f.Remedy = "See below what each of them lacks, or connect a machine of yours: stead executor."
	if e.Driver != "" || e.Isolation == config.IsolationStrong {
		f.Verdict, f.Detail = verdictFail, "the server refuses to start: "+oneLine(strings.Join(problems, "; "), 500)
		f.Remedy = "See below what is lacking, or change environments in stead.yaml."
	}
	if len(problems) == 0 {
		f.Detail = fmt.Sprintf("the server refuses to start: this build has no driver %q", e.Driver)
	}
	return f
}

// refusal says why a driver is not taken, "" when it is.
func refusal(e config.Environments, d driverReport) string {
	switch {
	case !d.Usable:
		return d.Problem
	case e.Isolation == config.IsolationStrong && d.Isolation != string(environment.IsolationStrong):
		return "it shares this machine's kernel"
	}
	return ""
}

// examineDriver tries one driver. One whose program or engine is not here says so at once.
func examineDriver(ctx context.Context, cfg *config.Config, c candidate) driverReport {
	d := driverReport{Driver: c.name, Controls: []controlReport{}, Notes: []string{}}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	p, r, err := tryDriver(ctx, cfg, c)
	if p != nil {
		defer closeDriver(p)
	}
	if err != nil {
		d.Problem = oneLine(err.Error(), 500)
		if e, ok := errors.AsType[*stead.Error](err); ok {
			d.Problem, d.Remedy = oneLine(e.Message, 500), e.Hint
		}
		return d
	}
	d.Usable, d.Isolation, d.Problem, d.Remedy = r.Usable, string(r.Isolation), r.Problem, r.Remedy
	for _, k := range r.Controls {
		d.Controls = append(d.Controls, controlReport(k))
	}
	d.Notes = append(d.Notes, r.Notes...)
	return d
}

// write shows the drivers, a line each, with what would close the gaps of each; below the one that is
// used also what enforces what, and what is not enforced. All of that of all drivers is in -o json.
func (r computerReport) write(w io.Writer) {
	for _, d := range r.Drivers {
		entry(w, "      ", fmt.Sprintf("%-10s  ", d.Driver), d.headline(r.Driver))
		if d.Remedy != "" {
			entry(w, driverIndent, "→ ", d.Remedy)
		}
		if d.Driver == r.Driver {
			d.controls(w)
		}
		d.remedies(w)
		if d.Driver == r.Driver {
			for _, s := range d.Notes {
				entry(w, driverIndent, "· ", s)
			}
		}
	}
}

// driverIndent is where what is said of a driver begins.
const driverIndent = "                  "

// controls are what the driver enforces, and what it does not.
func (d driverReport) controls(w io.Writer) {
	for _, k := range d.Controls {
		mark, text := "✓", k.By
		if k.Gap != "" {
			mark, text = "!", strings.TrimPrefix(k.By+". "+k.Gap, ". ")
		}
		entry(w, driverIndent, fmt.Sprintf("%s %-10s  ", mark, label(k.Name)), text)
	}
}

// remedies say what closes the gaps: each once, with the gaps that it closes.
func (d driverReport) remedies(w io.Writer) {
	var order []string
	gaps := map[string][]string{} // remedy → names of controls
	for _, k := range d.Controls {
		if k.Gap == "" {
			continue
		}
		if gaps[k.Remedy] == nil {
			order = append(order, k.Remedy)
		}
		gaps[k.Remedy] = append(gaps[k.Remedy], label(k.Name))
	}
	for _, remedy := range order {
		entry(w, driverIndent, "→ ", strings.Join(gaps[remedy], ", ")+": "+cmp.Or(remedy, "nothing that is known closes this gap."))
	}
}

// reportWidth is the longest line of a report, in characters, where words allow it.
const reportWidth = 110

// entry writes a text under its mark, in lines of at most reportWidth.
func entry(w io.Writer, indent, mark, text string) {
	line := indent + mark
	under := indent + strings.Repeat(" ", utf8.RuneCountInString(mark))
	empty := true
	for word := range strings.FieldsSeq(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > reportWidth {
			fmt.Fprintln(w, line)
			line, empty = under, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	fmt.Fprintln(w, line)
}

// headline is a driver in one line.
func (d driverReport) headline(chosen string) string {
	switch {
	case !d.Usable:
		return "does not work here: " + d.Problem
	}
	s := "works"
	if d.Driver == chosen {
		s = "is used"
	}
	switch d.Isolation {
	case string(environment.IsolationStrong):
		s += ", with a kernel of its own"
	case string(environment.IsolationShared):
		s += ", on this machine's kernel"
	}
	if !slices.ContainsFunc(d.Controls, func(k controlReport) bool { return k.Gap != "" }) {
		return s + "; no gaps"
	}
	return s + "; what closes its gaps:"
}

func label(control string) string { return strings.ReplaceAll(control, "_", " ") }
