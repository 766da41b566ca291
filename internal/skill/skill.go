// Package skill keeps uploaded skills: numbered, immutable archives with a SKILL.md.
//
// Shape:
//
//	Skill {id, default version, latest version} ─── Version 1, 2, 3 … {name, description, archive}
//
// A skill is one document with all of its versions; each version's archive is a blob that goes with
// it. Numbers grow and are never used again. What a skill is called, and what it is for, its default
// version says.
//
// Units and limits: MaxVersions of a skill; those of package capability for an archive. Times are
// Unix milliseconds.
//
// Errors: KindNotFound; KindInvalid with the field "files" for an archive that is no skill;
// KindTooLarge; KindConflict for the deletion of the default version, or when somebody else changed
// the skill in the same moment; KindForbidden by policy.
//
// Source: npm openai 7.57.0, resources/skills.
package skill

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// MaxVersions is the most versions of a skill that exist at one time.
const MaxVersions = 200

// Latest selects a skill's newest version; "" selects its default one.
const Latest = "latest"

const kind document.Kind = "skill"

// Prefixes of ids.
const (
	Prefix        = "skill_"
	VersionPrefix = "skillver_"
)

// maxTries is how often a change is made again over one that came between.
const maxTries = 5

// Skill is a skill as a whole.
type Skill struct {
	ID        string
	CreatedAt int64 // Unix milliseconds
	Default   string
	Latest    string
	capability.About
}

// Version is one version of a skill.
type Version struct {
	ID        string
	SkillID   string
	Number    string
	CreatedAt int64 // Unix milliseconds
	capability.About
}

// stored is the data of a skill's document.
type stored struct {
	Default  int             `json:"default"`
	Last     int             `json:"last"`     // the newest number ever used
	Versions []storedVersion `json:"versions"` // by number; never empty
}

type storedVersion struct {
	ID          string `json:"id"`
	Number      int    `json:"number"`
	CreatedAt   int64  `json:"created_at"` // Unix milliseconds
	Name        string `json:"name"`
	Description string `json:"description"`
	Digest      string `json:"digest"` // of the archive, under the version's id
}

// Config is what a Service stands on.
type Config struct {
	Documents document.Store
	Assets    *asset.Store
	Policy    policy.Authorizer
	Now       func() time.Time
}

// Service keeps skills. It is safe for concurrent use.
type Service struct{ cfg Config }

// NewService makes a Service.
func NewService(c Config) *Service { return &Service{c} }

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: id})
	return err
}

func keyOf(p stead.Principal, id string) document.Key {
	return document.Key{Project: p.Project, Kind: kind, ID: id}
}

// claimOf is that of a version's archive: the skill's document names it by the version's id.
func claimOf(k document.Key, version string) asset.Claim {
	return asset.Claim{Document: k, Owner: version}
}

func (d stored) find(number int) (storedVersion, bool) {
	for _, v := range d.Versions {
		if v.Number == number {
			return v, true
		}
	}
	return storedVersion{}, false
}

func (d stored) latest() int { return d.Versions[len(d.Versions)-1].Number }

func (v storedVersion) version(skill string) Version {
	return Version{v.ID, skill, strconv.Itoa(v.Number), v.CreatedAt, capability.About{Name: v.Name, Description: v.Description}}
}

func decode(d document.Document) (stored, error) {
	var data stored
	err := json.Unmarshal(d.Data, &data)
	if err == nil && len(data.Versions) == 0 {
		return data, stead.Errorf(stead.KindInternal, "skill %s has no version", d.ID)
	}
	if err != nil {
		return data, stead.Wrap(stead.KindInternal, err, "read skill %s", d.ID)
	}
	return data, nil
}

func skillOf(d document.Document) (Skill, error) {
	data, err := decode(d)
	if err != nil {
		return Skill{}, err
	}
	v, _ := data.find(data.Default)
	return Skill{
		ID: d.ID, CreatedAt: d.CreatedAt, Default: strconv.Itoa(data.Default), Latest: strconv.Itoa(data.latest()),
		About: capability.About{Name: v.Name, Description: v.Description},
	}, nil
}

// Get returns a skill.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (Skill, error) {
	d, err := s.document(ctx, p, policy.SkillRead, id)
	if err != nil {
		return Skill{}, err
	}
	return skillOf(d)
}

func (s *Service) document(ctx context.Context, p stead.Principal, effect policy.Effect, id string) (document.Document, error) {
	if err := s.allow(ctx, p, effect, id); err != nil {
		return document.Document{}, err
	}
	return s.cfg.Documents.GetDocument(ctx, keyOf(p, id))
}

// List returns a page of skills by age, and whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]Skill, bool, error) {
	if err := s.allow(ctx, p, policy.SkillRead, ""); err != nil {
		return nil, false, err
	}
	docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: kind, After: after, Desc: desc, Limit: limit + 1})
	if err != nil {
		return nil, false, err
	}
	skills := make([]Skill, min(len(docs), limit))
	for i := range skills {
		if skills[i], err = skillOf(docs[i]); err != nil {
			return nil, false, err
		}
	}
	return skills, len(docs) > limit, nil
}

// Versions returns a page of a skill's versions by number, and whether there are more. after is a
// version's id.
func (s *Service) Versions(ctx context.Context, p stead.Principal, id, after string, desc bool, limit int) ([]Version, bool, error) {
	d, err := s.document(ctx, p, policy.SkillRead, id)
	if err != nil {
		return nil, false, err
	}
	data, err := decode(d)
	if err != nil {
		return nil, false, err
	}
	var out []Version
	for i := range data.Versions {
		v := data.Versions[i]
		if desc {
			v = data.Versions[len(data.Versions)-1-i]
		}
		// The ids of versions grow with their numbers, so a page goes on after one that is gone, too.
		if after == "" || desc && v.ID < after || !desc && v.ID > after {
			out = append(out, v.version(id))
		}
	}
	return out[:min(len(out), limit)], len(out) > limit, nil
}

// Version returns one version: by number, Latest, or "" for the default one.
func (s *Service) Version(ctx context.Context, p stead.Principal, id, number string) (Version, error) {
	v, err := s.pick(ctx, p, id, number)
	return v.version(id), err
}

func (s *Service) pick(ctx context.Context, p stead.Principal, id, number string) (storedVersion, error) {
	d, err := s.document(ctx, p, policy.SkillRead, id)
	if err != nil {
		return storedVersion{}, err
	}
	data, err := decode(d)
	if err != nil {
		return storedVersion{}, err
	}
	n := data.Default
	switch number {
	case "":
	case Latest:
		n = data.latest()
	default:
		if n, err = strconv.Atoi(number); err != nil {
			return storedVersion{}, noVersion(id, number)
		}
	}
	v, ok := data.find(n)
	if !ok {
		return v, noVersion(id, number)
	}
	return v, nil
}

func noVersion(id, number string) error {
	return stead.Errorf(stead.KindNotFound, "skill %.80q has no version %.40q", id, number)
}

// Archive returns a version's archive, what it says of itself, and its number.
func (s *Service) Archive(ctx context.Context, p stead.Principal, id, number string) (about capability.About, version string, archive []byte, err error) {
	v, err := s.pick(ctx, p, id, number)
	if err != nil {
		return about, "", nil, err
	}
	archive, err = s.cfg.Assets.Get(ctx, claimOf(keyOf(p, id), v.ID), v.Digest)
	return capability.About{Name: v.Name, Description: v.Description}, strconv.Itoa(v.Number), archive, err
}
