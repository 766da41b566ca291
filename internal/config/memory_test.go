package config

import (
	"strings"
	"testing"
)

// Keys of sessions' labels are few and short, as those of metadata are.
func TestMemorySessionLabels(t *testing.T) {
	for _, c := range []struct {
		keys []string
		says string
	}{
		{[]string{"confidentiality", "tenant"}, ""},
		{make([]string, MaxSessionLabels+1), "has 17 keys, at most 16"},
		{[]string{"ok", ""}, "memory.session_labels[1] must have 1 to 64 bytes"},
		{[]string{strings.Repeat("x", maxLabelKeyBytes+1)}, "memory.session_labels[0]"},
	} {
		err := (&Config{Memory: Memory{SessionLabels: c.keys}}).checkMemory()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.keys, err)
		}
	}
}
