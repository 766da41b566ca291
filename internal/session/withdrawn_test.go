package session

import (
	"fmt"
	"maps"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// artifactsOf is a view with one artifact for each "path digest", each published by an event of its own.
func artifactsOf(all ...string) *View {
	e := &EnvironmentView{}
	for i, text := range all {
		a := PublishedArtifact{Seq: stead.Seq(10 + i)}
		if _, err := fmt.Sscan(text, &a.Path, &a.Digest); err != nil {
			panic(err)
		}
		e.Artifacts = append(e.Artifacts, a)
	}
	return &View{Environment: e}
}

func (v *View) deleteArtifact(seq int) {
	const id = stead.SessionID("sess_11111111111111111111111111111111")
	v.artifactDeleted(stead.Event{}, ArtifactInput{ID: stead.DerivedID("artifact", id, stead.Seq(seq), 0)})
}

// A deleted artifact does not come back: what its file holds is known as long as nothing newer was published of it.
func TestADeletedArtifactStaysKnown(t *testing.T) {
	for _, tc := range []struct {
		name    string
		all     []string
		deleted []int
		want    map[string]string
	}{
		{"the only one", []string{"a 1", "b 1"}, []int{10}, map[string]string{"a": "1", "b": "1"}},
		{"an older version", []string{"a 1", "a 2"}, []int{10}, map[string]string{"a": "2"}},
		{"the newest version", []string{"a 1", "a 2"}, []int{11}, map[string]string{"a": "2"}},
		{"both, the newest first", []string{"a 1", "a 2"}, []int{11, 10}, map[string]string{"a": "2"}},
		{"one that is not there", []string{"a 1"}, []int{99}, map[string]string{"a": "1"}},
	} {
		v := artifactsOf(tc.all...)
		for _, seq := range tc.deleted {
			v.deleteArtifact(seq)
		}
		if got := v.Environment.Known(); !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestAFileThatChangedBehindADeletionIsPublished(t *testing.T) {
	v := artifactsOf("a 1")
	v.deleteArtifact(10)
	v.Environment.Action, v.Environment.Call = ActionSave, 19
	v.checkpointed(stead.Event{Seq: 20}, EnvironmentCheckpointed{Call: 19, Artifacts: []environment.Published{{Path: "a", Digest: "2"}}})
	if got := v.Environment.Known(); got["a"] != "2" || len(v.Environment.Artifacts) != 1 || len(v.Environment.Withdrawn) != 0 {
		t.Errorf("%v, %+v", got, v.Environment)
	}
}

func TestWithdrawnArtifactsAreBounded(t *testing.T) {
	var all []string
	for i := range MaxArtifacts + 5 {
		all = append(all, fmt.Sprintf("p%d 1", i))
	}
	v := artifactsOf(all...)
	for i := range all {
		v.deleteArtifact(10 + i)
	}
	if n := len(v.Environment.Withdrawn); n != MaxArtifacts {
		t.Errorf("%d are remembered, want %d", n, MaxArtifacts)
	}
}
