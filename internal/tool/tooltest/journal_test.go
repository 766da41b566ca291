package tooltest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-dev/stead/internal/tool/tooltest"
)

// A journal that a crash cut in the middle of a line goes on behind the last whole one.
func TestJournalSurvivesACut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "effects")
	j, err := tooltest.OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := j.Append(tooltest.Record{Tool: "count", Key: "a"}, true); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"tool": "cou`)
	f.Close()
	if j, err = tooltest.OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if first, err := j.Append(tooltest.Record{Tool: "count", Key: "a"}, true); first || err != nil {
		t.Errorf("the effect of a key came twice: %v", err)
	}
	if first, err := j.Append(tooltest.Record{Tool: "count", Key: "b"}, true); !first || err != nil {
		t.Errorf("a new key had no effect: %v", err)
	}
	records, err := tooltest.ReadJournal(path)
	if err != nil || len(records) != 4 || j.Effects()["a"] != 1 || j.Effects()["b"] != 1 {
		t.Errorf("got %d records, effects %v, %v", len(records), j.Effects(), err)
	}
}
