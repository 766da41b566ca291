package mount

import "strings"

// Forgotten decides which files are of entries (ids) that are forgotten, by their names and contents, and says what is put in their
// places: files that show such an entry, whatever their names, and what was kept beside one in a conflict.
func Forgotten(ids map[string]bool) func(name string, data []byte) (instead []byte, is bool) {
	return func(name string, data []byte) ([]byte, bool) {
		h, text := parse(string(data))
		id := h.id
		if of, aside := strings.CutSuffix(name, conflict); aside && ids[of] {
			id = of
		} else if id == "" { // its head was taken off
			id = strings.TrimSuffix(name, ending)
		}
		if !ids[id] || h.forgotten && strings.TrimSpace(text) == "" {
			return nil, false
		}
		return gone(id), true
	}
}

// gone is what a file says of an entry that is forgotten.
func gone(id string) []byte { return []byte(fence + "\nid: " + id + "\ngone: true\n" + fence + "\n") }
