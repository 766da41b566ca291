package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// Outputs are published part by part: how large they are is the agent's choice, and a sparse file costs it
// nothing. They are read from this machine's directory of the workspace, which every driver has brought up
// to date when it has made a checkpoint.

// parts are the buffers in which outputs are read, over all sessions of the process: whoever has none
// waits for one.
type parts chan []byte

func newParts() parts {
	p := make(parts, MaxPublishing)
	for range MaxPublishing {
		p <- nil // made when it is needed
	}
	return p
}

func (p parts) take(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p:
		if b == nil {
			b = make([]byte, PartBytes)
		}
		return b, nil
	case <-ctx.Done():
		return nil, stead.Wrap(stead.KindUnavailable, ctx.Err(), "the request has ended")
	}
}

func (p parts) giveBack(b []byte) { p <- b }

// publish stores the files below the directory of outputs that are new or have changed, and says which
// are too large or too many for that.
func (h *Host) publish(ctx context.Context, b *box, s environment.SaveRequest) (out []environment.Published, large []environment.TooLarge, err error) {
	dir, err := openWorkspace(b.place)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	q := environment.ListQuery{Dir: s.Publish, Limit: environment.MaxListed}
	for {
		page, err := dir.List(ctx, q)
		if stead.KindOf(err) == stead.KindNotFound {
			return out, large, nil // nothing was put there
		}
		if err != nil {
			return nil, nil, err
		}
		for _, f := range page.Files {
			q.After = f.Path
			name := environment.WirePath(f.Path) // as the journal has it
			if f.Size > MaxArtifactBytes {
				l := environment.TooLarge{Path: name, Size: f.Size, Limit: MaxArtifactBytes}
				if s.Known[name] != l.Mark() && len(large) < MaxTooLarge {
					large = append(large, l)
				}
				continue
			}
			full := s.Room == environment.NoRoom || s.Room > 0 && len(out) >= s.Room
			p, err := h.publishFile(ctx, b.key, dir, f, s.Known[name], !full)
			switch {
			case err != nil:
				return nil, nil, err
			case p == nil: // it is what it was
			case !full:
				out = append(out, *p)
			default:
				l := environment.TooLarge{Path: name, Size: f.Size, Limit: MaxArtifactBytes, Many: true}
				if s.Known[name] != l.Mark() && len(large) < MaxTooLarge {
					large = append(large, l)
				}
			}
		}
		if !page.More {
			return out, large, nil
		}
	}
}

// publishFile stores one file, unless there is no room and it is only to be looked at; nil when it is what
// was published before, or changes meanwhile. What was published before, or has no room, is read once to
// know its digest; only then is it read to be stored.
func (h *Host) publishFile(ctx context.Context, key stead.SessionKey, dir *workspace.Dir, f environment.File, known string, room bool) (*environment.Published, error) {
	part, err := h.parts.take(ctx)
	if err != nil {
		return nil, err
	}
	defer h.parts.giveBack(part)
	out := &environment.Published{Path: environment.WirePath(f.Path)}
	if known != "" || !room {
		look := func([]byte) error { return nil }
		if out.Size, out.Digest, err = inParts(ctx, dir, f.Path, part, look); err != nil || out.Digest == known {
			return nil, changed(err)
		}
		if !room {
			return out, nil
		}
	}
	out.Size, out.Digest, err = inParts(ctx, dir, f.Path, part, func(part []byte) error {
		digest, err := h.cfg.Blobs.Put(ctx, key, part)
		out.Parts = append(out.Parts, stead.Text{Digest: digest, Bytes: len(part)})
		return err
	})
	if err != nil || out.Digest == known {
		return nil, changed(err)
	}
	return out, nil
}

// changed forgives an error that says that a file changed while it was looked at: the next turn publishes
// it.
func changed(err error) error {
	switch stead.KindOf(err) {
	case stead.KindNotFound, stead.KindTooLarge, stead.KindInvalid:
		return nil
	}
	return err
}

// inParts reads a file into part, again and again, and returns its size and digest. KindTooLarge for one
// that has grown above what is published.
func inParts(ctx context.Context, dir *workspace.Dir, path string, part []byte, take func([]byte) error) (size int64, digest string, err error) {
	f, _, err := dir.OpenFile(ctx, path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	sum := sha256.New()
	for {
		n, err := io.ReadFull(f, part)
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return 0, "", unavailable(err, "read an output")
		}
		if size += int64(n); size > MaxArtifactBytes {
			return 0, "", stead.Errorf(stead.KindTooLarge, "%q has more than %d bytes", path, int64(MaxArtifactBytes))
		}
		sum.Write(part[:n])
		if n > 0 {
			if err := take(part[:n]); err != nil {
				return 0, "", err
			}
		}
		if err := ctx.Err(); err != nil {
			return 0, "", stead.Wrap(stead.KindUnavailable, err, "the request has ended")
		}
		if end {
			return size, hex.EncodeToString(sum.Sum(nil)), nil
		}
	}
}
