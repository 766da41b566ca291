package config

// Guardrail checks texts on their way to and from agents. What its fields may say is package guardrail's to know.
type Guardrail struct {
	Name     string             `yaml:"name"`
	On       []string           `yaml:"on"` // input, output, tool_call, tool_result
	Check    GuardrailCheck     `yaml:"check"`
	Action   string             `yaml:"action"`   // block, redact or ask
	Scope    GuardrailScope     `yaml:"scope"`    // left out: everywhere
	Approval *GuardrailApproval `yaml:"approval"` // of ask; left out: that of one approver
	Reason   string             `yaml:"reason"`   // what people and models are told
}

// GuardrailCheck is what is looked for: exactly one of these.
type GuardrailCheck struct {
	PII        []string         `yaml:"pii"`
	Secrets    bool             `yaml:"secrets"`
	Patterns   []string         `yaml:"patterns"`
	Length     *GuardrailLength `yaml:"length"`
	JSONSchema map[string]any   `yaml:"json_schema"`
	Judge      *GuardrailJudge  `yaml:"judge"`
}

// GuardrailLength bounds a text, in characters.
type GuardrailLength struct {
	Min int `yaml:"min"`
	Max int `yaml:"max"` // 0: no bound
}

// GuardrailJudge is a model that is asked.
type GuardrailJudge struct {
	Model    string `yaml:"model"`
	Criteria string `yaml:"criteria"`
	Seconds  int    `yaml:"seconds"` // that it has; 0: ten
}

// GuardrailScope is where it holds; an empty list is everywhere, and names may end in *.
type GuardrailScope struct {
	Projects []string `yaml:"projects"`
	Agents   []string `yaml:"agents"`
	Models   []string `yaml:"models"`
	Tools    []string `yaml:"tools"` // "server/tool", or a function's name
}

// GuardrailApproval is whose approval a call takes.
type GuardrailApproval struct {
	Role           string `yaml:"role"`            // approver or owner; "": approver
	Count          int    `yaml:"count"`           // of so many different ones; 0: one
	ExpiresSeconds int    `yaml:"expires_seconds"` // then it is refused; 0: never
	Separate       bool   `yaml:"separate"`        // whom the session belongs to does not count
}

func (c *Config) checkGuardrails() error {
	for _, g := range c.Guardrails {
		if !namePattern().MatchString(g.Name) {
			return invalid("guardrails.name", "Names are small letters, digits, - and _, each once.", "a guardrail has the name %q", g.Name)
		}
		if j := g.Check.Judge; j != nil && j.Seconds < 0 {
			return invalid("guardrails.check.judge.seconds", "It counts whole seconds; 0 is the default.", "guardrail %s: seconds is %d", g.Name, j.Seconds)
		}
		if a := g.Approval; a != nil && (a.Count < 0 || a.ExpiresSeconds < 0) {
			return invalid("guardrails.approval", "count and expires_seconds are whole numbers; 0 is the default.", "guardrail %s: its approval can't be given", g.Name)
		}
	}
	return nil
}
