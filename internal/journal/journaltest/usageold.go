package journaltest

import (
	"reflect"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// OldUsage is a usage record as stores kept it before its names were numbers: see the migrations.
type OldUsage struct {
	Project     stead.ProjectID
	At          int64
	ID, Session string
	Data        string
	Want        journal.UsageRow // that it must have become
}

// UsageOfBefore are such records, of two projects, as the program of that time wrote them: in the order in
// which they must be listed.
func UsageOfBefore() []OldUsage {
	const a, b = "0123456789abcdef0123456789abcdef", "ffffffffffffffffffffffffffffffff"
	model := `{"k":"model_call","a":"agent_1","t":"3","u":"local","p":"sim","m":"sim/echo","c":1,"i":210,"o":12,"d":41,"x":3000}`
	row := func(at int64, session string, seq stead.Seq, index int, data string) journal.UsageRow {
		return journal.UsageRow{UsageName: journal.UsageName{Session: stead.SessionID(session), Seq: seq, Index: index}, At: at, Data: []byte(data)}
	}
	tool, egress := `{"k":"tool_call","t":"3","f":"shell","c":1,"d":7}`, `{"k":"egress","bs":10,"br":20}`
	free := journal.UsageRow{UsageName: journal.UsageName{Call: [16]byte{0x01, 0x9a, 0xbc, 14: 0x12, 15: 0x34}}, At: 1500, Data: []byte(model)}
	return []OldUsage{
		{project, 1000, "usage_" + a + "_9_0", "sess_" + a, model, row(1000, "sess_"+a, 9, 0, model)},
		{project, 1000, "usage_" + a + "_10_0", "sess_" + a, tool, row(1000, "sess_"+a, 10, 0, tool)},
		{project, 1200, "usage_" + a + "_1234567_2", "sess_" + a, egress, row(1200, "sess_"+a, 1234567, 2, egress)},
		{project, 1300, "usage_mine_4_1", "sess_mine", egress, row(1300, "sess_mine", 4, 1, egress)},
		{project, 1500, "usage_019abc00000000000000000000001234", "", model, free},
		{project, 1600, "usage_" + b + "_9_0", "sess_" + b, model, row(1600, "sess_"+b, 9, 0, model)},
		{"other", 900, "usage_" + b + "_9_0", "sess_" + b, tool, row(900, "sess_"+b, 9, 0, tool)},
	}
}

// CheckUsageOfBefore looks whether a store that was migrated has such records: by time and by session, each
// once, also after they were added again.
func CheckUsageOfBefore(t *testing.T, s journal.Usage, old []OldUsage) {
	t.Helper()
	for range 2 {
		checkUsageOfBefore(t, s, old)
		for _, r := range old {
			again := r.Want
			again.Data = []byte("other")
			if err := s.AddUsage(t.Context(), r.Project, []journal.UsageRow{again}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func checkUsageOfBefore(t *testing.T, s journal.Usage, old []OldUsage) {
	t.Helper()
	want := map[stead.ProjectID][]journal.UsageRow{}
	for _, r := range old {
		want[r.Project] = append(want[r.Project], r.Want)
	}
	for project, rows := range want {
		got, err := s.UsageRows(t.Context(), project, journal.UsageQuery{})
		if err != nil || !reflect.DeepEqual(got, rows) {
			t.Fatalf("project %s has\n%+v, want\n%+v: %v", project, got, rows, err)
		}
	}
	last := old[len(old)-1]
	got, err := s.UsageRows(t.Context(), last.Project, journal.UsageQuery{Session: stead.SessionID(last.Session)})
	if err != nil || len(got) != 1 || got[0].Seq != last.Want.Seq {
		t.Fatalf("the session has %+v: %v", got, err)
	}
}
