package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
)

// AuditRecord is a record of an audit log: Record is what is hashed, in those bytes, and Texts what people wrote into it, as far as it is there.
type AuditRecord struct {
	ID     string          `json:"id"`
	Record json.RawMessage `json:"record"`
	Texts  []AuditText     `json:"texts"`
}

// AuditText is what somebody wrote into a record, which has its digest.
type AuditText struct {
	Digest string `json:"digest"`
	Salt   []byte `json:"salt"`
	Text   string `json:"text"`
}

// AuditCheckpoint is a signed checkpoint.
type AuditCheckpoint struct {
	ID       string `json:"id"`
	Project  string `json:"project"`
	Size     int64  `json:"size"`
	Note     string `json:"note"`
	Verifier string `json:"verifier"` // the key of the node that answered
	Tree     []byte `json:"tree"`     // of the one that the log begins behind, if records were removed
}

// AuditRecords lists records, the newest first; query may hold filters.
func (c *Client) AuditRecords(ctx context.Context, query url.Values, limit int) ([]AuditRecord, error) {
	return list(ctx, c, "/v1/audit_records", query, limit, func(r AuditRecord) string { return r.ID })
}

// AuditPage returns the records that follow one, the oldest first, as many as a page has; after "" is
// the beginning.
func (c *Client) AuditPage(ctx context.Context, after string) ([]AuditRecord, error) {
	query := url.Values{"order": {"asc"}, "limit": {strconv.Itoa(pageSize)}}
	if after != "" {
		query.Set("after", after)
	}
	var p page[AuditRecord]
	err := c.call(ctx, "GET", "/v1/audit_records", query, nil, &p)
	return p.Data, err
}

// AuditCheckpoints lists all checkpoints, the smallest first. The last covers every record that there is.
func (c *Client) AuditCheckpoints(ctx context.Context) ([]AuditCheckpoint, error) {
	return list(ctx, c, "/v1/audit_checkpoints", nil, 0, func(p AuditCheckpoint) string { return p.ID })
}
