package server

import (
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// TestAKeyIsWhatWasAskedFor: a field that is passed over would leave a key unbound, or for ever.
func TestAKeyIsWhatWasAskedFor(t *testing.T) {
	for body, field := range map[string]string{
		`{"role":"agent","bound":true,"expires_after_seconds":60,"principal":{"kind":"user","id":"ada"}}`: "",
		`{"role":"agent","Bound":true}`:                                             "Bound",
		`{"role":"agent","expires_in":60}`:                                          "expires_in",
		`{"role":"agent","principal":{"kind":"user","id":"ada","project":"other"}}`: "principal.project",
	} {
		o, err := param.Body([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		_, err = keyParams(o)
		if e, _ := err.(*stead.Error); field == "" && err != nil || field != "" && (e == nil || e.Param != field) {
			t.Errorf("%s: %v", body, err)
		}
	}
}
