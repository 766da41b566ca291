package egress

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// refusal is a no, with what the inside may know of it.
type refusal struct {
	status  int
	rule    string        // one of the Rule constants, or a limit's name
	reason  string        // a sentence for the inside, without its full stop
	detail  string        // for the record and the operator alone: may name addresses
	retry   time.Duration // for a limit
	allowed []string      // patterns that would be allowed
	limited bool          // by a limit
	flood   bool          // counted by its rule alone: any host may be in it, or none
	cause   error         // of Config.Ask
}

// refuse makes a refusal by policy.
func refuse(rule, format string, args ...any) *refusal {
	return &refusal{status: http.StatusForbidden, rule: rule, reason: fmt.Sprintf(format, args...)}
}

// malformed refuses what is no request.
func malformed(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, rule: RuleRequest, reason: fmt.Sprintf(format, args...)}
}

// outside is a failure of the other end: no refusal, but no answer either.
func outside(status int, cause error, format string, args ...any) *refusal {
	out := &refusal{status: status, rule: RuleOutside, reason: fmt.Sprintf(format, args...)}
	if cause != nil {
		out.detail = cause.Error()
	}
	return out
}

// badTarget turns an error about a host into a refusal.
func badTarget(err error) *refusal {
	return &refusal{status: http.StatusForbidden, rule: RuleHost, reason: err.Error()}
}

// body is what the inside reads. Agents read it too: it says what was refused, by which rule, and
// what would be allowed.
func (r *refusal) body() []byte {
	type inner struct {
		Type    string   `json:"type"`
		Rule    string   `json:"rule"`
		Message string   `json:"message"`
		Hint    string   `json:"hint,omitempty"`
		Allowed []string `json:"allowed_domains,omitempty"`
	}
	out, err := json.Marshal(struct {
		Error inner `json:"error"`
	}{inner{r.kind(), r.rule, "Stead's egress proxy: " + r.reason + ".", r.hint(), r.allowed}})
	if err != nil {
		return []byte("{}\n") // strings always encode
	}
	return append(out, '\n')
}

func (r *refusal) kind() string {
	switch {
	case r.limited:
		return "egress_limited"
	case r.status == http.StatusForbidden:
		return "egress_refused"
	case r.status < 500:
		return "egress_bad_request"
	}
	return "egress_failed"
}

func (r *refusal) hint() string {
	switch {
	case r.limited && r.retry > 0:
		return "Wait as long as Retry-After says, then try again."
	case r.limited:
		return "This limit holds until the environment is suspended: trying again before that does not help."
	case r.status == http.StatusForbidden:
		return "The network policy of this environment decides this: trying again or another spelling does not help. Use an allowed domain, or ask for the policy to be changed."
	}
	return ""
}

// answer is the whole HTTP response.
func (r *refusal) answer(head bool) []byte {
	body := r.body()
	var b strings.Builder
	// Clients that show no body of a refused CONNECT show these words.
	fmt.Fprintf(&b, "HTTP/1.1 %d %s (%s)\r\n", r.status, http.StatusText(r.status), r.rule)
	fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	fmt.Fprintf(&b, "Proxy-Status: stead; error=%s; details=%q\r\n", r.proxyError(), r.rule)
	if r.retry > 0 {
		fmt.Fprintf(&b, "Retry-After: %s\r\n", strconv.Itoa(int((r.retry+time.Second-1)/time.Second)))
	}
	b.WriteString("Connection: close\r\n\r\n")
	if !head {
		b.Write(body)
	}
	return []byte(b.String())
}

// proxyError is a name of RFC 9209, section 2.3. A name without address and a name with addresses
// that may not be reached have the same.
func (r *refusal) proxyError() string {
	switch {
	case r.status == http.StatusGatewayTimeout:
		return "connection_timeout"
	case r.status == http.StatusBadGateway:
		return "destination_unavailable"
	case r.status == http.StatusServiceUnavailable:
		return "proxy_internal_error"
	case r.status == http.StatusBadRequest:
		return "http_request_error"
	}
	return "http_request_denied"
}

// err is the refusal for callers inside the server.
func (r *refusal) err() error {
	kind := stead.KindForbidden
	switch {
	case r.limited:
		kind = stead.KindLimited
	case r.status == http.StatusBadRequest, r.rule == RuleHost:
		kind = stead.KindInvalid
	case r.status >= 500:
		kind = stead.KindUnavailable
	}
	out := &stead.Error{Kind: kind, Param: r.rule, Message: r.reason, Hint: r.hint(), RetryAfter: r.retry}
	if r.detail != "" {
		out.Err = fmt.Errorf("%s", r.detail)
	}
	return out
}
