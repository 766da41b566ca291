package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stead-dev/stead/internal/client"
)

// Lists of memories fit the terminal: no line is longer than it, but where an id alone is.
func TestMemoriesFitTheTerminal(t *testing.T) {
	m := client.Memory{ID: "mem_" + strings.Repeat("0", 32), Kind: "preference", Content: strings.Repeat("größer und länger ", 20)}
	m.Source.Author = "Ada"
	hit := client.MemoryHit{Memory: m, Score: 12.34, Context: []client.MemoryNeighbour{{Memory: m, ContextOf: m.ID, Place: -1}, {Memory: m, ContextOf: m.ID, Place: 1}}}
	for width, lines := range map[int]int{0: 2 + 3, 200: 2 + 3, 80: 2 + 3, 79: 2*1 + 3, 50: 2 + 6, 40: 2 + 6, 10: 2 + 6} {
		var out bytes.Buffer
		writeMemories(&out, []client.Memory{m}, width, time.Now())
		writeHits(&out, []client.MemoryHit{hit}, width, false)
		got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(got) != lines || strings.Count(out.String(), "größer") < 4 {
			t.Errorf("%d characters: %d lines, not %d\n%s", width, len(got), lines, out.String())
		}
		for _, line := range got {
			if n := utf8.RuneCountInString(line); width > 0 && n > max(width, 2+6+len(m.ID)) {
				t.Errorf("a line of %d characters, of %d: %s", n, width, line)
			}
		}
	}
	for columns, want := range map[string]int{"40": 40, "": 0, "-1": 0, "x": 0} {
		a := &app{out: &bytes.Buffer{}, env: func(name string) (string, bool) { return columns, name == "COLUMNS" }}
		if got := a.width(); got != want {
			t.Errorf("COLUMNS=%q: %d", columns, got)
		}
	}
}
