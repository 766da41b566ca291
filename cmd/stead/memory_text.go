package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead/internal/client"
)

// maxMemoryLine is how much of a memory a list shows: characters.
const maxMemoryLine = 90

// Of a line of a terminal: what stands in front of a memory's content in a list and in what a search found, and the least of it that is
// worth having in that line. Where there is less, it has a line of its own.
const (
	memoryColumns = 36 + 2 + 10 + 2 + 4 + 2
	hitColumns    = 6 + 2 + 36 + 2
	minMemoryLine = 24
)

// lineRoom is how many characters have room in a line beside others, at least minMemoryLine. width 0: of no terminal.
func lineRoom(width, beside int) int {
	if width == 0 {
		return maxMemoryLine
	}
	return min(maxMemoryLine, max(minMemoryLine, width-beside))
}

// writeMemories lists memories: a line each, or two in a terminal that is too narrow.
func writeMemories(w io.Writer, list []client.Memory, width int, now time.Time) {
	if width == 0 || width >= memoryColumns+minMemoryLine || len(list) == 0 {
		var rows [][]string
		for _, m := range list {
			rows = append(rows, []string{m.ID, m.Kind, ago(m.CreatedAt, now), oneLine(printable(m.Content), lineRoom(width, memoryColumns))})
		}
		writeTable(w, "Nothing is remembered.", []string{"MEMORY", "KIND", "AGE", "CONTENT"}, rows)
		return
	}
	for _, m := range list {
		fmt.Fprintf(w, "%s\n  %s\n", m.ID, oneLine(m.Kind+" · "+ago(m.CreatedAt, now)+" · "+printable(m.Content), max(minMemoryLine, width-len("  "))))
	}
}

func writeHits(w io.Writer, hits []client.MemoryHit, width int, explain bool) {
	if len(hits) == 0 {
		fmt.Fprintln(w, "Nothing found.")
	}
	for _, h := range hits {
		after := slices.IndexFunc(h.Context, func(n client.MemoryNeighbour) bool { return n.Place > 0 })
		if after < 0 {
			after = len(h.Context)
		}
		writeNear(w, h.Context[:after], width, explain)
		writeHit(w, fmt.Sprintf("%6.2f", h.Score), h.Memory, width)
		writeWhy(w, h.Explain)
		writeNear(w, h.Context[after:], width, explain)
	}
}

// writeHit shows a memory that was found, or stands near one: a line, or two in a terminal that is too narrow.
func writeHit(w io.Writer, mark string, m client.Memory, width int) {
	text := printable(m.Content)
	if m.Source.Author != "" {
		text = printable(m.Source.Author) + ": " + text
	}
	if width == 0 || width >= hitColumns+minMemoryLine {
		fmt.Fprintf(w, "%6s  %s  %s\n", mark, m.ID, oneLine(text, lineRoom(width, hitColumns)))
		return
	}
	fmt.Fprintf(w, "%s  %s\n  %s\n", strings.TrimSpace(mark), m.ID, oneLine(text, max(minMemoryLine, width-len("  "))))
}

// writeNear shows what stands around a hit.
func writeNear(w io.Writer, near []client.MemoryNeighbour, width int, explain bool) {
	for _, n := range near {
		writeHit(w, "·", n.Memory, width)
		if explain {
			where := "before"
			if n.Place > 0 {
				where = "behind"
			}
			fmt.Fprintf(w, "        context of %s, %d %s it in their conversation\n", n.ContextOf, max(n.Place, -n.Place), where)
		}
	}
}

// writeWhy shows why a memory was found.
func writeWhy(w io.Writer, e *client.MemoryExplanation) {
	if e == nil {
		return
	}
	var terms []string
	for _, t := range slices.Sorted(maps.Keys(e.Terms)) {
		terms = append(terms, fmt.Sprintf("%s %.2f", t, e.Terms[t]))
	}
	near := ""
	if e.Near > 0 {
		near = fmt.Sprintf(", near %.2f (cosine %.2f)", e.Near, e.Similarity)
	}
	if e.Alike != "" {
		defer fmt.Fprintf(w, "        nearly the same as %s, and so behind what is different\n", e.Alike)
	}
	fmt.Fprintf(w, "        words %.2f (%s), neighbours %.2f, session %.2f%s × tells %.2f, author %.2f, time %.2f, importance %.2f, recency %.2f\n",
		e.Words, strings.Join(terms, ", "), e.Neighbours, e.Session, near, e.Tells, e.Author, e.Time, e.Importance, e.Recency)
}

// writeMemory shows all there is of a memory.
func writeMemory(w io.Writer, m client.Memory) {
	fmt.Fprintf(w, "%s · %s · version %d\n\n", m.ID, m.Kind, m.Version)
	if m.Redacted {
		fmt.Fprint(w, "(redacted)\n\n")
	} else {
		fmt.Fprintf(w, "%s\n\n", strings.TrimSpace(printable(m.Content+"\n"+m.Caption)))
	}
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-14s %s\n", name, oneLine(printable(value), versionShown*2))
		}
	}
	line("scope", scopeName(m.Scope))
	line("written by", m.WrittenBy)
	sources := m.Sources
	if len(sources) == 0 {
		sources = []client.MemorySource{m.Source}
	}
	for _, s := range sources {
		line("from", sourceWords(s))
	}
	line("valid from", timeWords(m.ValidFrom))
	line("valid until", timeWords(m.ValidUntil))
	line("supersedes", m.Supersedes)
	line("superseded by", m.SupersededBy)
	line("confidence", fmt.Sprintf("%.2f", m.Confidence))
	line("importance", fmt.Sprintf("%.2f", m.Importance))
	line("labels", strings.Join(m.Labels, ", "))
	for _, k := range slices.Sorted(maps.Keys(m.Metadata)) {
		line("metadata", k+"="+m.Metadata[k])
	}
	line("created", timeWords(m.CreatedAt))
	line("updated", timeWords(m.UpdatedAt))
	line("expires", timeWords(m.ExpiresAt))
}

func scopeName(s client.MemoryScope) string {
	if s.ID == "" {
		return s.Type
	}
	return s.Type + ":" + s.ID
}

// sourceWords says where a memory comes from; "": nothing does.
func sourceWords(s client.MemorySource) string {
	var words []string
	for _, part := range []string{s.Author, timeWords(s.At), s.Session, s.Item} {
		if part != "" {
			words = append(words, part)
		}
	}
	return strings.Join(words, " · ")
}

func timeWords(unix int64) string {
	if unix == 0 {
		return ""
	}
	return time.Unix(unix, 0).UTC().Format(time.RFC3339)
}

func writeVersions(w io.Writer, versions []client.Memory, now time.Time) {
	var rows [][]string
	for _, v := range versions {
		text := oneLine(printable(v.Content), versionShown)
		if v.Redacted {
			text = "(redacted)"
		}
		rows = append(rows, []string{fmt.Sprint(v.Version), ago(v.UpdatedAt, now), orDash(oneLine(printable(v.WrittenBy), versionShown)), text})
	}
	writeTable(w, "No versions.", []string{"VERSION", "AGE", "WRITTEN BY", "CONTENT"}, rows)
}
