package server

import (
	"cmp"

	"github.com/stead-dev/stead/internal/source"
)

type wireVectorSource struct {
	ID         string         `json:"id"`
	Object     string         `json:"object"`     // "vector_store.source"
	CreatedAt  int64          `json:"created_at"` // Unix seconds, as all times
	StoreID    string         `json:"vector_store_id"`
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Directory  string         `json:"directory,omitempty"`
	Repository string         `json:"repository,omitempty"`
	Branch     string         `json:"branch,omitempty"`
	Server     string         `json:"server,omitempty"`
	Database   string         `json:"database,omitempty"`
	Site       string         `json:"site,omitempty"`
	URLs       []string       `json:"urls,omitempty"`
	Sitemap    string         `json:"sitemap,omitempty"`
	Path       string         `json:"path,omitempty"`
	Include    []string       `json:"include"`
	Exclude    []string       `json:"exclude"`
	Interval   int64          `json:"interval_seconds"` // 0: only when somebody asks
	Chunking   wireChunking   `json:"chunking_strategy"`
	Attributes map[string]any `json:"attributes"`
	Access     []wireRule     `json:"access"`
	Default    string         `json:"access_default"` // "allow", "deny"

	Status  string           `json:"status"` // "waiting", "syncing", "completed", "failed"
	NextAt  *int64           `json:"next_sync_at"`
	Synced  *int64           `json:"synced_at"` // the last that went through
	Sync    *wireSync        `json:"last_sync"` // under way, or the last; null: there was none
	Error   *wireSourceError `json:"last_error"`
	Version string           `json:"version,omitempty"` // that all of it is at: a commit
}

type wireRule struct {
	Paths      []string `json:"paths"`
	Labels     []string `json:"labels"`
	Principals []string `json:"principals"`
	Roles      []string `json:"roles"`
	Everyone   bool     `json:"everyone"`
}

type wireSync struct {
	Number    int64             `json:"number"` // 1: the first
	BeganAt   int64             `json:"began_at"`
	EndedAt   *int64            `json:"ended_at"`
	Documents wireSyncCounts    `json:"documents"`
	Read      wireSyncRead      `json:"read"`
	Failures  []wireSourceError `json:"failures"` // the first of them
}

type wireSyncCounts struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Removed   int `json:"removed"`
	Unchanged int `json:"unchanged"`
	Failed    int `json:"failed"`
}

type wireSyncRead struct {
	Documents int   `json:"documents"`
	Bytes     int64 `json:"bytes"`
}

type wireSourceError struct {
	Path    string `json:"path,omitempty"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func wireVectorSourceOf(v source.Source) wireVectorSource {
	w := wireVectorSource{
		ID: v.ID, Object: "vector_store.source", CreatedAt: v.CreatedAt / millis, StoreID: v.Store, Name: v.Name, Type: v.Type, Directory: v.Directory, Repository: v.Repository, Branch: v.Branch, Server: v.Server, Database: v.Database, Site: v.Site, URLs: v.URLs, Sitemap: v.Sitemap, Path: v.Path,
		Include: orNoneOf(v.Include), Exclude: orNoneOf(v.Exclude), Interval: v.Interval, Chunking: wireChunking{"static", wireStaticChunks{v.Plan.Size, v.Plan.Overlap}},
		Attributes: orNone(v.Attributes), Access: make([]wireRule, len(v.Access)), Default: cmp.Or(v.AccessDefault, source.AccessAllow), Synced: moment(v.Synced), Status: "waiting", Version: v.Version,
	}
	for i, r := range v.Access {
		w.Access[i] = wireRule{orNoneOf(r.Paths), orNoneOf(r.Labels), orNoneOf(r.Principals), orNoneOf(r.Roles), r.Everyone}
	}
	if v.State.Error != nil {
		w.Error = &wireSourceError{Code: v.State.Error.Code, Message: v.State.Error.Message}
	}
	switch {
	case v.Holder != "":
		w.Status = "syncing"
	case v.State.Error != nil:
		w.Status = "failed"
	case v.Ended != 0:
		w.Status = "completed"
	}
	if v.Holder == "" {
		w.NextAt = moment(v.Due)
	}
	if v.Run > 0 {
		w.Sync = wireSyncOf(v.State)
	}
	return w
}

func wireSyncOf(st source.State) *wireSync {
	c := st.Counts
	w := &wireSync{Number: st.Run, BeganAt: st.Began / millis, Documents: wireSyncCounts{c.Added, c.Changed, c.Removed, c.Unchanged, c.Failed},
		Read: wireSyncRead{c.Read, c.ReadBytes}, Failures: make([]wireSourceError, len(st.Failures))}
	if st.Holder == "" {
		w.EndedAt = moment(st.Ended)
	}
	for i, f := range st.Failures {
		w.Failures[i] = wireSourceError{f.Path, f.Code, f.Message}
	}
	return w
}

// orNoneOf is a list that is written as [] where there is none.
func orNoneOf(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
