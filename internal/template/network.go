package template

import (
	"errors"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/param"
)

func (d *decoder) network() error {
	o, ok, err := d.o.Object("network")
	if !ok || err != nil {
		return err
	}
	if err := only(o, "network", []string{"access", "allowed_domains", "blocked_domains"}); err != nil {
		return err
	}
	access, err := param.Need(o.Enum("access", string(AccessEnabled), string(AccessDisabled), string(AccessRestricted)))(o.Path("access"))
	if err != nil {
		return err
	}
	n := &Network{Access: Access(access)}
	if n.Allowed, err = domains(o, "allowed_domains"); err != nil {
		return err
	}
	if n.Blocked, err = domains(o, "blocked_domains"); err != nil {
		return err
	}
	d.c.Network = n
	return inNetwork(d.o.Path("network"), n.policy().Validate())
}

// domains reads a list of names, in lower case and each once: never nil.
func domains(o param.Object, name string) ([]string, error) {
	list, _, err := o.Strings(name)
	if err != nil {
		return nil, err
	}
	if len(list) > MaxDomains {
		return nil, tooMany(o.Path(name), len(list), MaxDomains)
	}
	out := make([]string, 0, len(list))
	for i, s := range list {
		if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			at := param.Index(o.Path(name), i)
			return nil, stead.Invalid(at, "%s must be a domain name, not %.100q: international names are written as xn--…", at, s)
		}
		out = append(out, strings.ToLower(s))
	}
	return out, nil
}

// policy is the network in the words of what enforces it, which owns the rules.
func (n Network) policy() egress.Policy {
	return egress.Policy{Access: egress.Access(n.Access), Allowed: n.Allowed, Blocked: n.Blocked}
}

// narrow is the network n under a wider one, which it may not exceed: see egress.Narrow.
func (n Network) narrow(wide Network) (*Network, error) {
	p, err := egress.Narrow(wide.policy(), n.policy())
	if err != nil {
		return nil, err
	}
	return &Network{Access(p.Access), append([]string{}, p.Allowed...), append([]string{}, p.Blocked...)}, nil
}

// inNetwork puts the path of the network in front of what egress calls "network".
func inNetwork(path string, err error) error {
	e, ok := errors.AsType[*stead.Error](err)
	if !ok {
		return err
	}
	named := *e
	named.Param = path + strings.TrimPrefix(e.Param, "network")
	named.Message = named.Param + ": " + e.Message
	return &named
}
