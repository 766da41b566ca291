package config

import "fmt"

// MaxApprovalWebhooks is the most webhooks about approvals of a server.
const MaxApprovalWebhooks = 16

// Approvals says who is told of requests for approval.
type Approvals struct {
	Webhooks []ApprovalWebhook `yaml:"webhooks"`
}

// ApprovalWebhook is told what becomes of requests for approval. Its name, or else its address, keeps its place.
type ApprovalWebhook struct {
	Name     string            `yaml:"name"` // "": made of the address
	URL      string            `yaml:"url"`
	Secret   string            `yaml:"secret"`   // signs
	Projects []string          `yaml:"projects"` // empty: all
	Headers  map[string]string `yaml:"headers"`
	CA       string            `yaml:"ca"` // file of certificates (PEM) that are believed in place of the machine's
}

func (c *Config) checkApprovals() error {
	if n := len(c.Approvals.Webhooks); n > MaxApprovalWebhooks {
		return invalid("approvals.webhooks", "Remove some.", "%d webhooks are more than the limit of %d", n, MaxApprovalWebhooks)
	}
	seen := map[string]bool{}
	for i, w := range c.Approvals.Webhooks {
		at := fmt.Sprintf("approvals.webhooks[%d]", i)
		if w.Name != "" && !namePattern().MatchString(w.Name) {
			return invalid(at+".name", "It has small letters, digits, - and _, at most 64.", "%s.name is %.80q", at, w.Name)
		}
		key := w.Name + " " + w.URL
		if w.Name != "" {
			key = w.Name
		}
		if seen[key] {
			return invalid(at+".name", "Give each a name of its own.", "two webhooks are the same one")
		}
		seen[key] = true
		as := AuditStream{URL: w.URL, Secret: w.Secret, Headers: w.Headers, CA: w.CA}
		if as.Syslog() {
			return invalid(at+".url", "It begins with https:// or http://.", "%s.url is no webhook", at)
		}
		if w.Secret == "" {
			return invalid(at+".secret", "Write one: receivers tell by it that they hear this server.", "%s.secret is missing", at)
		}
		if err := as.check(at); err != nil {
			return err
		}
	}
	return nil
}
