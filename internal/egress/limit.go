package egress

import (
	"fmt"
	"time"

	"github.com/stead-dev/stead"
)

// Limits of one environment's way out. Zero fields mean the defaults below. They are those of one proxy, and an
// environment has a new one whenever it is opened: what it sent before it was suspended does not count.
type Limits struct {
	UpBytes        int64 `json:"up_bytes,omitempty"`         // that may leave in all, in the proxy's life
	DownBytes      int64 `json:"down_bytes,omitempty"`       // that may arrive in all, in the proxy's life
	BytesPerSecond int64 `json:"bytes_per_second,omitempty"` // each way; it may run ahead by a second
	Connections    int   `json:"connections,omitempty"`      // of the inside at once
	PerMinute      int   `json:"per_minute,omitempty"`       // decisions: tunnels, requests and dials
}

// The defaults of Limits.
const (
	DefaultUpBytes        = 10 << 30
	DefaultDownBytes      = 50 << 30
	DefaultBytesPerSecond = 128 << 20
	DefaultConnections    = 256
	DefaultPerMinute      = 3000
)

// The most that Limits may say.
const (
	MaxBytes       = 1 << 50
	MaxConnections = 4096
	MaxPerMinute   = 1_000_000
)

func (l Limits) orDefault() Limits {
	set(&l.UpBytes, DefaultUpBytes)
	set(&l.DownBytes, DefaultDownBytes)
	set(&l.BytesPerSecond, DefaultBytesPerSecond)
	set(&l.Connections, DefaultConnections)
	set(&l.PerMinute, DefaultPerMinute)
	return l
}

func (l Limits) check() error {
	for _, f := range []struct {
		name                 string
		value, max, standard int64
	}{
		{"up_bytes", l.UpBytes, MaxBytes, DefaultUpBytes}, {"down_bytes", l.DownBytes, MaxBytes, DefaultDownBytes},
		{"bytes_per_second", l.BytesPerSecond, MaxBytes, DefaultBytesPerSecond},
		{"connections", int64(l.Connections), MaxConnections, DefaultConnections},
		{"per_minute", int64(l.PerMinute), MaxPerMinute, DefaultPerMinute},
	} {
		if f.value < 0 || f.value > f.max {
			e := stead.Invalid(RuleLimits+"."+f.name, "%d is not between 0 and %d", f.value, f.max)
			e.Hint = fmt.Sprintf("Leave it out, or write 0, for the default of %d.", f.standard)
			return e
		}
	}
	return nil
}

// narrow is the lower of each.
func (l Limits) narrow(child Limits) Limits {
	l, child = l.orDefault(), child.orDefault()
	return Limits{
		UpBytes: min(l.UpBytes, child.UpBytes), DownBytes: min(l.DownBytes, child.DownBytes),
		BytesPerSecond: min(l.BytesPerSecond, child.BytesPerSecond),
		Connections:    min(l.Connections, child.Connections), PerMinute: min(l.PerMinute, child.PerMinute),
	}
}

// Timeouts of connections. Zero fields mean the defaults below.
type Timeouts struct {
	Head     time.Duration // for a whole request head, a ClientHello, a TLS handshake
	KeptIdle time.Duration // between two requests of one connection
	Dial     time.Duration // to resolve a name, to connect, and to verify TLS, each
	Answer   time.Duration // until the head of an answer comes
	Idle     time.Duration // without a byte: of a body one way, of a tunnel either way
	Write    time.Duration // that one write may stand still
	Total    time.Duration // of one connection of the inside
	Record   time.Duration // that the recorder may take
	Secret   time.Duration // that opening a credential may take
	Fold     time.Duration // in which refusals of a kind are told together
}

// The defaults of Timeouts.
const (
	DefaultHeadTime     = 30 * time.Second
	DefaultKeptIdleTime = 2 * time.Minute
	DefaultDialTime     = 20 * time.Second
	DefaultAnswerTime   = 15 * time.Minute // models think
	DefaultIdleTime     = 15 * time.Minute
	DefaultWriteTime    = time.Minute
	DefaultTotalTime    = 24 * time.Hour
	DefaultRecordTime   = 10 * time.Second
	DefaultSecretTime   = 10 * time.Second
	DefaultFoldTime     = time.Minute
)

func (t Timeouts) orDefault() Timeouts {
	set(&t.Head, DefaultHeadTime)
	set(&t.KeptIdle, DefaultKeptIdleTime)
	set(&t.Dial, DefaultDialTime)
	set(&t.Answer, DefaultAnswerTime)
	set(&t.Idle, DefaultIdleTime)
	set(&t.Write, DefaultWriteTime)
	set(&t.Total, DefaultTotalTime)
	set(&t.Record, DefaultRecordTime)
	set(&t.Secret, DefaultSecretTime)
	set(&t.Fold, DefaultFoldTime)
	return t
}

// Limits that are the same for all. Together they bound the memory of one connection to about
// 300 KiB: two heads, two copying buffers, two TLS connections.
const (
	// MaxHeadBytes is the longest head of a request, its request line and all fields.
	MaxHeadBytes = 64 << 10
	// MaxFields is the most fields of a request.
	MaxFields = 200
	// MaxAnswerHeadBytes is the longest head of an answer.
	MaxAnswerHeadBytes = 128 << 10
	// MaxHelloBytes is the longest ClientHello; those with post-quantum keys have about 2,000 bytes.
	MaxHelloBytes = 16 << 10
	// MaxChunkLineBytes is the longest line of a chunk's size, and of all trailers together.
	MaxChunkLineBytes = 4 << 10
	// MaxInterimAnswers is the most 1xx answers before the final one.
	MaxInterimAnswers = 16

	// MaxPatterns is the most entries of each list of a Policy, and of a credential's hosts.
	MaxPatterns = 512
	// MaxCredentials is the most credentials of one proxy.
	MaxCredentials = 64
	// MinSecretBytes is the shortest secret: masking a shorter one would damage innocent answers.
	MinSecretBytes = 8
	// MaxSecretBytes is the longest secret.
	MaxSecretBytes = 16 << 10
	// MinPlaceholderBytes is the shortest placeholder, so that none stands anywhere by chance.
	MinPlaceholderBytes = 16
	// MaxPlaceholderBytes is the longest placeholder.
	MaxPlaceholderBytes = 256
	// MaxKeptSecrets is how many values of one credential are looked for in answers: the newest.
	MaxKeptSecrets = 4

	// MaxAddresses is how many of a name's addresses are tried.
	MaxAddresses = 4
	// MaxPathBytes is how much of a path a record holds.
	MaxPathBytes = 1 << 10
	// MaxQueryBytes is how much of a query whoever is asked about a request is shown.
	MaxQueryBytes = 4 << 10
	// MaxRefusedKinds is how many kinds of refusal (rule, host, port) have records of their own within Timeouts.Fold.
	MaxRefusedKinds = 32
	// MaxShownRules is how many allowed patterns a refusal lists.
	MaxShownRules = 50

	copyBytes      = 32 << 10
	readerBytes    = 8 << 10
	refusersAtOnce = 16 // connections above Limits.Connections that are told so; more are closed
	acceptPause    = 50 * time.Millisecond
	secretsAge     = time.Second // how old what is known of the secrets may be when an answer is searched
	interfacesTime = 10 * time.Second
)

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
