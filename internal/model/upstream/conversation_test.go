package upstream_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/model/upstream"
)

func TestDataURL(t *testing.T) {
	for in, want := range map[string]string{
		"data:image/png;base64,AA==":                "image/png AA==",
		"data:text/plain;charset=utf-8;base64,eA==": "text/plain eA==",
		"data:,a%20b":                     "text/plain YSBi",
		"data:text/csv;charset=utf-8,a,b": "text/csv YSxi",
		"https://example.com/a.png":       "elsewhere",
		"data:image/png;base64":           "refused",
		"data:image/png;base64,*":         "refused",
		"data:,%zz":                       "refused",
	} {
		mediaType, data, inline, err := upstream.DataURL(in)
		got := mediaType + " " + data
		switch {
		case err != nil:
			got = "refused"
		case !inline:
			got = "elsewhere"
		}
		if got != want {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
}
