package database

import (
	"net/url"
	"strings"

	"github.com/stead-dev/stead"
)

// busyTimeout is how long a reader of a SQLite file waits for a lock of a writer: milliseconds.
const busyTimeout = "5000"

// FileDSN is the address, as the driver reads it, of a SQLite file that is read and never written. name is what its errors call it.
func FileDSN(name, path string) (string, error) {
	if path == "" || strings.HasPrefix(path, "file:") || strings.ContainsRune(path, 0) {
		return "", stead.Invalid("dsn", "the database %s needs the path of a SQLite file", name)
	}
	values := url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)", "trusted_schema(0)", "busy_timeout(" + busyTimeout + ")"}}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: values.Encode()}).String(), nil
}
