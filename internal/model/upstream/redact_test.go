package upstream_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// pieces reads a text in pieces of random sizes.
type pieces struct {
	rest []byte
	rnd  *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+p.rnd.IntN(9))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// However a body is cut into reads, no form of a secret passes, and everything else does.
func TestGuard(t *testing.T) {
	const key = `aab/+key"&<aab`
	c := upstream.New(upstream.Config{Secrets: []string{key, "abc", ""}}) // abc is too short to be one
	quoted, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	inner := string(quoted[1 : len(quoted)-1])
	forms := []string{key, inner, url.QueryEscape(key), strings.ReplaceAll(inner, "/", `\/`)}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var in, want bytes.Buffer
		for range 20 {
			if rnd.IntN(3) == 0 {
				in.WriteString(forms[rnd.IntN(4)])
				want.WriteString("[redacted]")
				continue
			}
			text := []string{"a", "aab", "aab/", "abc ", "data: x\n\n", key[:7] + "."}[rnd.IntN(6)]
			in.WriteString(text)
			want.WriteString(text)
		}
		got, err := io.ReadAll(c.Guard(io.NopCloser(&pieces{in.Bytes(), rnd})))
		if err != nil || string(got) != want.String() {
			t.Fatalf("seed %d: %q\ngot  %q\nwant %q, %v", seed, in.String(), got, want.String(), err)
		}
	}
	for _, f := range forms {
		if c.Redact("x"+f+"y") != "x[redacted]y" {
			t.Errorf("%q passes as %q", f, c.Redact("x"+f+"y"))
		}
	}
}

// A body that holds no secret is not held back, and its end and errors are its own.
func TestGuardHoldsNothingBack(t *testing.T) {
	c := upstream.New(upstream.Config{Secrets: []string{"secret"}})
	r, w := io.Pipe()
	g := c.Guard(r)
	go func() { _, _ = io.WriteString(w, "data: one\n\n") }()
	buf := make([]byte, 64)
	if n, err := g.Read(buf); string(buf[:n]) != "data: one\n\n" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
	w.CloseWithError(io.ErrUnexpectedEOF)
	if _, err := g.Read(buf); err != io.ErrUnexpectedEOF {
		t.Errorf("%v", err)
	}
	if err := iotest.TestReader(c.Guard(io.NopCloser(strings.NewReader("all of it is sec"))), []byte("all of it is sec")); err != nil {
		t.Error(err)
	}
}

// An upstream may quote the key as it was sent, or in a way of its own.
func TestErrorsHideSecretsHoweverTheyAreWritten(t *testing.T) {
	const key = "sk-Secret/1234+567890"
	c := upstream.New(upstream.Config{Secrets: []string{key, "no"}})
	forms := map[string]string{
		"plain": key, "upper": strings.ToUpper(key), "url": url.QueryEscape(key), "some escaped": "sk-%53ecret%2f1234%2B567890",
		"base64": base64.StdEncoding.EncodeToString([]byte(key)), "raw": base64.RawURLEncoding.EncodeToString([]byte(key)),
	}
	for _, user := range []string{"", "u", "us", "use", "somebody"} {
		forms["Basic of "+user] = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+key))
	}
	forms["Basic of the key as the user"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"))
	for _, r := range key {
		forms["hex"] += fmt.Sprintf("%%%02X", r)
		forms["unicode"] += fmt.Sprintf(`\u%04x`, r)
	}
	for name, form := range forms {
		got := c.Clean(&model.Error{Message: "no " + form + " here, short", Err: errors.New(form)})
		if !strings.HasPrefix(got.Message, "no ") || !strings.HasSuffix(got.Message, "[redacted]"+" here, short") || len(got.Message) > len("no Basic "+"[redacted]"+" here, short") || strings.Contains(got.Err.Error(), form) {
			t.Errorf("%s: %q, %q", name, got.Message, got.Err)
		}
	}
	const plain = "the model gpt-5.1 costs 100%25 of c2stU2VjcmV0"
	if got := c.Clean(&model.Error{Message: plain}); got.Message != plain {
		t.Errorf("%q", got.Message)
	}
}
