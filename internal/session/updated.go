package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// Updated changes a session; nil fields stay.
type Updated struct {
	Metadata        *map[string]string `json:"metadata,omitempty"`
	Model           *string            `json:"model,omitempty"`
	Effort          *Nullable          `json:"effort,omitempty"`
	ServiceTier     *string            `json:"service_tier,omitempty"`
	Tools           *[]agent.Tool      `json:"tools,omitempty"`
	SpendLimitCents *int64             `json:"spend_limit_cents,omitempty"` // 0 removes the limit
	CacheTTL        *string            `json:"cache_ttl,omitempty"`         // "" removes it
	Review          *string            `json:"review,omitempty"`
	// Apart is the agent's id from then on: who gave it other tools may not change the saved agent. "": it stays.
	Apart stead.AgentID   `json:"apart,omitempty"`
	By    stead.Principal `json:"by,omitzero"` // zero: it was changed before changes said so
}

// Written is what records say of the change: which fields, and the digest of all that they say.
func (u Updated) Written() (map[string]string, error) {
	u.By, u.Apart = stead.Principal{}, ""
	data, err := json.Marshal(u)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "encode a change")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "read a change")
	}
	sum := sha256.Sum256(data)
	return map[string]string{"changed": strings.Join(slices.Sorted(maps.Keys(fields)), ","), "digest": hex.EncodeToString(sum[:])}, nil
}

// Nullable is a string that may be set to null: for Effort, the model's default.
type Nullable struct {
	Value *string `json:"value"`
}
