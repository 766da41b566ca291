package mount

import "testing"

// TestForgotten: a file is of the entry that its head names, else of the one that its own name does; what was kept beside it goes as well, and
// what says nothing any more stays.
func TestForgotten(t *testing.T) {
	is := Forgotten(map[string]bool{"mem_1": true})
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"mem_1.md", "---\nid: mem_1\nversion: 3\n---\nIt is high.\n", true},
		{"height.md", "---\r\nid: mem_1\r\n---\r\nIt is high.", true},
		{"mem_1.md", "It is high.", true},
		{"mem_1.conflict.md", "It is very high.\n", true},
		{"mem_1.md", string(gone("mem_1")), false},
		{"mem_1.conflict.md", string(gone("mem_1")), false},
		{"mem_1.md", "---\nid: mem_1\ngone: true\n---\nIt is high, all the same.\n", true},
		{"mem_1.md", "---\nid: mem_2\n---\nAda likes tea.\n", false},
		{"mem_2.md", "---\nid: mem_2\n---\nid: mem_1\n", false},
		{"mem_2.conflict.md", "about mem_1", false},
		{"notes.md", "about mem_1", false},
		{"mem_1.txt", "It is high.", false},
	} {
		instead, got := is(c.name, []byte(c.text))
		if got != c.want || got && string(instead) != "---\nid: mem_1\ngone: true\n---\n" {
			t.Errorf("%s, %q: %v, %q", c.name, c.text, got, instead)
		}
	}
}
