package claude_test

import (
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/claude"
)

func TestSampling(t *testing.T) {
	half, edge, one := 0.5, 0.95, 1.0
	for _, c := range []struct {
		model             string
		temperature, topP *float64
		thinks            bool
		refused           string // the field; "": it goes
		sends             int    // of the two
	}{
		{"claude-opus-4-7", &half, nil, false, "temperature", 0},
		{"claude-opus-4-7", nil, &edge, false, "top_p", 0},
		{"claude-opus-4-7", &one, &one, true, "", 0}, // the defaults say nothing
		{"eu.anthropic.claude-opus-5-v1:0", &half, nil, false, "temperature", 0},
		{"claude-sonnet-4-6", &half, nil, false, "", 1},
		{"claude-sonnet-4-6", &half, nil, true, "temperature", 0},
		{"claude-sonnet-4-6", &one, nil, true, "", 0},
		{"claude-sonnet-4-6", nil, &half, true, "top_p", 0},
		{"claude-sonnet-4-6", nil, &edge, true, "", 1},
		{"claude-sonnet-4-6", &half, &edge, false, "top_p", 0},
		{"claude-sonnet-4-6", &half, &one, false, "", 1},
		{"claude-3-7-sonnet-latest", &half, &edge, false, "", 2},
		{"claude-3-7-sonnet-latest", &half, nil, true, "temperature", 0},
		{"somebody-else", &half, &half, false, "", 2},
	} {
		req := model.Request{Model: c.model, Temperature: c.temperature, TopP: c.topP}
		temperature, topP, err := claude.Sampling(req, claude.VersionOf(c.model), c.thinks)
		if c.refused != "" {
			if err == nil || err.Code != model.CodeInvalid || err.Param != c.refused {
				t.Errorf("%s %v %v: %v, want %s refused", c.model, c.temperature, c.topP, err, c.refused)
			}
			continue
		}
		sends := 0
		for _, n := range []*float64{temperature, topP} {
			if n != nil {
				sends++
			}
		}
		if err != nil || sends != c.sends {
			t.Errorf("%s: %v, sends %d, want %d", c.model, err, sends, c.sends)
		}
	}
}

func TestPrefill(t *testing.T) {
	begun := func(status stead.ItemStatus) []stead.Item {
		return []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleAssistant, Status: status}}
	}
	for _, c := range []struct {
		model   string
		status  stead.ItemStatus
		thinks  bool
		refused bool
		more    bool
	}{
		{"claude-sonnet-4-5", "", false, false, false},
		{"claude-sonnet-4-5", "", true, true, false},
		{"claude-sonnet-4-6", "", false, true, false},
		{"claude-sonnet-4-6", stead.ItemIncomplete, false, false, true},
		{"somebody-else", "", false, false, false},
	} {
		more, err := claude.Prefill(model.Request{Model: c.model, Items: begun(c.status)}, claude.VersionOf(c.model), c.thinks)
		if (err != nil) != c.refused || (more != "") != c.more {
			t.Errorf("%+v: %q, %v", c, more, err)
		}
	}
}
