package policyset_test

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
	"github.com/stead-dev/stead/internal/policy/policyset"
)

// What is written of a set stands in the audit log with the number of the version, its mode and the digest of its text, also where
// nothing but the mode changes; what comes to nothing has no number, and whoever may not is not told more than that.
func TestEachVersionStandsInTheAuditLog(t *testing.T) {
	bothDatabases(t, func(t *testing.T, here, _ document.Store) {
		store := here.(audit.Store)
		live := policyset.NewLive(here, identity.Approvers(), time.Now, nil)
		first := cedar.New(identity.Authorizer{}, time.Now, slog.New(slog.DiscardHandler)).With(live.Project)
		gate := audit.NewAuthorizer(first, audit.NewLog(store), audit.LevelNone, time.Now, slog.New(slog.DiscardHandler))
		s := policyset.NewService(policyset.Config{Documents: here, Policy: gate, Live: live, Approvers: identity.Approvers(), Now: time.Now})

		ctx, p, shadow := t.Context(), owner("one"), policy.Shadow
		keyed := policyset.Write{Over: 2, Key: "k", Digest: "d"}
		mode := func(w policyset.Write) error {
			_, err := s.Update(ctx, p, "pset_shop", policyset.Change{Mode: &shadow}, w)
			return err
		}
		may := p
		may.Role = identity.Developer
		for i, act := range []struct {
			do   func() error
			fail stead.Kind // "": it does not
			want string     // action, decision, version, mode, text, restored
		}{
			{do: func() error {
				_, err := s.Create(ctx, p, policyset.New{Name: "shop", Mode: policy.Enforce, Text: forbids}, policyset.Write{})
				return err
			}, want: "policy.write allow 1 enforce forbids 0"},
			{do: func() error {
				_, err := s.Create(ctx, p, policyset.New{Name: "shop", Mode: policy.Shadow, Text: asks}, policyset.Write{})
				return err
			}, fail: stead.KindConflict, want: "policy.write allow 0 shadow asks 0"},
			{do: func() error {
				_, err := s.Update(ctx, p, "pset_shop", text(asks), policyset.Write{Over: 1})
				return err
			}, want: "policy.write allow 2 enforce asks 0"},
			{do: func() error { return mode(keyed) }, want: "policy.write allow 3 shadow asks 0"},
			{do: func() error { return mode(keyed) }, want: "policy.write allow 3 shadow asks 0"}, // the very same request, again
			{do: func() error { return mode(policyset.Write{Over: 2}) }, fail: stead.KindConflict, want: "policy.write allow 0 shadow asks 0"},
			{do: func() error {
				_, err := s.Update(ctx, may, "pset_shop", text(others), policyset.Write{})
				return err
			}, fail: stead.KindForbidden, want: "policy.write deny 4 shadow others 0"},
			{do: func() error {
				_, err := s.Rollback(ctx, p, "pset_shop", 1, policyset.Write{Over: 3})
				return err
			}, want: "policy.write allow 4 enforce forbids 1"},
			{do: func() error {
				_, err := s.Rollback(ctx, p, "pset_shop", 9, policyset.Write{})
				return err
			}, fail: stead.KindInvalid, want: "policy.write allow 0  - 9"},
			{do: func() error { return s.Delete(ctx, p, "pset_shop", 4) }, want: "policy.delete allow 5 enforce forbids 0"},
			{do: func() error { return s.Delete(ctx, p, "pset_none", 0) }, fail: stead.KindNotFound, want: "policy.delete allow 0  - 0"},
		} {
			if err := act.do(); (err == nil) != (act.fail == "") || err != nil && stead.KindOf(err) != act.fail {
				t.Fatalf("act %d: %v, want %q", i, err, act.fail)
			}
			rows, err := store.AuditRows(ctx, audit.Query{Project: "one", Limit: 100})
			if err != nil || len(rows) != i+1 {
				t.Fatalf("after act %d there are %d records, %v", i, len(rows), err)
			}
			r, err := audit.Decode(rows[i].Data)
			if err != nil || r.Set == nil {
				t.Fatalf("act %d: %s, %v", i, rows[i].Data, err)
			}
			digests := map[string]string{digest(forbids): "forbids", digest(asks): "asks", digest(others): "others", "": "-"}
			got := fmt.Sprintf("%s %s %d %s %s %d", r.Action, r.Decision, r.Set.Version, r.Set.Mode, digests[r.Set.Digest], r.Set.Restored)
			if got != act.want || r.Arguments != r.Set.Digest || r.Resource == "" {
				t.Errorf("act %d stands there as %q (%s), want %q", i, got, rows[i].Data, act.want)
			}
			ocsf, err := r.OCSF()
			if err != nil || r.Set.Mode != "" && !strings.Contains(string(ocsf), `"policy_set":{`) || !strings.Contains(string(ocsf), r.Set.Digest) {
				t.Errorf("act %d for a SIEM: %s, %v", i, ocsf, err)
			}
		}
		versions, _, err := s.Versions(ctx, p, "pset_shop", 0, false, 10)
		if err != nil {
			t.Fatal(err)
		}
		if last := slices.MaxFunc(versions, func(a, b policyset.Set) int { return int(a.Version - b.Version) }); last.Version != 5 || !last.Deleted {
			t.Errorf("the last version is %+v", last)
		}
	})
}

func digest(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
