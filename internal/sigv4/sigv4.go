// Package sigv4 signs requests to AWS by Signature Version 4.
//
// Shape: Sign(request, body) sets X-Amz-Date, X-Amz-Security-Token for temporary keys, and Authorization.
//
// What is signed is the method, path, query, body, host, content type and AWS's own headers: those that no proxy may change.
// Errors: none; a wrong key is found out by AWS.
//
// Source: docs.aws.amazon.com/IAM, reference_sigv-create-signed-request, and its published test suite.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	scopeEnd   = "aws4_request"
	dateForm   = "20060102"
	amzForm    = "20060102T150405Z"
	headerDate = "X-Amz-Date"
	headerSTS  = "X-Amz-Security-Token"
)

// Signer signs with one key for one service of a region.
type Signer struct {
	Key, Secret     string
	Token           string // of temporary keys; "": none
	Region, Service string
	Now             func() time.Time
}

// Sign signs a request with this body.
func (s Signer) Sign(req *http.Request, body []byte) {
	now := s.Now().UTC()
	req.Header.Set(headerDate, now.Format(amzForm))
	if s.Token != "" {
		req.Header.Set(headerSTS, s.Token)
	}
	names, lines := canonicalHeaders(req)
	canonical := strings.Join([]string{req.Method, canonicalPath(req), canonicalQuery(req), lines, names, sum(body)}, "\n")
	scope := strings.Join([]string{now.Format(dateForm), s.Region, s.Service, scopeEnd}, "/")
	toSign := strings.Join([]string{algorithm, now.Format(amzForm), scope, sum([]byte(canonical))}, "\n")
	key := []byte("AWS4" + s.Secret)
	for _, part := range strings.Split(scope, "/") {
		key = mac(key, part)
	}
	req.Header.Set("Authorization", algorithm+" Credential="+s.Key+"/"+scope+", SignedHeaders="+names+
		", Signature="+hex.EncodeToString(mac(key, toSign)))
}

// canonicalHeaders are the names of what is signed, and its lines.
func canonicalHeaders(req *http.Request) (names, lines string) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	signed := map[string]string{"host": host}
	for name, values := range req.Header {
		name = strings.ToLower(name)
		if name == "content-type" || strings.HasPrefix(name, "x-amz-") {
			trimmed := make([]string, len(values))
			for i, v := range values {
				trimmed[i] = strings.Join(strings.Fields(v), " ")
			}
			signed[name] = strings.Join(trimmed, ",")
		}
	}
	order := slices.Sorted(maps.Keys(signed))
	var b strings.Builder
	for _, name := range order {
		b.WriteString(name + ":" + signed[name] + "\n")
	}
	return strings.Join(order, ";"), b.String()
}

// canonicalPath escapes the path once more than the request line has it, as every service but S3 wants.
func canonicalPath(req *http.Request) string {
	path := req.URL.EscapedPath()
	if path == "" {
		return "/"
	}
	segments := strings.Split(path, "/")
	for i := range segments {
		segments[i] = Escape(segments[i])
	}
	return strings.Join(segments, "/")
}

// canonicalQuery is sorted, by names and then by values.
func canonicalQuery(req *http.Request) string {
	var pairs []string
	for name, values := range req.URL.Query() {
		for _, v := range values {
			pairs = append(pairs, Escape(name)+"="+Escape(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// Escape leaves letters, digits and "-._~" alone, and nothing else (RFC 3986's unreserved characters):
// net/url keeps more.
func Escape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text)) // never fails
	return h.Sum(nil)
}
