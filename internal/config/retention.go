package config

import (
	"fmt"
	"time"
)

const (
	// MaxRetention is the most rules, and MaxRetentionDays the longest time of one.
	MaxRetention     = 256
	MaxRetentionDays = 36500
)

// Retention says how long a project keeps things, in days; 0: for ever.
type Retention struct {
	Project  string `yaml:"project"`  // "": every project that no other rule names
	Sessions int    `yaml:"sessions"` // days of rest; conversations and responses are sessions
	Files    int    `yaml:"files"`
	Memories int    `yaml:"memories"` // days without a change
	Audit    int    `yaml:"audit"`    // up to a checkpoint that old
}

// Days is a time of a rule.
func Days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

func (c *Config) checkRetention() error {
	if len(c.Retention) > MaxRetention {
		return invalid("retention", "Remove some.", "%d rules of retention are more than the limit of %d", len(c.Retention), MaxRetention)
	}
	seen := map[string]bool{}
	for i, r := range c.Retention {
		at := fmt.Sprintf("retention[%d]", i)
		if seen[r.Project] {
			return invalid(at+".project", "Give each project one rule.", "%s is the second rule of project %.80q", at, r.Project)
		}
		seen[r.Project] = true
		if r == (Retention{Project: r.Project}) {
			return invalid(at, "Give days of sessions, files, memories or audit.", "%s keeps everything", at)
		}
		for name, days := range map[string]int{"sessions": r.Sessions, "files": r.Files, "memories": r.Memories, "audit": r.Audit} {
			if days < 0 || days > MaxRetentionDays {
				return invalid(at+"."+name, fmt.Sprintf("It is 1 to %d; without it everything is kept.", MaxRetentionDays), "%s.%s is %d days", at, name, days)
			}
		}
	}
	return nil
}
