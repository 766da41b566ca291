package skill

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// Create stores a skill with its first version. key and digest are the request's idempotency.
func (s *Service) Create(ctx context.Context, p stead.Principal, bundle capability.Bundle, key, digest string) (Skill, error) {
	if err := s.allow(ctx, p, policy.SkillWrite, ""); err != nil {
		return Skill{}, err
	}
	k := keyOf(p, document.NewID(Prefix))
	v, claim, err := s.keep(ctx, k, bundle)
	if err != nil {
		return Skill{}, err
	}
	v.Number = 1
	raw, err := json.Marshal(stored{Default: 1, Last: 1, Versions: []storedVersion{v}})
	if err != nil {
		return Skill{}, stead.Wrap(stead.KindInternal, err, "encode skill")
	}
	d, err := s.cfg.Documents.CreateDocument(ctx, document.Document{Key: k, CreatedAt: v.CreatedAt, UpdatedAt: v.CreatedAt, Data: raw}, key, digest)
	s.cfg.Assets.Settle(ctx, claim, err)
	if err != nil {
		return Skill{}, err
	}
	return skillOf(d)
}

// keep stores an archive, which the caller settles. Its version has no number yet.
func (s *Service) keep(ctx context.Context, k document.Key, bundle capability.Bundle) (storedVersion, asset.Claim, error) {
	about, err := bundle.Skill()
	if err != nil {
		return storedVersion{}, asset.Claim{}, inFiles(err)
	}
	archive, err := bundle.Pack()
	if err != nil {
		return storedVersion{}, asset.Claim{}, inFiles(err)
	}
	v := storedVersion{ID: document.NewID(VersionPrefix), CreatedAt: s.cfg.Now().UnixMilli(), Name: about.Name, Description: about.Description}
	claim := claimOf(k, v.ID)
	if err := s.cfg.Assets.Reserve(ctx, claim); err != nil {
		return v, claim, err
	}
	if v.Digest, err = s.cfg.Assets.Put(ctx, claim, archive); err != nil {
		s.cfg.Assets.Settle(ctx, claim, nil) // no document will name it
	}
	return v, claim, err
}

// inFiles names the request's field that an archive's error is about.
func inFiles(err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok && e.Param == "" && (e.Kind == stead.KindInvalid || e.Kind == stead.KindTooLarge) {
		named := *e
		named.Param, named.Message = "files", "files: "+e.Message
		return &named
	}
	return err
}

// AddVersion stores the next version, and makes it the default one if asked to.
func (s *Service) AddVersion(ctx context.Context, p stead.Principal, id string, bundle capability.Bundle, makeDefault bool) (Version, error) {
	if _, err := s.document(ctx, p, policy.SkillWrite, id); err != nil {
		return Version{}, err
	}
	v, claim, err := s.keep(ctx, keyOf(p, id), bundle)
	if err != nil {
		return Version{}, err
	}
	_, err = s.change(ctx, p, id, func(data *stored) error {
		if len(data.Versions) >= MaxVersions {
			e := stead.Errorf(stead.KindConflict, "skill %.80q has %d versions, which is the limit", id, MaxVersions)
			e.Hint = "Delete versions that nobody uses."
			return e
		}
		data.Last++
		v.Number = data.Last
		data.Versions = append(data.Versions, v)
		// The ids are made before the numbers are: keep both in one order.
		if n := len(data.Versions); n > 1 && data.Versions[n-2].ID >= v.ID {
			return stead.Errorf(stead.KindConflict, "another version of skill %.80q was stored in the same moment", id)
		}
		if makeDefault {
			data.Default = v.Number
		}
		return nil
	})
	s.cfg.Assets.Settle(ctx, claim, err)
	if err != nil {
		return Version{}, err
	}
	return v.version(id), nil
}

// change makes a change over the newest version of a skill's document.
func (s *Service) change(ctx context.Context, p stead.Principal, id string, change func(*stored) error) (document.Document, error) {
	var err error
	for range maxTries {
		var d document.Document
		if d, err = s.cfg.Documents.GetDocument(ctx, keyOf(p, id)); err != nil {
			return d, err
		}
		data, e := decode(d)
		if e != nil {
			return d, e
		}
		if err := change(&data); err != nil {
			return d, err
		}
		if d.Data, err = json.Marshal(data); err != nil {
			return d, stead.Wrap(stead.KindInternal, err, "encode skill %s", id)
		}
		d.Version++
		d.UpdatedAt = s.cfg.Now().UnixMilli()
		if d, err = s.cfg.Documents.UpdateDocument(ctx, d); stead.KindOf(err) != stead.KindConflict {
			return d, err
		}
	}
	return document.Document{}, err
}

// SetDefault makes a version the default one.
func (s *Service) SetDefault(ctx context.Context, p stead.Principal, id, number string) (Skill, error) {
	if err := s.allow(ctx, p, policy.SkillWrite, id); err != nil {
		return Skill{}, err
	}
	d, err := s.change(ctx, p, id, func(data *stored) error {
		n, err := strconv.Atoi(number)
		if _, ok := data.find(n); err != nil || !ok {
			return stead.Invalid("default_version", "default_version: skill %.80q has no version %.40q", id, number)
		}
		data.Default = n
		return nil
	})
	if err != nil {
		return Skill{}, err
	}
	return skillOf(d)
}

// DeleteVersion removes one version and its archive. The default one stays.
func (s *Service) DeleteVersion(ctx context.Context, p stead.Principal, id, number string) error {
	if err := s.allow(ctx, p, policy.SkillWrite, id); err != nil {
		return err
	}
	gone, err := s.pick(ctx, p, id, number)
	if err != nil {
		return err
	}
	claim := claimOf(keyOf(p, id), gone.ID)
	if err := s.cfg.Assets.Release(ctx, claim); err != nil {
		return err
	}
	_, err = s.change(ctx, p, id, func(data *stored) error {
		if _, ok := data.find(gone.Number); !ok {
			return noVersion(id, number)
		}
		if gone.Number == data.Default {
			e := stead.Errorf(stead.KindConflict, "version %d is the default version of skill %.80q", gone.Number, id)
			e.Hint = "Make another version the default first, or delete the skill."
			return e
		}
		data.Versions = slices.DeleteFunc(data.Versions, func(v storedVersion) bool { return v.Number == gone.Number })
		return nil
	})
	s.cfg.Assets.Settle(ctx, claim, err)
	return err
}

// Delete removes a skill with all of its versions. Environments that have it keep their copy.
func (s *Service) Delete(ctx context.Context, p stead.Principal, id string) error {
	if err := s.allow(ctx, p, policy.SkillWrite, id); err != nil {
		return err
	}
	var err error
	for range maxTries { // a version that comes in between must be deleted as well
		if err = s.deleteOnce(ctx, keyOf(p, id)); stead.KindOf(err) != stead.KindConflict {
			break
		}
	}
	return err
}

func (s *Service) deleteOnce(ctx context.Context, k document.Key) error {
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if err != nil {
		return err
	}
	data, err := decode(d)
	if err != nil {
		return err
	}
	for _, v := range data.Versions {
		if err := s.cfg.Assets.Release(ctx, claimOf(k, v.ID)); err != nil {
			return err
		}
	}
	err = s.cfg.Documents.DeleteDocument(ctx, k, d.Version)
	for _, v := range data.Versions {
		s.cfg.Assets.Settle(ctx, claimOf(k, v.ID), err)
	}
	return err
}
