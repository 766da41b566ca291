package workspace

import (
	"context"
	"crypto/sha256"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// References returns the digests of all blobs that a checkpoint needs, its own first: what a fork or
// an export copies, and what a sweep keeps.
func References(ctx context.Context, blobs environment.Blobs, digest string) ([]string, error) {
	stored, err := manifest.Load(ctx, blobs.Get, digest)
	if err != nil {
		return nil, err
	}
	return references(stored), nil
}

func references(stored *manifest.Stored) []string {
	sums := slices.Clone(stored.Chain)
	for i, live := range stored.Live() {
		if live > 0 {
			sums = append(sums, stored.Packs[i].Digest)
		}
	}
	var digests []string
	named := map[manifest.Sum]bool{}
	for _, s := range sums {
		if !named[s] {
			named[s] = true
			digests = append(digests, s.String())
		}
	}
	return digests
}

// Verify reads all of a checkpoint and compares every piece with its hash: KindInvalid for what does
// not match, KindNotFound for a blob that is missing. An import calls it before it is believed.
func Verify(ctx context.Context, blobs environment.Blobs, digest string) (environment.Checkpoint, error) {
	stored, err := manifest.Load(ctx, blobs.Get, digest)
	if err != nil {
		return environment.Checkpoint{}, err
	}
	u, err := manifest.NewUnpacker(1)
	if err != nil {
		return environment.Checkpoint{}, err
	}
	defer u.Close()
	byPack := make([][]manifest.Part, len(stored.Packs))
	for _, e := range stored.Entries {
		for _, p := range e.Parts {
			if p.Pack != manifest.Hole {
				byPack[p.Pack] = append(byPack[p.Pack], p)
			}
		}
	}
	for i, parts := range byPack {
		if err := verifyPack(ctx, u, blobs, stored.Packs[i], parts); err != nil {
			return environment.Checkpoint{}, err
		}
	}
	files, bytes := stored.Totals()
	return environment.Checkpoint{Digest: digest, Files: files, Bytes: bytes}, nil
}

func verifyPack(ctx context.Context, u *manifest.Unpacker, blobs environment.Blobs, pack manifest.Pack, parts []manifest.Part) error {
	if len(parts) == 0 {
		return nil
	}
	blob, err := blobs.Get(ctx, pack.Digest.String())
	if err != nil {
		return err
	}
	content, err := u.Unpack(blob, pack.Size, nil)
	if err != nil {
		return err
	}
	checked := map[manifest.Part]bool{}
	for _, p := range parts {
		if checked[p] {
			continue
		}
		if sha256.Sum256(content[p.Offset:p.Offset+int(p.Length)]) != p.Hash {
			return stead.Errorf(stead.KindInvalid, "a pack of the checkpoint does not have the bytes with the hash %s", p.Hash)
		}
		checked[p] = true
	}
	return nil
}
