package workspace

import (
	"fmt"
	"path"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// shownBytes is how much of a path stands in a message.
const shownBytes = 200

// sentence makes a message that names a path, without control characters and not endlessly.
func sentence(p, why string, args ...any) string {
	if len(p) > shownBytes {
		p = p[:shownBytes] + "…"
	}
	return fmt.Sprintf("the path %q %s", p, fmt.Sprintf(why, args...))
}

// clean checks a path that somebody gave and makes it relative to the workspace: "." for the
// workspace itself.
func clean(p string) (string, error) {
	rel := p
	if strings.HasPrefix(p, "/") {
		in, ok := strings.CutPrefix(path.Clean(p), environment.WorkspaceDir)
		if !ok || in != "" && in[0] != '/' {
			return "", badPath(p, "is outside of %s", environment.WorkspaceDir)
		}
		rel = "." + in
	}
	switch {
	case strings.ContainsRune(p, 0):
		return "", badPath(p, "contains a NUL byte")
	case len(environment.WorkspaceDir)+1+len(rel) > environment.MaxPathBytes:
		return "", badPath(p, "has %d bytes; the limit is %d", len(p), environment.MaxPathBytes)
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == ".." {
			return "", badPath(p, `contains ".."`)
		}
		if len(name) > manifest.MaxNameBytes {
			return "", badPath(p, "contains a name of %d bytes; the limit is %d", len(name), manifest.MaxNameBytes)
		}
	}
	return path.Clean(rel), nil
}

// cleanFile is clean for what must be a file.
func cleanFile(p string) (string, error) {
	rel, err := clean(p)
	if err == nil && (rel == "." || strings.HasSuffix(p, "/")) {
		err = badPath(p, "is no file's")
	}
	return rel, err
}

// inside is a path as the environment's processes see it.
func inside(rel string) string { return path.Join(environment.WorkspaceDir, rel) }

// follow resolves symbolic links at the end of a path, as far as they stay inside. Links above the
// end are os.Root's, which follows relative ones. Nothing is decided here that confinement needs:
// whatever comes out goes through os.Root.
func (d *Dir) follow(rel string) (string, error) {
	start := rel
	for range maxFollowed {
		target, err := d.root.Readlink(rel)
		if err != nil {
			return rel, nil // not a link, or not there: the caller finds out
		}
		if !strings.HasPrefix(target, "/") {
			target = environment.WorkspaceDir + "/" + path.Join(path.Dir(rel), target)
		}
		// Links to links are resolved by name: "up" is a directory's parent in the path, not on disk.
		target = path.Clean(target)
		if rel, err = clean(target); err != nil || rel == "." {
			return "", badPath(inside(start), "is a symbolic link that leads out of the workspace")
		}
	}
	return "", &stead.Error{Kind: stead.KindInvalid, Param: "path", Message: sentence(inside(start), "is a chain of more than %d symbolic links", maxFollowed)}
}
