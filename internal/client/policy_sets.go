package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// PolicySet is what a person is shown of a set of policies, or of one of its versions.
type PolicySet struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Mode      string          `json:"mode"`
	Version   int64           `json:"version"`
	Policies  int             `json:"policies"`
	Restored  *int64          `json:"restored_version"`
	Deleted   bool            `json:"deleted"`
	WrittenBy string          `json:"written_by"`
	UpdatedAt int64           `json:"updated_at"` // Unix seconds
	Problem   *string         `json:"problem"`
	Text      string          `json:"text"`
	Raw       json.RawMessage `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *PolicySet) UnmarshalJSON(b []byte) error {
	type bare PolicySet
	return keep(b, (*bare)(v), &v.Raw)
}

const (
	policySetsPath  = "/v1/policy_sets"
	policySetPrefix = "pset_"
)

// policySetPath is a set's, by its name.
func policySetPath(name string) string {
	return policySetsPath + "/" + url.PathEscape(policySetPrefix+name)
}

// PolicySets lists the project's sets, without their texts.
func (c *Client) PolicySets(ctx context.Context) ([]PolicySet, error) {
	return list(ctx, c, policySetsPath, url.Values{"order": {"asc"}}, 0, func(v PolicySet) string { return v.ID })
}

// PolicySet retrieves one with its text; version 0 is the newest.
func (c *Client) PolicySet(ctx context.Context, name string, version int64) (v PolicySet, err error) {
	path := policySetPath(name)
	if version > 0 {
		path += "/versions/" + strconv.FormatInt(version, 10)
	}
	return v, c.call(ctx, http.MethodGet, path, nil, nil, &v)
}

// PolicySetVersions lists the versions of one, the newest first.
func (c *Client) PolicySetVersions(ctx context.Context, name string) ([]PolicySet, error) {
	return list(ctx, c, policySetPath(name)+"/versions", nil, 0, func(v PolicySet) string { return strconv.FormatInt(v.Version, 10) })
}

// CreatePolicySet uploads a new set; body is the wire's request.
func (c *Client) CreatePolicySet(ctx context.Context, body map[string]any) (v PolicySet, err error) {
	return v, c.call(ctx, http.MethodPost, policySetsPath, nil, body, &v)
}

// UpdatePolicySet writes the next version, over the one that body names.
func (c *Client) UpdatePolicySet(ctx context.Context, name string, body map[string]any) (v PolicySet, err error) {
	return v, c.call(ctx, http.MethodPost, policySetPath(name), nil, body, &v)
}

// RollbackPolicySet writes an older version again, over the one expected.
func (c *Client) RollbackPolicySet(ctx context.Context, name string, version, over int64) (v PolicySet, err error) {
	return v, c.call(ctx, http.MethodPost, policySetPath(name)+"/rollback", nil, map[string]int64{"version": version, "expected_version": over}, &v)
}

// DeletePolicySet takes one out of force.
func (c *Client) DeletePolicySet(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, policySetPath(name), nil, nil, nil)
}
