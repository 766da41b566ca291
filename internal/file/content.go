package file

import (
	"context"
	"errors"
	"io"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/policy"
)

// Content returns a file and a reader of its bytes, which checks each part of them at the part's end:
// nothing of it is in memory, however slowly it is read. The caller closes the reader.
func (s *Service) Content(ctx context.Context, p stead.Principal, id string) (io.ReadCloser, File, error) {
	if err := s.allow(ctx, p, policy.FileRead, id); err != nil {
		return nil, File{}, err
	}
	return s.open(ctx, p, id)
}

// Open is Content for the node itself: somebody who might read the file has asked for what needs it.
func (s *Service) Open(ctx context.Context, project stead.ProjectID, id string) (io.ReadCloser, File, error) {
	return s.open(ctx, stead.Principal{Project: project}, id)
}

func (s *Service) open(ctx context.Context, p stead.Principal, id string) (io.ReadCloser, File, error) {
	d, err := s.document(ctx, p, id)
	if err != nil {
		return nil, File{}, err
	}
	data, err := decode(d)
	if err != nil {
		return nil, File{}, err
	}
	f, err := fileOf(d)
	return &reader{ctx: ctx, assets: s.cfg.Assets, claim: claimOf(d.Key), parts: data.Parts}, f, err
}

// reader gives the parts of a file one after the other.
type reader struct {
	ctx    context.Context
	assets *asset.Store
	claim  asset.Claim
	parts  []string      // that are left
	part   io.ReadCloser // at hand; nil: none
}

// Read implements io.Reader.
func (r *reader) Read(b []byte) (int, error) {
	for {
		if r.part == nil {
			if len(r.parts) == 0 {
				return 0, io.EOF
			}
			part, err := r.assets.Open(r.ctx, r.claim, r.parts[0])
			if err != nil {
				return 0, err
			}
			r.part, r.parts = part, r.parts[1:]
		}
		n, err := r.part.Read(b)
		if errors.Is(err, io.EOF) {
			if err = r.part.Close(); err == nil {
				r.part = nil
			}
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.parts = nil
	if r.part == nil {
		return nil
	}
	err := r.part.Close()
	r.part = nil
	return err
}
