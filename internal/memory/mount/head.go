package mount

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stead-dev/stead/internal/memory"
)

// head is what stands above the text of a file.
type head struct {
	id        string
	version   int64
	kind      string
	scope     string // "user ada", "team:red", "project" …
	labels    []string
	forgotten bool
	elsewhere bool // the entry is no file any more
}

const fence = "---"

// parse takes a file apart. Lines of a head that are not known say nothing; a file without a head is all text.
func parse(data string) (h head, text string) {
	lines := strings.Split(strings.ReplaceAll(data, "\r\n", "\n"), "\n")
	if strings.TrimRight(lines[0], " ") != fence {
		return h, data
	}
	for i, line := range lines[1:] {
		if strings.TrimRight(line, " ") == fence {
			return h, strings.Join(lines[i+2:], "\n")
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "id":
			h.id = value
		case "version":
			n, _ := strconv.ParseInt(value, 10, 64)
			h.version = max(0, n) // 0: none that there is; a negative one would be any
		case "kind":
			h.kind = value
		case "scope":
			h.scope = strings.Join(strings.Fields(value), ":")
		case "labels":
			for l := range strings.SplitSeq(value, ",") {
				if l = strings.TrimSpace(l); l != "" {
					h.labels = append(h.labels, l)
				}
			}
		case "elsewhere":
			h.elsewhere = value == "true"
		case "gone":
			h.forgotten = value == "true"
		}
	}
	return head{}, data // no end: it is no head
}

// render is an entry as a file.
func render(e memory.Entry) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nid: %s\nversion: %d\nkind: %s\n", fence, e.ID, e.Version, e.Kind)
	if e.Scope.ID != "" {
		fmt.Fprintf(&b, "scope: %s %s\n", e.Scope.Type, oneLine(e.Scope.ID))
	}
	if len(e.Labels) > 0 {
		fmt.Fprintf(&b, "labels: %s\n", oneLine(strings.Join(e.Labels, ", ")))
	}
	if e.Source.Author != "" {
		fmt.Fprintf(&b, "author: %s\n", oneLine(e.Source.Author))
	}
	fmt.Fprintf(&b, "%s\n%s\n", fence, strings.TrimSpace(e.Text))
	return []byte(b.String())
}

// oneLine keeps a value from looking like another line of the head.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
