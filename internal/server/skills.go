package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/held"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/skill"
)

// Skills keeps uploaded skills: see package skill, which implements it.
type Skills interface {
	Create(ctx context.Context, p stead.Principal, bundle capability.Bundle, key, digest string) (skill.Skill, error)
	Get(ctx context.Context, p stead.Principal, id string) (skill.Skill, error)
	List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]skill.Skill, bool, error)
	SetDefault(ctx context.Context, p stead.Principal, id, number string) (skill.Skill, error)
	Delete(ctx context.Context, p stead.Principal, id string) error
	AddVersion(ctx context.Context, p stead.Principal, id string, bundle capability.Bundle, makeDefault bool) (skill.Version, error)
	Version(ctx context.Context, p stead.Principal, id, number string) (skill.Version, error)
	Versions(ctx context.Context, p stead.Principal, id, after string, desc bool, limit int) ([]skill.Version, bool, error)
	DeleteVersion(ctx context.Context, p stead.Principal, id, number string) error
	Archive(ctx context.Context, p stead.Principal, id, number string) (capability.About, string, []byte, error)
}

type wireSkill struct {
	ID             string `json:"id"`
	CreatedAt      int64  `json:"created_at"` // Unix seconds
	DefaultVersion string `json:"default_version"`
	Description    string `json:"description"`
	LatestVersion  string `json:"latest_version"`
	Name           string `json:"name"`
	Object         string `json:"object"` // "skill"
}

func wireSkillOf(k skill.Skill) wireSkill {
	return wireSkill{k.ID, k.CreatedAt / millis, k.Default, k.Description, k.Latest, k.Name, "skill"}
}

type wireSkillVersion struct {
	ID          string `json:"id"`
	CreatedAt   int64  `json:"created_at"` // Unix seconds
	Description string `json:"description"`
	Name        string `json:"name"`
	Object      string `json:"object"` // "skill.version"
	SkillID     string `json:"skill_id"`
	Version     string `json:"version"`
}

func wireSkillVersionOf(v skill.Version) wireSkillVersion {
	return wireSkillVersion{v.ID, v.CreatedAt / millis, v.Description, v.Name, "skill.version", v.SkillID, v.Number}
}

// skillUpload is a multipart body with the files of a skill, or its archive.
type skillUpload struct {
	bundle      capability.Bundle
	makeDefault bool
	key         string
	files       []shownFile
}

// MaxHeldSkillBytes is how much the skills have together that are uploaded at a time, with what is unpacked
// of them: each is in memory until it is stored.
const MaxHeldSkillBytes = 512 << 20

// counted takes what is read from a lease.
type counted struct {
	r     io.Reader
	lease *held.Lease
}

// Read implements io.Reader.
func (c counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if refused := c.lease.Take(n); refused != nil {
		return 0, refused
	}
	return n, err
}

// readSkill reads an upload; what it holds is taken from the lease.
func readSkill(w http.ResponseWriter, r *http.Request, lease *held.Lease) (skillUpload, error) {
	f, err := openForm(w, r, capability.MaxBytes, "files")
	if err != nil {
		return skillUpload{}, err
	}
	u := skillUpload{key: f.key}
	var files []capability.File
	for {
		part, err := f.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return u, err
		}
		switch name := part.FormName(); name {
		case "files", "files[]":
			if len(files) >= capability.MaxFiles {
				return u, stead.Invalid("files", "files has more than %d entries", capability.MaxFiles)
			}
			data, err := io.ReadAll(counted{filePart{f, part}, lease})
			if err != nil {
				return u, err
			}
			files = append(files, capability.File{Path: fileName(part), Data: data})
			digest := sha256.Sum256(data)
			u.files = append(u.files, shownFile{fileName(part), int64(len(data)), hex.EncodeToString(digest[:])})
		case "default":
			text, err := f.text(part)
			if err != nil {
				return u, err
			}
			if u.makeDefault, err = strconv.ParseBool(text); err != nil {
				return u, stead.Invalid("default", "default must be true or false, not %.40q", text)
			}
		}
	}
	if archived(files) {
		if err := lease.Take(capability.MaxBytes); err != nil {
			return u, err
		}
	}
	u.bundle, err = bundleOf(files)
	return u, err
}

// broughtSkill says in short what was uploaded.
func (s *server) broughtSkill(w http.ResponseWriter, u skillUpload) error {
	return s.brought(w, struct {
		Files   []shownFile `json:"files"`
		Default bool        `json:"default,omitempty"`
	}{u.files, u.makeDefault})
}

func archived(files []capability.File) bool {
	return len(files) == 1 && bytes.HasPrefix(files[0].Data, []byte("PK\x03\x04"))
}

// bundleOf makes a skill of one archive, or of the files of a directory.
func bundleOf(files []capability.File) (capability.Bundle, error) {
	if len(files) == 0 {
		return nil, stead.Invalid("files", "files is required: a directory's files, or one ZIP archive")
	}
	var bundle capability.Bundle
	var err error
	if archived(files) {
		bundle, err = capability.Open(files[0].Data)
	} else {
		bundle, err = capability.New(files)
	}
	if e, ok := errors.AsType[*stead.Error](err); ok {
		named := *e
		named.Param, named.Message = "files", "files: "+e.Message
		return nil, &named
	}
	return bundle, err
}

func (s *server) createSkill(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	lease := s.skillBytes.Lease()
	defer lease.Release()
	u, err := readSkill(w, r, lease)
	if err != nil {
		return err
	}
	archive, err := u.bundle.Pack()
	if err == nil {
		err = s.broughtSkill(w, u)
	}
	if err != nil {
		return err
	}
	made, err := s.Skills.Create(r.Context(), p, u.bundle, u.key, digestOf(r, archive))
	if err != nil {
		return err
	}
	return s.write(w, wireSkillOf(made))
}

func (s *server) getSkill(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	k, err := s.Skills.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, wireSkillOf(k))
}

func (s *server) updateSkill(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	number, err := param.Need(req.String("default_version"))("default_version")
	if err != nil {
		return err
	}
	k, err := s.Skills.SetDefault(r.Context(), p, r.PathValue("id"), number)
	if err != nil {
		return err
	}
	return s.write(w, wireSkillOf(k))
}

func (s *server) listSkills(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), skill.Prefix)
	if err != nil {
		return err
	}
	found, more, err := s.Skills.List(r.Context(), p, q.After, q.Desc, q.Limit)
	if err != nil {
		return err
	}
	data := make([]wireSkill, len(found))
	for i, k := range found {
		data[i] = wireSkillOf(k)
	}
	return s.write(w, listOf(data, more, func(k wireSkill) string { return k.ID }))
}

func (s *server) deleteSkill(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.Skills.Delete(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "skill.deleted"})
}

// getSkillContent downloads the archive of a version, or of the default one.
func (s *server) getSkillContent(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	about, number, archive, err := s.Skills.Archive(r.Context(), p, r.PathValue("id"), r.PathValue("version"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
	return s.sendFile(w, r, mediaZIP, about.Name+"-"+number+".zip", bytes.NewReader(archive))
}

func (s *server) createSkillVersion(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	lease := s.skillBytes.Lease()
	defer lease.Release()
	u, err := readSkill(w, r, lease)
	if err != nil {
		return err
	}
	if err := s.broughtSkill(w, u); err != nil {
		return err
	}
	v, err := s.Skills.AddVersion(r.Context(), p, r.PathValue("id"), u.bundle, u.makeDefault)
	if err != nil {
		return err
	}
	return s.write(w, wireSkillVersionOf(v))
}

func (s *server) getSkillVersion(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	v, err := s.Skills.Version(r.Context(), p, r.PathValue("id"), r.PathValue("version"))
	if err != nil {
		return err
	}
	return s.write(w, wireSkillVersionOf(v))
}

func (s *server) listSkillVersions(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), skill.VersionPrefix)
	if err != nil {
		return err
	}
	found, more, err := s.Skills.Versions(r.Context(), p, r.PathValue("id"), q.After, q.Desc, q.Limit)
	if err != nil {
		return err
	}
	data := make([]wireSkillVersion, len(found))
	for i, v := range found {
		data[i] = wireSkillVersionOf(v)
	}
	return s.write(w, listOf(data, more, func(v wireSkillVersion) string { return v.ID }))
}

// versionDeleted confirms the deletion of a version; the id is that of the skill.
type versionDeleted struct {
	deleted
	Version string `json:"version"`
}

func (s *server) deleteSkillVersion(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id, number := r.PathValue("id"), r.PathValue("version")
	if err := s.Skills.DeleteVersion(r.Context(), p, id, number); err != nil {
		return err
	}
	return s.write(w, versionDeleted{deleted{id, true, "skill.version.deleted"}, number})
}
