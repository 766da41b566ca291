package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy/cedar"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/semantic/layer"
)

// configLabel is the place for which the key of the configuration's digests is derived from the node's: nodes that share a database
// have the same, so that their configurations can be compared.
func configLabel() seal.Label { return seal.Label{Kind: "audit", ID: "configuration"} }

// inForce is what a configuration was made into that is about to be in force.
type inForce struct {
	rules *cedar.Set // nil: no policies
	rails *guardrail.Set
	meant []layer.Declared
	// key is that of the digests of the configuration, where it is another one from now on; nil: it is not.
	key []byte
}

// recordStart records what a node begins with. It may be late, on a full disk: behind a reload it is no more in force.
func (n *node) recordStart(ctx context.Context, first inForce) error {
	n.recording.Lock()
	defer n.recording.Unlock()
	if n.sections != nil {
		return nil
	}
	return n.record(ctx, n.cfg, first)
}

// recordConfig records what a reload is about to put in force.
func (n *node) recordConfig(ctx context.Context, cfg *config.Config, next inForce) error {
	n.recording.Lock()
	defer n.recording.Unlock()
	return n.record(ctx, cfg, next)
}

// record records what is about to be in force: the policies, the guardrails, the registry of models, and which sections of the
// configuration differ from those that were. Its caller holds recording.
func (n *node) record(ctx context.Context, cfg *config.Config, next inForce) error {
	rules, rails := next.rules, next.rails
	version, detail := "", "no policies"
	if rules != nil {
		version, detail = rules.Version(), fmt.Sprintf("%d policies", len(rules.Rules()))
	}
	if err := n.audit.Act(ctx, time.Now(), audit.ActPolicies, version, detail); err != nil {
		return err
	}
	if len(rails.Names()) > 0 || len(n.taken.Guardrails) > 0 { // there are some, or there were
		if err := n.audit.Act(ctx, time.Now(), audit.ActGuardrails, rails.Version(), fmt.Sprintf("%d guardrails", len(rails.Names()))); err != nil {
			return err
		}
	}
	registry, err := json.Marshal(cfg.Models)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "the registry of models can't be written")
	}
	sum := sha256.Sum256(registry)
	if err := n.audit.Act(ctx, time.Now(), audit.ActModels, hex.EncodeToString(sum[:]), fmt.Sprintf("%d models, %d providers", len(cfg.Models), len(cfg.Providers))); err != nil {
		return err
	}
	return n.recordSections(ctx, cfg, next.meant, next.key)
}

// recordSections records which sections of the configuration are in force, by their digests.
func (n *node) recordSections(ctx context.Context, cfg *config.Config, meant []layer.Declared, key []byte) error {
	var models []string
	for _, m := range meant {
		models = append(models, m.Model.Digest)
	}
	before, digestKey := n.sections, n.seals.configKey
	if key != nil {
		digestKey = key
	}
	sections, err := cfg.Digests(digestKey, map[string][]string{"semantic": models})
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "the configuration can't be recorded")
	}
	if before != nil && key != nil { // nothing can be compared with what the key before says: all of it is said anew
		before, err = n.cfg.Digests(key, nil)
		if err != nil {
			return stead.Wrap(stead.KindInternal, err, "the configuration can't be recorded")
		}
	}
	if before != nil {
		sections = config.InForce(before, sections)
	}
	if key != nil {
		before = nil
	}
	all := sha256.Sum256([]byte(config.Differences(nil, sections)))
	detail := cmp.Or(config.Differences(before, sections), "nothing has changed")
	if err := n.audit.Act(ctx, time.Now(), audit.ActConfiguration, hex.EncodeToString(all[:]), detail); err != nil {
		return err
	}
	n.sections = sections
	if key != nil {
		n.seals.configKey = key
	}
	return nil
}
