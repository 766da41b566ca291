package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

func TestAuditStreamsThatAreNone(t *testing.T) {
	for text, param := range map[string]string{
		"{name: SIEM, url: 'https://x/y'}":                                                           "audit.streams[0].name",
		"{name: a, url: 'ftp://x/y'}":                                                                "audit.streams[0].url",
		"{name: a, url: 'https://user:pass@x/y'}":                                                    "audit.streams[0].url",
		"{name: a, url: 'syslog+tls://host'}":                                                        "audit.streams[0].url",
		"{name: a, url: 'syslog+tcp://host:601/path'}":                                               "audit.streams[0].url",
		"{name: a, url: 'syslog+tcp://host:601', secret: x}":                                         "audit.streams[0].secret",
		"{name: a, url: 'https://x', format: cef}":                                                   "audit.streams[0].format",
		"{name: a, url: 'https://x', headers: {Webhook-Id: x}}":                                      "audit.streams[0].headers",
		`{name: a, url: 'https://x', headers: {X: "a\r\nb"}}`:                                        "audit.streams[0].headers",
		"{name: a, url: 'https://x', ca: nowhere.pem}":                                               "audit.streams[0].ca",
		"{name: a, url: 'https://x'}, {name: a, url: 'https://y'}":                                   "audit.streams[1].name",
		strings.TrimSuffix(strings.Repeat("{name: a, url: 'https://x'}, ", MaxAuditStreams+1), ", "): "audit.streams",
	} {
		file := filepath.Join(t.TempDir(), "stead.yaml")
		if err := os.WriteFile(file, []byte("audit:\n  streams: ["+text+"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Flags{File: file}, func(string) (string, bool) { return "", false })
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Param != param || strings.Contains(e.Message, "pass") {
			t.Errorf("%.80s: %v, want an error about %s", text, err, param)
		}
	}
}

func TestWhichReadsAreRecorded(t *testing.T) {
	for value, ok := range map[string]bool{"none": true, "content": true, "all": true, "true": false, "every": false} {
		file := filepath.Join(t.TempDir(), "stead.yaml")
		if err := os.WriteFile(file, []byte("audit: {reads: \""+value+"\"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Flags{File: file}, func(string) (string, bool) { return "", false })
		e, _ := errors.AsType[*stead.Error](err)
		if ok && (err != nil || c.Audit.Reads != value) || !ok && (e == nil || e.Param != "audit.reads") {
			t.Errorf("%s: %v", value, err)
		}
	}
}
