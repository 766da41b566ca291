package redact_test

import (
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stead-dev/stead/internal/redact"
)

// In whatever way a secret is written, and however a body is cut into reads, the mark stands in its place. The
// bodies of model providers are cut at random in package upstream.
func TestFormsOfASecret(t *testing.T) {
	const secret = `sk/"<a&b>+=`
	forms := redact.Forms([]string{secret, "abc", ""}) // abc is too short to be one
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, written := range []string{secret, string(quoted[1 : len(quoted)-1]), url.QueryEscape(secret), url.PathEscape(secret), strings.ReplaceAll(secret, "/", `\/`)} {
		if written == `sk\/"<a&b>+=` {
			written = `sk\/\"<a&b>+=` // as PHP does in JSON
		}
		got, err := io.ReadAll(redact.Body(io.NopCloser(iotest.OneByteReader(strings.NewReader("abc "+written+" abc"))), forms))
		if want := "abc " + redact.Mark + " abc"; err != nil || string(got) != want || redact.Text("abc "+written+" abc", forms) != want {
			t.Errorf("%s: %s, %v", written, got, err)
		}
	}
}
