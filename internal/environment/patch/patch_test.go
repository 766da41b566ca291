package patch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
)

// memory is files by path. fails names those that can't be written; with the value "once", only once.
type memory struct {
	files map[string]string
	exec  map[string]bool
	fails map[string]string
}

func (m *memory) ReadFile(_ context.Context, path string, max int64) (File, error) {
	data, ok := m.files[path]
	switch {
	case !ok:
		return File{}, &stead.Error{Kind: stead.KindNotFound, Message: "not there"}
	case int64(len(data)) > max:
		return File{}, &stead.Error{Kind: stead.KindTooLarge, Message: "too large"}
	}
	return File{[]byte(data), m.exec[path]}, nil
}

func (m *memory) WriteFile(_ context.Context, path string, f File) error {
	if how, ok := m.fails[path]; ok {
		if how == "once" {
			delete(m.fails, path)
		}
		return &stead.Error{Kind: stead.KindUnavailable, Message: "the disk is full"}
	}
	m.files[path], m.exec[path] = string(f.Data), f.Executable
	return nil
}

func (m *memory) Remove(_ context.Context, path string) error {
	if _, ok := m.fails[path]; ok {
		return errors.New("can't be removed")
	}
	if _, ok := m.files[path]; !ok {
		return &stead.Error{Kind: stead.KindNotFound, Message: "not there"}
	}
	delete(m.files, path)
	return nil
}

func newMemory(files map[string]string) *memory {
	return &memory{files: maps.Clone(files), exec: map[string]bool{}, fails: map[string]string{}}
}

// of makes a patch of the lines between its first and last one.
func of(lines ...string) string {
	return begin + "\n" + strings.Join(lines, "\n") + "\n" + end + "\n"
}

func apply(text string, m *memory) ([]Change, error) {
	p, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return p.Apply(context.Background(), m)
}

const numbers = "one\ntwo\nthree\nfour\nfive\n"

func TestUpdate(t *testing.T) {
	for name, c := range map[string]struct {
		file, want string
		hunks      []string
		fuzzy      bool
	}{
		"replace":                     {numbers, "one\n2\nthree\nfour\nfive\n", []string{"@@", " one", "-two", "+2", " three"}, false},
		"without @@":                  {numbers, "one\n2\nthree\nfour\nfive\n", []string{" one", "-two", "+2"}, false},
		"two hunks":                   {numbers, "1\ntwo\nthree\nfour\n5\n", []string{"@@", "-one", "+1", "@@", "-five", "+5"}, false},
		"hunks apart by empty lines":  {numbers, "1\ntwo\nthree\nfour\n5\n", []string{"@@", "-one", "+1", "", "@@", "-five", "+5", ""}, false},
		"only removes":                {numbers, "one\nfive\n", []string{"@@", "-two", "-three", "-four"}, false},
		"removes all":                 {"a\nb\n", "", []string{"@@", "-a", "-b"}, false},
		"only adds, in context":       {numbers, "one\n1.5\ntwo\nthree\nfour\nfive\n", []string{"@@", " one", "+1.5", " two"}, false},
		"only adds, at the end":       {numbers, numbers + "six\n", []string{"@@", "+six"}, false},
		"only adds, below a line":     {numbers, "one\ntwo\n2.5\nthree\nfour\nfive\n", []string{"@@ two", "+2.5"}, false},
		"to an empty file":            {"", "a\n", []string{"@@", "+a"}, false},
		"the second of two":           {"f\nx\ng\nx\n", "f\nx\ng\ny\n", []string{"@@ g", "-x", "+y"}, false},
		"down step by step":           {"class A\n  f\n  x\nclass B\n  f\n  x\n", "class A\n  f\n  x\nclass B\n  f\n  y\n", []string{"@@ class B", "@@   f", "-  x", "+  y"}, false},
		"at the end":                  {"x\ny\nx\n", "x\ny\nz\n", []string{"@@", "-x", "+z", "*** End of File"}, false},
		"at the end, if it is there":  {"x\ny\n", "z\ny\n", []string{"@@", "-x", "+z", "*** End of File"}, false},
		"header of a unified diff":    {numbers, "one\n2\nthree\nfour\nfive\n", []string{"@@ -1,3 +1,3 @@", " one", "-two", "+2"}, false},
		"unified, with a line":        {"x\nf()\nx\n", "x\nf()\ny\n", []string{"@@ -7,3 +9 @@ f()", "-x", "+y"}, false},
		"no end of the last line":     {"a\nb", "a\nc\n", []string{"@@", "-b", "+c"}, false},
		"no end, changed above":       {"a\nb", "c\nb", []string{"@@", "-a", "+c"}, false},
		"empty lines count":           {"a\n\nb\n", "a\n\nc\n", []string{"@@", " a", "", "-b", "+c"}, false},
		"CR LF":                       {"a\r\nb\r\n", "a\r\nc\r\nd\r\n", []string{"@@", " a", "-b", "+c", "+d"}, false},
		"mixed ends stay":             {"a\r\nb\nc\n", "a\r\nB\nc\n", []string{"@@", " a", "-b", "+B"}, true},
		"trailing space":              {"a  \nb\n", "a  \nc\n", []string{"@@", " a", "-b", "+c"}, true},
		"space around":                {"\ta\n\tb\n", "\ta\n    c\n", []string{"@@", "     a", "-    b", "+    c"}, true},
		"typography":                  {"say “yes” – it’s\u00a0so\nb\n", "say “yes” – it’s\u00a0so\nc\n", []string{"@@", " say \"yes\" - it's so", "-b", "+c"}, true},
		"exact before fuzzy":          {" x\nx\n", " x\ny\n", []string{"@@", "-x", "+y"}, false},
		"an empty line of the patch":  {numbers, "one\ntwo\nthree\nfour\n5\n", []string{"@@", " four", "-five", "+5", " "}, false},
		"a line that looks like a op": {"+a\n-b\n c\n", "+A\n-b\n C\n", []string{"@@", "-+a", "++A", " -b", "- c", "+ C"}, false},
		"lines with stars":            {"*** x\ny\n", "*** x\nz\n", []string{"@@", " *** x", "-y", "+z"}, false},
	} {
		m := newMemory(map[string]string{"f": c.file})
		changes, err := apply(of(append([]string{"*** Update File: f"}, c.hunks...)...), m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.files["f"] != c.want || changes[0].Fuzzy != c.fuzzy {
			t.Errorf("%s: %q (fuzzy %v), want %q", name, m.files["f"], changes[0].Fuzzy, c.want)
		}
	}
}

func TestFiles(t *testing.T) {
	before := map[string]string{"a": "a\n", "b": "b\n", "script": "x\n"}
	m := newMemory(before)
	m.exec["script"] = true
	changes, err := apply(of(
		"*** Add File: new/f", "+first", "+", "+third",
		"*** Add File: empty",
		"*** Add File: b", "+over",
		"*** Delete File: /workspace/a",
		"*** Update File: script", "*** Move to: bin/script", "@@", "-x", "+y",
		"*** Update File: bin/script", "@@", "+z",
		"*** Update File: ./new/f", "*** Move to: new/g",
	), m)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"new/g": "first\n\nthird\n", "empty": "", "b": "over\n", "bin/script": "y\nz\n"}
	if diff := cmp.Diff(want, m.files); diff != "" {
		t.Error(diff)
	}
	if !m.exec["bin/script"] || m.exec["b"] {
		t.Error("a program is none any more")
	}
	var kinds []Kind
	for _, c := range changes {
		kinds = append(kinds, c.Kind)
	}
	if diff := cmp.Diff([]Kind{Add, Add, Update, Delete, Update, Update, Update}, kinds); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{
		"<<'EOF'\n" + of("*** Add File: h", "+h") + "EOF",
		"\n\n  " + of("*** Add File: h", "+h") + "\n\n",
		strings.ReplaceAll(of("  *** Add File: h  ", "+h"), "\n", "\r\n"),
	} {
		if _, err := apply(text, m); err != nil || m.files["h"] != "h\n" {
			t.Errorf("%q: %q, %v", text, m.files["h"], err)
		}
		delete(m.files, "h")
	}
}

// TestErrors: whatever is wrong with a patch, no file changes, and the message says what to do.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		patch string
		kind  stead.Kind
		says  []string
	}{
		"empty":              {"", stead.KindInvalid, []string{"line 1", "*** Begin Patch", "an empty line"}},
		"a diff":             {"--- a/f\n+++ b/f\n", stead.KindInvalid, []string{"line 1", "*** Begin Patch", "--- a/f"}},
		"cut off":            {"*** Begin Patch\n*** Update File: f\n@@\n-on", stead.KindInvalid, []string{"line 4", "*** End Patch", "-on"}},
		"no file":            {of(), stead.KindInvalid, []string{"names no file"}},
		"no path":            {of("*** Add File: "), stead.KindInvalid, []string{"line 2", "path is missing"}},
		"no hunk":            {of("*** Update File: f"), stead.KindInvalid, []string{"line 3", "no hunk"}},
		"unknown operation":  {of("*** Rename File: f"), stead.KindInvalid, []string{"line 2", "Rename"}},
		"line without +":     {of("*** Add File: g", "+a", "b"), stead.KindInvalid, []string{"line 4", `"b"`}},
		"line without sign":  {of("*** Update File: f", "@@", "-one", "two"), stead.KindInvalid, []string{"line 5", `"two"`}},
		"nothing changes":    {of("*** Update File: f", "@@", " one", " two"), stead.KindInvalid, []string{"line 3", "neither adds nor removes"}},
		"no such file":       {of("*** Update File: g", "@@", "-a"), stead.KindNotFound, []string{"line 2", `"g"`}},
		"delete nothing":     {of("*** Delete File: g"), stead.KindNotFound, []string{"line 2", `"g"`}},
		"deleted before":     {of("*** Delete File: f", "*** Update File: f", "@@", "-one"), stead.KindNotFound, []string{"line 3"}},
		"not in the file":    {of("*** Update File: f", "@@", "-eleven", "-twelve"), stead.KindInvalid, []string{"line 3", "hunk 1 of \"f\"", "eleven"}},
		"nearly":             {of("*** Update File: f", "@@", " two", " tree", "-four"), stead.KindInvalid, []string{"line 3", "closest place is line 2", `"tree"`, `line 3 is "three"`}},
		"beyond the end":     {of("*** Update File: f", "@@", " four", " five", "-six"), stead.KindInvalid, []string{`"six"`, "the file ends"}},
		"out of order":       {of("*** Update File: f", "@@", "-five", "@@", "-one", "+1"), stead.KindInvalid, []string{"line 5", "hunk 2", "at line 1"}},
		"no line above":      {of("*** Update File: f", "@@ zero", "-one"), stead.KindInvalid, []string{"line 3", "zero"}},
		"good, then bad":     {of("*** Add File: g", "+g", "*** Update File: f", "@@", "-one", "+1", "@@", "-zero"), stead.KindInvalid, []string{"line 8", "hunk 2"}},
		"large":              {of("*** Update File: big", "@@", "+a"), stead.KindTooLarge, []string{"line 2", "too large"}},
		"long":               {strings.Repeat("x", MaxBytes+1), stead.KindTooLarge, []string{fmt.Sprint(MaxBytes)}},
		"very many files":    {of(strings.Repeat("*** Delete File: f\n", MaxFiles+1)), stead.KindInvalid, []string{fmt.Sprint(MaxFiles)}},
		"marker in the hunk": {of("*** Update File: f", "@@", "-one", "*** End of Patch"), stead.KindInvalid, []string{"line 5", "End of Patch"}},
	} {
		before := map[string]string{"f": numbers, "big": strings.Repeat("x", MaxFileBytes+1)}
		m := newMemory(before)
		_, err := apply(c.patch, m)
		if stead.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %s", name, err, c.kind)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q does not say %q", name, err, s)
			}
		}
		if !maps.Equal(before, m.files) {
			t.Errorf("%s: files have changed", name)
		}
	}
}

// TestFailedWrite: what was written before the write that failed is put back; what can't be is named.
func TestFailedWrite(t *testing.T) {
	before := map[string]string{"a": "a\n", "b": "b\n", "c": "c\n"}
	text := of("*** Update File: a", "@@", "-a", "+A", "*** Add File: new", "+n", "*** Delete File: c", "*** Update File: b", "@@", "-b", "+B")
	m := newMemory(before)
	m.fails["b"] = "always"
	_, err := apply(text, m)
	if stead.KindOf(err) != stead.KindUnavailable || !maps.Equal(before, m.files) {
		t.Errorf("%v; files %v", err, m.files)
	}
	m = newMemory(before)
	m.fails["c"] = "always" // the removal, which comes last
	if _, err = apply(text, m); err == nil || !maps.Equal(before, m.files) {
		t.Errorf("%v; files %v", err, m.files)
	}
	m = newMemory(before)
	m.fails["b"], m.fails["new"] = "always", "once"
	if _, err = apply(text, m); err == nil || !maps.Equal(before, m.files) {
		t.Errorf("%v; files %v", err, m.files)
	}
}

// FuzzPatch: no patch and no file make it panic, a failed patch changes nothing, and lines that are in
// no hunk stay.
func FuzzPatch(f *testing.F) {
	f.Add(of("*** Update File: f", "@@ two", " three", "-four", "+4", "*** End of File"), numbers)
	f.Add(of("*** Add File: g", "+a", "*** Delete File: f"), numbers)
	f.Add(of("*** Update File: f", "*** Move to: g", "", "@@ -1 +1 @@", "-one", ""), "one\r\ntwo\r\n")
	f.Add("<<EOF\n"+of("*** Update File: f", "+x")+"EOF", "x")
	f.Fuzz(func(t *testing.T, text, file string) {
		before := map[string]string{"f": file}
		m := newMemory(before)
		changes, err := apply(text, m)
		if err != nil {
			if k := stead.KindOf(err); k != stead.KindInvalid && k != stead.KindNotFound && k != stead.KindTooLarge {
				t.Fatalf("%v", err)
			}
			if !maps.Equal(before, m.files) {
				t.Fatalf("a failed patch changed %v", m.files)
			}
			return
		}
		if len(changes) == 0 {
			t.Fatal("a patch of nothing")
		}
	})
}
