package egress

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// head is a request as the inside wrote it: the fields in their order and case.
type head struct {
	method string
	target string
	minor  int // HTTP/1.minor
	fields []field
}

type field struct{ name, value string }

// errHeadTooLong: the head has more than MaxHeadBytes.
var errHeadTooLong = errors.New("the request head is too long")

// readHead reads up to the empty line, which is included. io.EOF: not a byte came.
func readHead(r *bufio.Reader) ([]byte, error) {
	var raw []byte
	for {
		line, err := r.ReadSlice('\n')
		if len(raw)+len(line) > MaxHeadBytes {
			return nil, errHeadTooLong
		}
		raw = append(raw, line...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(raw) > 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(raw) == 2 || bytes.HasSuffix(raw, []byte("\n\r\n")) || bytes.HasSuffix(raw, []byte("\n\n")) {
			return raw, nil
		}
	}
}

// parseHead reads a request head strictly (RFC 9112): whatever two parsers might read differently is
// refused. Every line ends with CR LF; no field is folded; no white space stands before a colon; names
// are tokens; values hold no control character but the tab.
func parseHead(raw []byte) (*head, *refusal) {
	text, ok := strings.CutSuffix(string(raw), "\r\n\r\n")
	if !ok {
		return nil, malformed("a line of the request does not end with CR LF")
	}
	lines := strings.Split(text, "\r\n")
	if len(lines)-1 > MaxFields {
		return nil, &refusal{status: http.StatusRequestHeaderFieldsTooLarge, rule: RuleRequest, reason: "the request has too many header fields"}
	}
	h := &head{}
	if no := h.parseLine(lines[0]); no != nil {
		return nil, no
	}
	for _, line := range lines[1:] {
		f, no := parseField(line)
		if no != nil {
			return nil, no
		}
		h.fields = append(h.fields, f)
	}
	return h, nil
}

func (h *head) parseLine(line string) *refusal {
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !isToken(parts[0]) || len(parts[0]) > 32 || parts[1] == "" {
		return malformed("the request line is malformed")
	}
	for i := range len(parts[1]) {
		if c := parts[1][i]; c <= ' ' || c >= 0x7f {
			return malformed("the request target has a character that must be percent-encoded")
		}
	}
	switch parts[2] {
	case "HTTP/1.1":
		h.minor = 1
	case "HTTP/1.0":
	default:
		return &refusal{status: http.StatusHTTPVersionNotSupported, rule: RuleRequest, reason: "only HTTP/1.1 and HTTP/1.0 are spoken here"}
	}
	h.method, h.target = parts[0], parts[1]
	return nil
}

func parseField(line string) (field, *refusal) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) { // folding and a space before the colon end here too
		return field{}, malformed("a header field is malformed")
	}
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return field{}, malformed("the header field %.40q has a control character", name)
		}
	}
	return field{name, value}, nil
}

func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}

// values returns all values of a field.
func (h *head) values(name string) []string {
	var out []string
	for _, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			out = append(out, f.value)
		}
	}
	return out
}

// drop removes a field.
func (h *head) drop(names ...string) {
	h.fields = slices.DeleteFunc(h.fields, func(f field) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.name) })
	})
}

// lists reports whether a comma-separated field has a member, in any case.
func (h *head) lists(name, member string) bool {
	return slices.Contains(members(h.values(name)), member)
}

func members(values []string) []string {
	var out []string
	for _, v := range values {
		for m := range strings.SplitSeq(v, ",") {
			if m = strings.ToLower(strings.Trim(m, " \t")); m != "" {
				out = append(out, m)
			}
		}
	}
	return out
}

// keeps reports whether the client wants the connection kept.
func (h *head) keeps() bool {
	connection := append(members(h.values("Connection")), members(h.values("Proxy-Connection"))...)
	if slices.Contains(connection, "close") {
		return false
	}
	return h.minor == 1 || slices.Contains(connection, "keep-alive")
}

// upgrades returns the protocol that the connection is to be upgraded to; only WebSocket passes.
func (h *head) upgrades() bool {
	return h.minor == 1 && h.lists("Connection", "upgrade") && slices.Equal(members(h.values("Upgrade")), []string{"websocket"})
}

// framing is how a body ends.
type framing struct {
	chunked bool
	length  int64 // when it is not chunked
}

func (f framing) none() bool { return !f.chunked && f.length == 0 }

// framing says how the request's body ends. One of two fields says so, once, in its plainest form:
// all else is how requests are smuggled (RFC 9112, section 6.3).
func (h *head) framing() (framing, *refusal) {
	lengths, codings := h.values("Content-Length"), h.values("Transfer-Encoding")
	switch {
	case len(lengths)+len(codings) == 0:
		return framing{}, nil
	case len(lengths)+len(codings) > 1:
		return framing{}, malformed("the request says more than once how long its body is")
	case len(codings) == 1:
		if h.minor == 0 || !strings.EqualFold(codings[0], "chunked") {
			return framing{}, malformed("the only transfer coding is chunked, in HTTP/1.1")
		}
		return framing{chunked: true}, nil
	}
	s := lengths[0]
	if s == "" || len(s) > 18 || strings.Trim(s, "0123456789") != "" {
		return framing{}, malformed("the content length %.40q is no number", s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return framing{}, malformed("the content length %.40q is no number", s)
	}
	return framing{length: n}, nil
}

// site is where requests go.
type site struct {
	host host
	port uint16
	tls  bool
}

func (s site) usual() uint16 {
	if s.tls {
		return 443
	}
	return 80
}

func (s site) authority() string { return s.host.authority(s.port, s.usual()) }

// proxied reads an absolute-form target: the site, and what is asked of it.
func (h *head) proxied() (site, string, *refusal) {
	scheme, rest, ok := strings.Cut(h.target, "://")
	if !ok {
		return site{}, "", malformed("this is an egress proxy: ask with a whole URL (GET http://host/path), or CONNECT host:443")
	}
	if !strings.EqualFold(scheme, "http") {
		return site{}, "", malformed("the scheme %.20q is not spoken here: for https use CONNECT, as clients do when https_proxy is set", scheme)
	}
	name, path := rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		name, path = rest[:i], rest[i:]
		if path[0] == '?' {
			path = "/" + path
		}
	} else if h.method == http.MethodOptions {
		path = "*"
	}
	if strings.Contains(h.target, "#") {
		return site{}, "", malformed("a request target has no fragment")
	}
	if strings.Contains(name, "@") {
		return site{}, "", malformed("the URL holds a user name: send it in an Authorization field")
	}
	host, port, err := parseAuthority(name, 80)
	if err != nil {
		return site{}, "", badTarget(err)
	}
	s := site{host: host, port: port}
	return s, path, h.sameHost(s, h.minor == 1)
}

// connect reads the authority-form target of a CONNECT, which alone decides. Its Host field is not held
// against it: it goes nowhere, and Node's http.request writes the proxy's own name there.
func (h *head) connect() (site, *refusal) {
	host, port, err := parseAuthority(h.target, 0)
	if err != nil {
		return site{}, badTarget(err)
	}
	s := site{host: host, port: port, tls: port == 443}
	if f, no := h.framing(); no != nil || !f.none() {
		return s, malformed("a CONNECT has no body")
	}
	if len(h.values("Host")) > 1 {
		return s, malformed("the request has more than one Host field")
	}
	return s, nil
}

// origin reads an origin-form target, of a request in a tunnel to a known site.
func (h *head) origin(s site) (string, *refusal) {
	if h.method == http.MethodConnect {
		return "", malformed("no CONNECT inside a CONNECT")
	}
	if h.target != "*" && h.target[0] != '/' || h.target == "*" && h.method != http.MethodOptions || strings.Contains(h.target, "#") {
		return "", malformed("inside a tunnel the request target is a path")
	}
	return h.target, h.sameHost(s, true)
}

// sameHost refuses domain fronting: a Host field that names another host than the one decided on.
func (h *head) sameHost(s site, required bool) *refusal {
	hosts := h.values("Host")
	if len(hosts) == 0 && !required {
		return nil
	}
	if len(hosts) != 1 {
		return malformed("the request has %d Host fields, not one", len(hosts))
	}
	host, port, err := parseAuthority(hosts[0], s.usual())
	if err != nil {
		return badTarget(err)
	}
	if host != s.host || port != s.port {
		return refuse(RuleHost, "the Host field names %.80q, and the connection is for %.80q", hosts[0], s.authority())
	}
	return nil
}

// hopByHop are fields for the next hop alone (RFC 9110, section 7.6.1), and those that the proxy
// writes itself. Expect is among them: the proxy answers it.
func hopByHop() []string {
	return []string{
		"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
		"Transfer-Encoding", "Upgrade", "HTTP2-Settings", "Content-Length", "Host", "Expect",
	}
}
