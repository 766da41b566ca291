package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// KillSwitch is one that is set.
type KillSwitch struct {
	ID        string  `json:"id"`
	Scope     string  `json:"scope"`
	Of        *string `json:"of"` // nil: the project
	Reason    string  `json:"reason"`
	SetBy     string  `json:"set_by"`
	CreatedAt int64   `json:"created_at"` // Unix seconds
	Unknown   bool    `json:"unknown"`    // nothing was called so when it was set
	Raw       json.RawMessage
}

// UnmarshalJSON keeps the whole beside the fields that are known.
func (k *KillSwitch) UnmarshalJSON(data []byte) error {
	type plain KillSwitch
	if err := json.Unmarshal(data, (*plain)(k)); err != nil {
		return err
	}
	k.Raw = append(json.RawMessage(nil), data...)
	return nil
}

const killSwitchesPath = "/v1/kill_switches"

// KillSwitches lists those that are set.
func (c *Client) KillSwitches(ctx context.Context) ([]KillSwitch, error) {
	return list(ctx, c, killSwitchesPath, url.Values{"order": {"asc"}}, 0, func(k KillSwitch) string { return k.ID })
}

// SetKillSwitch stops something. of is "" for the project; unknown: also what nothing is called.
func (c *Client) SetKillSwitch(ctx context.Context, scope, of, reason string, unknown bool) (k KillSwitch, err error) {
	body := map[string]any{"scope": scope, "reason": reason}
	if unknown {
		body["unknown"] = true
	}
	if of != "" {
		body["of"] = of
	}
	return k, c.call(ctx, http.MethodPost, killSwitchesPath, nil, body, &k)
}

// LiftKillSwitch removes one.
func (c *Client) LiftKillSwitch(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, killSwitchesPath+"/"+url.PathEscape(id), nil, nil, nil)
}
