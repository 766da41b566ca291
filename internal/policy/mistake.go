package policy

import (
	"fmt"
	"strings"
)

// Mistake is one in a text of policies.
type Mistake struct {
	Source string `json:"source,omitempty"` // the file or the set
	// Line and Column say where it is, from 1: what is wrong where its name is found, else the policy.
	Line    int      `json:"line"`
	Column  int      `json:"column"`
	Policy  string   `json:"policy,omitempty"` // its @id, or its file and number; "" where the text can't be read
	Problem string   `json:"problem"`
	Near    []string `json:"near,omitempty"` // names that there are, and that may have been meant
}

// String is the mistake in a line.
func (m Mistake) String() string {
	var b strings.Builder
	b.WriteString(m.Source)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d", m.Line)
	}
	b.WriteString(": ")
	if m.Policy != "" {
		b.WriteString("policy " + m.Policy + ": ")
	}
	b.WriteString(m.Problem)
	if len(m.Near) > 0 {
		b.WriteString("; there is " + strings.Join(m.Near, ", "))
	}
	return b.String()
}

// Mistakes are all of a text. As the cause of an error they go to whoever sent the text.
type Mistakes []Mistake

// Error implements error.
func (m Mistakes) Error() string { return fmt.Sprintf("mistakes: %d", len(m)) }

// Lines are the mistakes, a line each.
func (m Mistakes) Lines() string {
	out := make([]string, len(m))
	for i, x := range m {
		out[i] = x.String()
	}
	return strings.Join(out, "\n")
}
