package environment

import (
	"path"
	"strings"

	"github.com/stead-dev/stead"
)

// FilePath checks where a file is to be: an absolute path below WorkspaceDir, as it is written in
// the request's field. It is about the text alone: links are the workspace's business.
func FilePath(field, p string) (string, error) {
	clean := path.Clean(p)
	switch {
	case len(p) > MaxPathBytes:
		return "", stead.Invalid(field, "%s is %d bytes long, the limit is %d", field, len(p), MaxPathBytes)
	case strings.Contains(p, "\x00"):
		return "", stead.Invalid(field, "%s holds a NUL", field)
	case !strings.HasPrefix(clean, WorkspaceDir+"/") || strings.HasSuffix(p, "/"):
		return "", stead.Invalid(field, "%s must name a file below %s, not %.200q", field, WorkspaceDir, p)
	}
	return clean, nil
}
