package template

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"path"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/param"
)

// Types of files and capabilities on the wire.
const (
	kindInline    = "inline"
	kindFileID    = "file_id"
	kindReference = "skill_reference"
)

func (d *decoder) files() error {
	list, ok, err := objects(d.o, "files", MaxFiles)
	if !ok || err != nil {
		return err
	}
	d.c.Files = make([]File, len(list))
	for i, o := range list {
		f, data, err := DecodeFile(o)
		if err != nil {
			return err
		}
		if f.FileID == "" {
			d.c.Bytes[f.Digest] = data
		}
		d.c.Files[i] = f
	}
	return checkDestinations(d.o.Path("files"), d.c.Files)
}

// DecodeFile reads one file, of a configuration or of an upload into a live environment. The data
// is that of an inline one, nil otherwise.
func DecodeFile(o param.Object) (File, []byte, error) {
	kind, err := param.Need(o.Enum("type", kindInline, kindFileID))(o.Path("type"))
	if err != nil {
		return File{}, nil, err
	}
	name, err := param.Need(o.String("path"))(o.Path("path"))
	if err == nil {
		err = CheckPath(o.Path("path"), name)
	}
	if err != nil {
		return File{}, nil, err
	}
	if kind == kindFileID {
		if err := only(o, "a file by id", []string{"type", "path", "file_id"}); err != nil {
			return File{}, nil, err
		}
		id, err := identifier(o, "file_id")
		return File{Path: name, FileID: id}, nil, err
	}
	if err := only(o, "an inline file", []string{"type", "path", "data"}); err != nil {
		return File{}, nil, err
	}
	data, err := decodeBase64(o, "data", MaxInlineBytes)
	return File{Path: name, Digest: digestOf(data), Size: int64(len(data))}, data, err
}

// maxNameBytes is the longest name of a file or directory (Linux).
const maxNameBytes = 255

// CheckPath makes sure that a path is one of a file inside the workspace, and none that is reserved:
// the rules are those of the official SDK, which applies them before it sends.
func CheckPath(at, name string) error {
	rest, ok := strings.CutPrefix(name, environment.WorkspaceDir+"/")
	if !ok || rest == "" {
		return stead.Invalid(at, "%s must be an absolute path of a file inside %s, not %.100q", at, environment.WorkspaceDir, name)
	}
	if len(name) > environment.MaxPathBytes {
		return stead.Invalid(at, "%s has %d bytes, the limit is %d", at, len(name), environment.MaxPathBytes)
	}
	if err := checkParts(at, name); err != nil {
		return err
	}
	for part := range strings.SplitSeq(rest, "/") {
		if len(part) > maxNameBytes {
			return stead.Invalid(at, "%s has a name of %d bytes, the limit is %d", at, len(part), maxNameBytes)
		}
	}
	switch rest {
	case ".agents", ".agents/skills", ".agents/plugins": // an environment with skills could never be prepared
		return stead.Invalid(at, "%s is where skills and plugins have a directory: %.100q", at, name)
	}
	top, _, _ := strings.Cut(rest, "/")
	if top == ".codex" || top == ".managed-agents" || strings.HasPrefix(top, ".managed-agents-") || rest == "outputs" {
		return stead.Invalid(at, "%s is reserved: %.100q", at, name)
	}
	return nil
}

// checkDestinations refuses files that can't be in one workspace together.
func checkDestinations(at string, files []File) error {
	taken := map[string]bool{} // path of a file
	for i, f := range files {
		if taken[f.Path] {
			return stead.Invalid(param.Index(at, i)+".path", "%s[%d].path: %.100q is there twice", at, i, f.Path)
		}
		taken[f.Path] = true
	}
	for i, f := range files {
		for dir := path.Dir(f.Path); len(dir) > len(environment.WorkspaceDir); dir = path.Dir(dir) {
			if taken[dir] {
				return stead.Invalid(param.Index(at, i)+".path", "%s[%d].path: %.100q is a file already, and can't be a directory", at, i, dir)
			}
		}
	}
	return nil
}

// decodeBase64 reads a text of standard base64. Its errors show nothing of it.
func decodeBase64(o param.Object, name string, limit int) ([]byte, error) {
	text, err := param.Need(o.String(name))(o.Path(name))
	if err != nil {
		return nil, err
	}
	if base64.StdEncoding.DecodedLen(len(text)) > limit+2 { // the padding
		e := stead.Errorf(stead.KindTooLarge, "%s is larger than the limit of %d bytes", o.Path(name), limit)
		e.Param = o.Path(name)
		e.Hint = "Upload it with POST /v1/files and name its file_id."
		return nil, e
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, stead.Invalid(o.Path(name), "%s is not standard base64", o.Path(name))
	}
	return data, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// wireFile is a file of a template or an environment as it is shown.
func wireFile(id string, f File) json.RawMessage {
	fields := map[string]any{"type": kindInline, "path": f.Path, "size_bytes": f.Size}
	if f.FileID != "" {
		fields = map[string]any{"type": kindFileID, "path": f.Path, "file_id": f.FileID}
		if id != "" {
			fields["size_bytes"] = f.Size
		}
	}
	if id != "" {
		fields["id"] = id
	}
	return encode(fields)
}

// FileID names a file of an environment, by its place among the files that it was made with.
func FileID(environment string, i int) string { return "efile_" + environment + "_" + strconv.Itoa(i) }
