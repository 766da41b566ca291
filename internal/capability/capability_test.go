package capability_test

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capability"
)

const skillText = "---\nname: pdf-tools\ndescription: >\n  Reads and\n  fills PDFs.\nlicense: MIT\n---\n# Use\n"

type entry struct {
	name, text string
	mode       fs.FileMode
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode != 0 {
			h.SetMode(e.mode)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestASkillAtTheTopAndInADirectory(t *testing.T) {
	for name, data := range map[string][]byte{
		"top":       archive(t, entry{"SKILL.md", skillText, 0}, entry{"scripts/run.sh", "#!/bin/sh\n", 0o755}),
		"directory": archive(t, entry{"x/", "", fs.ModeDir | 0o755}, entry{"x/SKILL.md", skillText, 0}, entry{"x/scripts/run.sh", "#!/bin/sh\n", 0o755}, entry{"__MACOSX/x/._SKILL.md", "?", 0}),
	} {
		b, err := capability.Open(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(b) != 2 || b[0].Path != "SKILL.md" || b[1].Path != "scripts/run.sh" || !b[1].Executable || b[0].Executable {
			t.Errorf("%s: %+v", name, b)
		}
		about, err := b.Skill()
		if err != nil || about.Name != "pdf-tools" || about.Description != "Reads and fills PDFs." {
			t.Errorf("%s: %+v, %v", name, about, err)
		}
		one, _ := b.Pack()
		again, err := capability.Open(one)
		if err != nil {
			t.Fatal(err)
		}
		two, _ := again.Pack()
		if !bytes.Equal(one, two) {
			t.Errorf("%s: packing is not the same twice", name)
		}
	}
}

func TestAPlugin(t *testing.T) {
	b, err := capability.Open(archive(t, entry{"p/.codex-plugin/plugin.json", `{"name":"plug","description":"It plugs.","version":"1"}`, 0}, entry{"p/skills/a/SKILL.md", "x", 0}))
	if err != nil {
		t.Fatal(err)
	}
	if about, err := b.Plugin(); err != nil || about != (capability.About{Name: "plug", Description: "It plugs."}) {
		t.Fatalf("%+v, %v", about, err)
	}
}

func TestHostileArchivesAreRefused(t *testing.T) {
	zeros := strings.Repeat("\x00", capability.MaxFileBytes+1)
	many := make([]entry, capability.MaxFiles+1)
	for i := range many {
		many[i] = entry{name: strings.Repeat("a", i%200+1) + string(rune('a'+i/200)), text: "x"}
	}
	half := strings.Repeat("\x00", capability.MaxFileBytes)
	for name, tc := range map[string]struct {
		data []byte
		kind stead.Kind
	}{
		"no archive":           {[]byte("hello"), stead.KindInvalid},
		"nothing":              {nil, stead.KindInvalid},
		"empty":                {archive(t), stead.KindInvalid},
		"up":                   {archive(t, entry{"../x", "x", 0}), stead.KindInvalid},
		"up in the middle":     {archive(t, entry{"a/../../x", "x", 0}), stead.KindInvalid},
		"absolute":             {archive(t, entry{"/etc/passwd", "x", 0}), stead.KindInvalid},
		"backslash":            {archive(t, entry{`a\..\x`, "x", 0}), stead.KindInvalid},
		"NUL":                  {archive(t, entry{"a\x00b", "x", 0}), stead.KindInvalid},
		"not UTF-8":            {archive(t, entry{"a\xff", "x", 0}), stead.KindInvalid},
		"empty part":           {archive(t, entry{"a//b", "x", 0}), stead.KindInvalid},
		"long path":            {archive(t, entry{strings.Repeat("a", capability.MaxPathBytes+1), "x", 0}), stead.KindInvalid},
		"long name":            {archive(t, entry{strings.Repeat("a", 300), "x", 0}), stead.KindInvalid},
		"link":                 {archive(t, entry{"a", "/etc", fs.ModeSymlink | 0o777}), stead.KindInvalid},
		"device":               {archive(t, entry{"a", "", fs.ModeDevice | 0o666}), stead.KindInvalid},
		"pipe":                 {archive(t, entry{"a", "", fs.ModeNamedPipe | 0o666}), stead.KindInvalid},
		"twice":                {archive(t, entry{"a", "x", 0}, entry{"a", "y", 0}), stead.KindInvalid},
		"file and directory":   {archive(t, entry{"a", "x", 0}, entry{"a/b", "y", 0}), stead.KindInvalid},
		"too many":             {archive(t, many...), stead.KindTooLarge},
		"one large file":       {archive(t, entry{"a", zeros, 0}), stead.KindTooLarge},
		"many large files":     {archive(t, entry{"a", half, 0}, entry{"b", half, 0}, entry{"c", half, 0}, entry{"d", half, 0}, entry{"e", "x", 0}), stead.KindTooLarge},
		"too large an archive": {make([]byte, capability.MaxArchiveBytes+1), stead.KindTooLarge},
	} {
		if _, err := capability.Open(tc.data); stead.KindOf(err) != tc.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALieAboutTheSizeIsNoWayIn(t *testing.T) {
	data := archive(t, entry{"a", strings.Repeat("\x00", 1<<20), 0})
	// The central directory says how large the file is; here it says one byte.
	at := bytes.LastIndex(data, []byte("PK\x01\x02"))
	copy(data[at+24:], []byte{1, 0, 0, 0})
	if b, err := capability.Open(data); err == nil {
		t.Fatalf("it was believed: %d bytes", len(b[0].Data))
	}
}

func TestFrontMatterThatIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"none":             "# Skill\n",
		"not closed":       "---\nname: a\ndescription: b\n",
		"no name":          "---\ndescription: b\n---\n",
		"no description":   "---\nname: a\n---\n",
		"capitals":         "---\nname: Pdf\ndescription: b\n---\n",
		"a path":           "---\nname: ../a\ndescription: b\n---\n",
		"a list":           "---\nname: [a]\ndescription: b\n---\n",
		"long description": "---\nname: a\ndescription: " + strings.Repeat("x", capability.MaxDescriptionRunes+1) + "\n---\n",
		"no YAML":          "---\nname: \"a\n---\n",
		"an alias":         "---\nx: &a [z, z]\nname: n\ndescription: b\ny: {q: *a}\n---\n",
		"not UTF-8":        "---\nname: a\ndescription: \xff\n---\n",
	} {
		b, err := capability.New([]capability.File{{Path: "SKILL.md", Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		if about, err := b.Skill(); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %+v, %v", name, about, err)
		}
	}
	b, _ := capability.New([]capability.File{{Path: "SKILL.md", Data: []byte("---\r\nname: a\r\ndescription: \"uses & and * freely\"\r\n---\r\n")}})
	if about, err := b.Skill(); err != nil || about.Description != "uses & and * freely" {
		t.Errorf("windows lines: %+v, %v", about, err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(archive(f, entry{"SKILL.md", skillText, 0}))
	f.Add(archive(f, entry{"x/.codex-plugin/plugin.json", `{"name":"a","description":"b"}`, 0}))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := capability.Open(data)
		if err != nil {
			return
		}
		for _, file := range b {
			if !fs.ValidPath(file.Path) {
				t.Fatalf("path %q", file.Path)
			}
		}
		_, _ = b.Skill()
		_, _ = b.Plugin()
	})
}

func FuzzFrontMatter(f *testing.F) {
	f.Add([]byte(skillText))
	f.Add([]byte("---\n[[[[{{{{: - ? !!x\n---\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b := capability.Bundle{{Path: "SKILL.md", Data: text}}
		about, err := b.Skill()
		if err == nil && !capability.IsName(about.Name) {
			t.Fatalf("name %q", about.Name)
		}
	})
}
