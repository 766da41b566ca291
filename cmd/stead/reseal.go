package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/environment/wrap"
	"github.com/stead-dev/stead/internal/identity/workload"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/internal/template"
	"github.com/stead-dev/stead/internal/vault"
)

// sealedPlaces are where what is sealed stands, but for what clients keep.
func sealedPlaces() []reseal.Place {
	return append(consent.Sealed(), vault.Sealed(), template.Sealed(), workload.Sealed(), wrap.Sealed())
}

// lookAgain is how often it is looked whether what no key opens is there still.
const lookAgain = 10 * time.Minute

// sealed is a node's keys, and how what is sealed stands to them.
type sealed struct {
	keys       *seal.Keys
	text       textDigest
	signer     audit.Signer
	configKey  []byte // of the digests of the configuration's sections
	reseals    *reseal.Service
	adopt      func(context.Context) error // has what stands in sessions' blobs alone counted, and sealed anew
	unreadable atomic.Int64
}

// textDigest is of what keys are made of: while that is the same, they are.
type textDigest [sha256.Size]byte

// nextKeys are keys that are about to be in force, with what is made of them; nil keys: those stay that there are.
type nextKeys struct {
	keys      *seal.Keys
	signer    audit.Signer
	configKey []byte
	text      textDigest
}

// Rekey implements server.Reseals.
func (n *node) Rekey(ctx context.Context, p stead.Principal, r reseal.Request) (reseal.Report, error) {
	if r.All { // whom the door lets ask that
		if err := n.seals.adopt(ctx); err != nil {
			return reseal.Report{}, err
		}
	}
	done, err := n.seals.reseals.Rekey(ctx, p, r)
	if err == nil && r.All {
		n.lookAtSeals(ctx)
	}
	return done, err
}

// openReseals makes the service that seals anew, and looks whether this node opens what is there: at once, and again while it does not.
func (n *node) openReseals(store database, heads *wrap.Heads, gate policy.Authorizer) {
	n.seals.reseals = reseal.New(reseal.Config{Documents: store, Keys: n.seals.keys, Policy: gate, Places: sealedPlaces()})
	n.seals.adopt = func(ctx context.Context) error { return heads.Adopt(ctx, n.blobs, sealedOf(store)) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := adoptOnce(ctx, store, n.seals.adopt); err != nil && ctx.Err() == nil {
			n.log.Warn("what seals the environments of sessions from before is not all known; the next start looks again", "err", err)
		}
		n.lookAtSeals(ctx)
		every(ctx, lookAgain, func() {
			if n.seals.unreadable.Load() > 0 {
				n.lookAtSeals(ctx)
			}
		})
	}()
	n.onStop(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

// lookAtSeals counts what no key of this node opens, and says so.
func (n *node) lookAtSeals(ctx context.Context) {
	found, err := n.seals.reseals.Look(ctx, n.seals.keys)
	if err != nil {
		if ctx.Err() == nil {
			n.log.Warn("whether everything that is sealed can be opened is not known", "err", err)
		}
		return
	}
	n.seals.unreadable.Store(int64(found.Unreadable))
	if found.Unreadable > 0 {
		n.log.Error("what is sealed by a key that this node does not have can't be used: give it that key behind the present ones (seal_key), or delete it and make it again",
			"unreadable", found.Unreadable, "in", inProjects(found), "keys", strings.Join(found.Keys(), ", "))
	}
}

// maxNamedProjects bounds how many projects a message names.
const maxNamedProjects = 20

// inProjects says in which projects there is what no key opens: "two: 3, three: 1".
func inProjects(r reseal.Report) string {
	var said []string
	for _, p := range r.Projects {
		if p.Unreadable > 0 {
			said = append(said, fmt.Sprintf("%s: %d", p.ID, p.Unreadable))
		}
	}
	if len(said) > maxNamedProjects {
		said = append(said[:maxNamedProjects], "…")
	}
	return strings.Join(said, ", ")
}

func keysText(cfg *config.Config) (textDigest, error) {
	text := []byte(cfg.SealKey)
	if cfg.SealKey == "" {
		var err error
		if text, err = os.ReadFile(filepath.Join(cfg.Data, seal.KeyFile)); err != nil {
			return textDigest{}, stead.Wrap(stead.KindUnavailable, err, "the key that keeps secrets can't be read")
		}
	}
	return sha256.Sum256(text), nil
}

// configuredKeys are the keys of a configuration. None is made.
func configuredKeys(ctx context.Context, cfg *config.Config, log *slog.Logger) (*seal.Keys, error) {
	ring, err := openRing(cfg, commandPatience, log)
	if err != nil {
		return nil, err
	}
	raw, err := presentKeys(ctx, cfg, ring)
	if err != nil {
		return nil, err
	}
	return seal.New(raw[0], raw[1:]...)
}

// nextKeys reads the keys of a configuration that is about to be taken. What is needed still is not given up: that is refused.
func (n *node) nextKeys(ctx context.Context, cfg *config.Config) (nextKeys, error) {
	text, err := keysText(cfg)
	if err != nil || text == n.seals.text {
		return nextKeys{}, err // a KMS need not be there for what is known already
	}
	next := nextKeys{text: text}
	if next.keys, err = configuredKeys(ctx, cfg, n.log); err != nil {
		return nextKeys{}, err
	}
	if err := n.enough(ctx, next.keys); err != nil {
		return nextKeys{}, err
	}
	next.signer, err = newSigner(next.keys)
	next.configKey = next.keys.Derive(configLabel())
	return next, err
}

// enough refuses keys that do not open what the present ones do.
func (n *node) enough(ctx context.Context, next *seal.Keys) error {
	if err := n.seals.adopt(ctx); err != nil {
		return err
	}
	before, err := n.seals.reseals.Look(ctx, n.seals.keys)
	if err != nil {
		return err
	}
	after, err := n.seals.reseals.Look(ctx, next)
	if err != nil {
		return err
	}
	known := before.Keys()
	if !slices.ContainsFunc(after.Keys(), func(k string) bool { return !slices.Contains(known, k) }) {
		return nil
	}
	e := stead.Errorf(stead.KindInvalid, "%d would be sealed by a key that seal_key leaves out (%s): %s", after.Unreadable, strings.Join(after.Keys(), ", "), inProjects(after))
	e.Hint = "Keep that key behind the others until `stead vaults rekey --all-projects` has run."
	return e
}

// takeKeys puts keys in force. What was derived from the one that sealed before counts for as long as that is there.
func (n *node) takeKeys(next nextKeys) {
	if next.keys == nil {
		return
	}
	before := n.seals.keys.First()
	n.seals.keys.Replace(next.keys)
	n.seals.signer.Replace(next.signer)
	n.seals.text = next.text
	n.log.Info("the keys that seal were read again", "seals", next.keys.First(), "before", before)
}

// openDocuments opens a configuration's documents to be read, beside a server that runs or without one; nil: there are none yet.
func openDocuments(ctx context.Context, cfg *config.Config) (reseal.Reader, func(), error) {
	if cfg.Database != "" {
		return postgres.ReadDocuments(ctx, cfg.Database)
	}
	file := filepath.Join(cfg.Data, sqliteFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, func() {}, nil
	}
	return sqlite.ReadDocuments(file)
}

// checkSealed looks whether the keys open what is sealed.
func checkSealed(ctx context.Context, cfg *config.Config) (finding, bool) {
	f := finding{Check: "sealed", Verdict: verdictOK}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	fail := func(err error) (finding, bool) {
		f.Verdict, f.Detail = verdictWarn, "what is sealed could not be looked at: "+oneLine(err.Error(), 300)
		return f, true
	}
	documents, done, err := openDocuments(ctx, cfg)
	if err != nil {
		return fail(err)
	}
	defer done()
	if documents == nil {
		return f, false
	}
	keys, err := configuredKeys(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return fail(err)
	}
	found, err := reseal.Look(ctx, documents, sealedPlaces(), keys)
	if err != nil {
		return fail(err)
	}
	all := found.All()
	f.Detail = fmt.Sprintf("the keys open all %d sealed things", all)
	switch {
	case found.Unreadable > 0:
		f.Verdict = verdictFail
		f.Detail = fmt.Sprintf("%d of %d are sealed by a key that is not configured (%s): %s", found.Unreadable, all, strings.Join(found.Keys(), ", "), inProjects(found))
		f.Remedy = "Put that key behind the present ones in seal_key, or delete what is sealed by it and make it again."
	case found.Resealed > 0:
		f.Detail += fmt.Sprintf("; %d by an older key: stead vaults rekey --all-projects", found.Resealed)
	}
	return f, true
}
