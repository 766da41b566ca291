package host

import (
	"fmt"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/template"
)

// Able says whether this node's driver can do what an environment asks for, so that nobody learns from
// his first command that it can't. It is asked when an environment is created, with the template's part
// of it, and again when one is prepared or opened: another node, with another driver, may have created
// it. KindInvalid names the field and the driver.
func (h *Host) Able(c template.Config) error {
	r := h.cfg.Report
	if c.Type != template.TypeHosted || r == nil {
		return nil
	}
	switch e := c.Effective(); {
	case wayOut(e.Network) && !r.Egress:
		return unable(c, r, "network", fmt.Sprintf("access %q", e.Network.Access), "has no way out that follows a policy",
			`Send {"access": "disabled"}`)
	case len(c.SetupScript().Steps) > 0 && !r.Enforced(environment.ControlLayers):
		field := "setup_commands"
		if len(e.Setup) == 0 {
			field = "packages"
		}
		return unable(c, r, field, "what is to be installed", "can't install anything into an environment", "Leave "+field+" out")
	}
	return nil
}

func unable(c template.Config, r *environment.Report, field, asked, lacks, instead string) error {
	from := ""
	if c.TemplateID != "" {
		from = fmt.Sprintf(" (template %.80s counts too)", c.TemplateID)
	}
	e := stead.Invalid("environment."+field, "environment.%s asks for %s%s, and the driver of this server's environments, %s, %s", field, asked, from, r.Driver, lacks)
	e.Hint = instead + ", or have the operator choose another driver (environments.driver): stead doctor says what each can do on his machine."
	return e
}

// wayOut reports whether a network policy lets anything through.
func wayOut(n *template.Network) bool {
	if n == nil || n.Access == template.AccessDisabled {
		return false
	}
	return n.Access != template.AccessRestricted || len(n.Allowed)+len(n.Blocked) > 0
}

// policyOf is an environment's way out: its own rules and the operator's.
func (h *Host) policyOf(n *template.Network) egress.Policy {
	return egress.Policy{
		Access: egress.Access(n.Access), Allowed: n.Allowed, Blocked: n.Blocked,
		Private: h.cfg.Egress.Private, Limits: h.cfg.Egress.Limits,
	}
}
