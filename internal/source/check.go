package source

import (
	"context"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// check refuses what no source can be, and sets what was left out.
func (s *Service) check(project stead.ProjectID, spec *Spec) error {
	reader := s.cfg.Readers[spec.Type]
	if reader == nil {
		return stead.Invalid("type", "type must be one of %q", s.types())
	}
	if utf8.RuneCountInString(spec.Name) > stead.MaxNameRunes {
		return stead.Invalid("name", "name must have at most %d characters", stead.MaxNameRunes)
	}
	if spec.Interval != 0 && (spec.Interval < MinInterval || spec.Interval > MaxInterval) {
		return stead.Invalid("interval_seconds", "interval_seconds must be from %d to %d, or 0: only when it is asked for", MinInterval, MaxInterval)
	}
	if spec.Path != "" && (path.Clean("/" + spec.Path)[1:] != strings.TrimSuffix(spec.Path, "/") || len(spec.Path) > MaxPathBytes) {
		return stead.Invalid("path", "path must be the path of a part of the source, such as docs/handbook")
	}
	spec.Path = strings.TrimSuffix(spec.Path, "/")
	for _, list := range []struct {
		field    string
		patterns []string
	}{{"include", spec.Include}, {"exclude", spec.Exclude}} {
		if err := checkPatterns(list.field, list.patterns); err != nil {
			return err
		}
	}
	if len(spec.Attributes) > MaxAttributes {
		return stead.Invalid("attributes", "attributes has %d entries, the limit is %d", len(spec.Attributes), MaxAttributes)
	}
	if err := vectorstore.CheckAttributes(spec.Attributes); err != nil {
		return err
	}
	if err := vectorstore.CheckPlan(&spec.Plan); err != nil {
		return err
	}
	if err := checkAccess(*spec); err != nil {
		return err
	}
	return reader.Check(project, *spec)
}

func checkAccess(spec Spec) error {
	if spec.AccessDefault != "" && spec.AccessDefault != AccessAllow && spec.AccessDefault != AccessDeny {
		return stead.Invalid("access_default", "access_default must be %q or %q", AccessAllow, AccessDeny)
	}
	return checkRules(spec.Access)
}

// reach asks whether somebody may have the server connect to the hosts of start pages that they name.
func (s *Service) reach(ctx context.Context, p stead.Principal, spec Spec) error {
	asked := map[string]bool{}
	for _, raw := range spec.URLs {
		to := stead.HostPort(raw)
		host, port, err := net.SplitHostPort(to)
		if err != nil || asked[to] || s.cfg.Policy == nil {
			continue // it was checked
		}
		n, _ := strconv.ParseUint(port, 10, 16) // 0 is no port that is connected to
		asked[to] = true
		req := policy.Request{Principal: p, Effect: policy.NetworkConnect, Resource: host, Destination: to, Connection: &policy.Connection{Port: uint16(n), Kind: "dial"}}
		if _, err := policy.Check(ctx, s.cfg.Policy, req); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) types() []string {
	var out []string
	for t := range s.cfg.Readers {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}

func checkPatterns(field string, patterns []string) error {
	if len(patterns) > MaxPatterns {
		return stead.Invalid(field, "%s has %d patterns, the limit is %d", field, len(patterns), MaxPatterns)
	}
	for i, p := range patterns {
		at := param.Index(field, i)
		if len(p) == 0 || len(p) > MaxPatternBytes {
			return stead.Invalid(at, "a pattern must have 1 to %d bytes", MaxPatternBytes)
		}
		if err := parsePattern(p).check(); err != nil {
			return stead.Invalid(at, "%.80q is no pattern: *, ?, [a-z] and ** for any directories are known", p)
		}
	}
	return nil
}

func checkRules(rules []Rule) error {
	if len(rules) > MaxRules {
		return stead.Invalid("access", "access has %d rules, the limit is %d", len(rules), MaxRules)
	}
	for i, r := range rules {
		at := param.Index("access", i)
		if len(r.Paths) == 0 {
			return stead.Invalid(at+".paths", "%s.paths is required", at)
		}
		if err := checkPatterns(at+".paths", r.Paths); err != nil {
			return err
		}
		if len(r.Labels) == 0 && !r.says() {
			return stead.Invalid(at, "%s says nothing: give labels, principals, roles or everyone", at)
		}
		if r.Everyone && len(r.Principals)+len(r.Roles) > 0 {
			return stead.Invalid(at+".everyone", "%s is for everyone, and names some: say either", at)
		}
		if len(r.Labels) > MaxLabels {
			return stead.Invalid(at+".labels", "%s.labels has more than %d entries", at, MaxLabels)
		}
		for _, l := range r.Labels {
			if n := utf8.RuneCountInString(l); n < 1 || n > MaxLabelRunes || strings.ContainsRune(l, 0) {
				return stead.Invalid(at+".labels", "a label must have 1 to %d characters", MaxLabelRunes)
			}
		}
		if len(r.Principals) > MaxReaders || len(r.Roles) > MaxReaders {
			return stead.Invalid(at, "a list of %s has more than %d entries", at, MaxReaders)
		}
		for _, p := range r.Principals {
			k, id, ok := strings.Cut(p, ":")
			if !ok || id == "" || k != string(stead.PrincipalUser) && k != string(stead.PrincipalService) {
				return stead.Invalid(at+".principals", `a principal is "user:ID" or "service:ID", not %.80q`, p)
			}
		}
		if slices.Contains(r.Roles, "") {
			return stead.Invalid(at+".roles", "a role of %s is empty", at)
		}
	}
	return nil
}
