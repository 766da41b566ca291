package stead

import (
	"cmp"
	"net"
	"net/url"
	"strings"
)

// HostPort is where a URL leads: HOST:PORT in lower case, without the dot that may end a name; "" of what is none.
func HostPort(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	return net.JoinHostPort(strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme]))
}
