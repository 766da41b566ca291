// Package capability reads what strangers pack for agents: skills and plugins, as ZIP archives.
//
// Shape: archive bytes ── Open ──▶ Bundle {files by path} ── Skill, Plugin ──▶ About {name, description}
//
//	SKILL.md                      skill: YAML front matter with name and description, then Markdown
//	.codex-plugin/plugin.json     plugin: JSON with name and description
//
// An archive may have one directory at its top, which holds everything, or none: the paths of a
// Bundle are below it. Pack makes an archive of a Bundle, the same bytes of the same files.
//
// Units and limits: bytes and counts below. They bound what is really unpacked, whatever the archive
// says of itself, so that a small archive can't become a large one.
//
// Trust: a Bundle holds regular files with plain relative paths, no two in each other's way. Links,
// devices, absolute paths, "..", backslashes, encryption and rare methods of compression are refused
// rather than mended.
//
// Errors: KindInvalid and KindTooLarge, a sentence that names the file in the archive; the caller
// says which field of its request held the archive.
//
// Source: PKWARE APPNOTE 6.3; agentskills.io specification for the front matter and its lengths;
// npm openai 7.57.0 (HostedSkillParam, HostedPluginParam) for where the names stand.
package capability

import (
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
)

// Limits of an archive.
const (
	// MaxArchiveBytes is the largest archive.
	MaxArchiveBytes = 16 << 20
	// MaxFiles is the most files and directories in it.
	MaxFiles = 2000
	// MaxFileBytes is the largest file, unpacked.
	MaxFileBytes = 16 << 20
	// MaxBytes is the most bytes of all files, unpacked.
	MaxBytes = 64 << 20
	// MaxPathBytes is the longest path.
	MaxPathBytes = 512
	// maxPartBytes is the longest name of a file or directory (Linux).
	maxPartBytes = 255
	// MaxNameBytes is the longest name of a skill or plugin.
	MaxNameBytes = 64
	// MaxDescriptionRunes is the longest description.
	MaxDescriptionRunes = 1024
	// maxHeadBytes is the longest front matter of a SKILL.md, and the largest plugin.json.
	maxHeadBytes = 32 << 10
)

// File is one file of a bundle.
type File struct {
	Path       string // relative, slashes, clean
	Data       []byte
	Executable bool
}

// Bundle is an unpacked archive: files in the order of their paths.
type Bundle []File

// About is what a bundle says of itself.
type About struct {
	Name        string // lower-case letters, digits and "-": fit for the name of a directory
	Description string // 1 … MaxDescriptionRunes characters
}

// file returns the file at a path.
func (b Bundle) file(name string) ([]byte, bool) {
	i, ok := slices.BinarySearchFunc(b, name, func(f File, p string) int { return strings.Compare(f.Path, p) })
	if !ok {
		return nil, false
	}
	return b[i].Data, true
}

// New makes a bundle of files that came one by one, as directory uploads do. It checks them as Open
// does, and takes away the one directory at the top, if there is one.
func New(files []File) (Bundle, error) {
	if len(files) > MaxFiles {
		return nil, stead.Errorf(stead.KindTooLarge, "there are %d files, the limit is %d", len(files), MaxFiles)
	}
	total := 0
	b := Bundle{}
	for _, f := range files {
		if err := checkPath(f.Path); err != nil {
			return nil, err
		}
		if total += len(f.Data); len(f.Data) > MaxFileBytes || total > MaxBytes {
			return nil, tooLarge(f.Path)
		}
		if !noise(f.Path) {
			b = append(b, f)
		}
	}
	slices.SortFunc(b, func(x, y File) int { return strings.Compare(x.Path, y.Path) })
	b = b.strip()
	return b, b.checkTree()
}

// strip takes one directory that holds everything off the paths.
func (b Bundle) strip() Bundle {
	if len(b) == 0 {
		return b
	}
	top, _, ok := strings.Cut(b[0].Path, "/")
	if !ok || strings.HasPrefix(top, ".") {
		return b
	}
	for _, f := range b {
		if !strings.HasPrefix(f.Path, top+"/") {
			return b
		}
	}
	out := slices.Clone(b)
	for i := range out {
		out[i].Path = strings.TrimPrefix(out[i].Path, top+"/")
	}
	return out
}

// checkTree refuses paths that can't be in one directory together.
func (b Bundle) checkTree() error {
	if len(b) == 0 {
		return stead.Invalid("", "there are no files in it")
	}
	seen := map[string]bool{} // path of a file
	for _, f := range b {
		if seen[f.Path] {
			return stead.Invalid("", "%.100q is there twice", f.Path)
		}
		seen[f.Path] = true
	}
	for _, f := range b {
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			if seen[dir] {
				return stead.Invalid("", "%.100q is both a file and a directory", dir)
			}
		}
	}
	return nil
}

// checkPath refuses every path that could lead out of a directory, or that systems disagree about.
func checkPath(p string) error {
	bad := func(why string) error { return stead.Invalid("", "the path %.100q %s", p, why) }
	switch {
	case p == "" || len(p) > MaxPathBytes:
		return stead.Invalid("", "the path %.100q has %d bytes, allowed are 1 to %d", p, len(p), MaxPathBytes)
	case !utf8.ValidString(p):
		return bad("is not valid UTF-8")
	case strings.HasPrefix(p, "/"):
		return bad("is absolute")
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return bad("has a backslash or a control character")
	}
	for part := range strings.SplitSeq(p, "/") {
		if len(part) > maxPartBytes {
			return stead.Invalid("", "the path %.100q has a name of %d bytes, the limit is %d", p, len(part), maxPartBytes)
		}
		if part == "" || part == "." || part == ".." {
			return bad("is not clean")
		}
	}
	return nil
}

// noise reports what desktop systems put into archives that nobody meant to send.
func noise(p string) bool {
	return strings.HasPrefix(p, "__MACOSX/") || path.Base(p) == ".DS_Store"
}

func tooLarge(name string) error {
	return stead.Errorf(stead.KindTooLarge, "it is too large at %.100q: files may have %d bytes, and all of them together %d", name, MaxFileBytes, MaxBytes)
}
