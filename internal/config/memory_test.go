package config

import (
	"slices"
	"strings"
	"testing"
)

// Keys of sessions' labels are few and short, as those of metadata are.
// What nobody configured keeps what is confidential apart; what somebody did is theirs to decide by policies.
func TestMemoryLabelsByDefault(t *testing.T) {
	if keys, apart := (Memory{}).Labels(); !apart || !slices.Contains(keys, "confidentiality") {
		t.Errorf("by default: %q, %v", keys, apart)
	}
	for _, named := range [][]string{{}, {"env"}} {
		if keys, apart := (Memory{SessionLabels: named}).Labels(); apart || !slices.Equal(keys, named) {
			t.Errorf("of %q: %q, %v", named, keys, apart)
		}
	}
}

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
