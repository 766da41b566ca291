package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/session"
)

// request is a decoded POST.
type request struct {
	param.Object
	raw         []byte // the body as it came
	key, digest string // idempotency, see journal.Input
	// labels are those of texts of ours that the request only names, which stand in it by now.
	labels stead.Labels
	memory *[]byte // of raw: see lend; nil: it is not lent
}

const idempotencyKey = "Idempotency-Key"

// ownKey makes a request's Idempotency-Key one of its caller's: of what others have done with the same words they learn nothing, and
// nobody takes a key from them. Everything behind the door sees no other. One that is too long stays, and is refused.
func ownKey(r *http.Request, p stead.Principal) {
	key := r.Header.Get(idempotencyKey)
	if key == "" || len(key) > stead.MaxIdempotencyKeyBytes {
		return
	}
	sum := sha256.New()
	for _, part := range []string{string(p.Kind), p.ID, key} {
		io.WriteString(sum, strconv.Itoa(len(part))+":"+part) //nolint:errcheck // a hash does not fail
	}
	r.Header.Set(idempotencyKey, hex.EncodeToString(sum.Sum(nil)))
}

// read takes the whole body, as one JSON object, and the idempotency key.
func read(w http.ResponseWriter, r *http.Request) (request, error) {
	key := r.Header.Get(idempotencyKey)
	if len(key) > stead.MaxIdempotencyKeyBytes {
		return request{}, stead.Invalid("Idempotency-Key", "the Idempotency-Key is longer than %d bytes", stead.MaxIdempotencyKeyBytes)
	}
	b, err := readBody(w, r, nil)
	if err != nil {
		return request{}, err
	}
	return request{raw: b, key: key}.whole(r)
}

// skim takes the whole body, which is lent to the call, and reads of it what is asked for: see param.Skim.
func (s *server) skim(w http.ResponseWriter, r *http.Request) (request, error) {
	key := r.Header.Get(idempotencyKey)
	if len(key) > stead.MaxIdempotencyKeyBytes {
		return request{}, stead.Invalid("Idempotency-Key", "the Idempotency-Key is longer than %d bytes", stead.MaxIdempotencyKeyBytes)
	}
	memory := s.lend(r.ContentLength)
	b, err := readBody(w, r, memory)
	if err != nil {
		return request{}, err
	}
	o, err := param.Skim(b)
	return request{Object: o, raw: b, key: key, memory: memory}, err
}

// whole reads all of a request.
func (req request) whole(r *http.Request) (request, error) {
	o, err := param.Body(req.raw)
	if err != nil {
		return request{}, err
	}
	sum := sha256.New()
	io.WriteString(sum, r.Method+" "+r.URL.Path+"\n") //nolint:errcheck // a hash does not fail
	sum.Write(req.raw)
	return request{o, req.raw, req.key, hex.EncodeToString(sum.Sum(nil)), req.labels, nil}, nil
}

// MaxHeldBodyBytes is how much the bodies have together of the requests that are worked on: each is in memory until
// its answer is whole, which of a forwarded stream takes as long as the stream.
const MaxHeldBodyBytes = 1 << 30

// maxAhead is the most memory that is taken for a body on the client's word alone.
const maxAhead = 1 << 20

// readBody reads a body, into the given memory if there is some that has room for it.
func readBody(w http.ResponseWriter, r *http.Request, memory *[]byte) ([]byte, error) {
	return readUpTo(w, r, memory, stead.MaxRequestBytes)
}

// MaxFormBytes is the longest form that is read of somebody who has not said who they are.
const MaxFormBytes = 64 << 10

// readForm reads the body of such a request: nobody can take the memory of others' bodies without a key.
func readForm(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return readUpTo(w, r, nil, MaxFormBytes)
}

func readUpTo(w http.ResponseWriter, r *http.Request, memory *[]byte, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	rc := http.NewResponseController(w)
	// Writers without a connection (in tests) have no deadlines; there the limit is the test's.
	_ = rc.SetReadDeadline(time.Now().Add(BodyTimeout))
	var b []byte
	if memory != nil {
		b = (*memory)[:0]
	} else {
		b = make([]byte, 0, min(max(r.ContentLength, bytes.MinRead), maxAhead)+1) // one more, to find the end
	}
	var from io.Reader = http.MaxBytesReader(w, r.Body, limit)
	if out, ok := w.(*response); ok && out.body != nil {
		from = counted{from, out.body}
	}
	var err error
	for err == nil {
		if len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
		var n int
		n, err = from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
	}
	_ = rc.SetReadDeadline(time.Time{})
	if err == io.EOF {
		err = nil
	}
	if out, ok := w.(*response); ok && out.act != nil && err == nil {
		out.act.SetBody(b)
	}
	return b[:len(b):len(b)], bodyError(err)
}

// bodyError says what a failed read of a request body means to the client.
func bodyError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return bodyTooLarge(e.Limit)
	}
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e // the bodies of others are in the way
	}
	e := stead.Wrap(stead.KindInvalid, err, "the request body broke off")
	e.Hint = "It must arrive within " + BodyTimeout.String() + "."
	return e
}

func bodyTooLarge(limit int64) error {
	return stead.Errorf(stead.KindTooLarge, "the request body is larger than the limit of %d bytes", limit)
}

// page reads after, limit and order. Lists run from new to old unless asked otherwise.
func page(q url.Values) (session.PageQuery, error) {
	p := session.PageQuery{After: q.Get("after"), Limit: stead.DefaultPageSize, Desc: true}
	n, ok, err := queryInt(q, "limit", 1, stead.MaxPageSize)
	if err != nil {
		return p, err
	}
	if ok {
		p.Limit = n
	}
	switch s := q.Get("order"); s {
	case "", "desc":
	case "asc":
		p.Desc = false
	default:
		return p, stead.Invalid("order", `order must be "asc" or "desc", not %.40q`, s)
	}
	return p, nil
}

// idPage is page for a list in the order of its ids, which goes on after one that is gone too. What
// is no id at all would begin the list again.
func idPage(q url.Values, prefix string) (session.PageQuery, error) {
	p, err := page(q)
	if err == nil && p.After != "" && !strings.HasPrefix(p.After, prefix) {
		err = stead.Invalid("after", "after must be an id of this list, %s…, not %.40q", prefix, p.After)
	}
	return p, err
}

// queryInt reads a whole number of the query, and whether it is there.
func queryInt(q url.Values, name string, lo, hi int) (int, bool, error) {
	s := q.Get(name)
	if s == "" {
		return 0, false, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		return 0, true, stead.Invalid(name, "%s must be a whole number from %d to %d, not %.40q", name, lo, hi, s)
	}
	return n, true, nil
}

// queryBool reads true or false of the query; "": false.
func queryBool(q url.Values, name string) (bool, error) {
	switch s := q.Get(name); s {
	case "true", "false", "":
		return s == "true", nil
	default:
		return false, stead.Invalid(name, "%s must be true or false, not %.40q", name, s)
	}
}

// metadataFilter reads metadata[key]=value.
func metadataFilter(q url.Values) (map[string]string, error) { return pairsFilter(q, "metadata") }

// pairsFilter reads NAME[KEY]=VALUE, within the limits of metadata.
func pairsFilter(q url.Values, of string) (map[string]string, error) {
	var m map[string]string
	if q.Has(of) {
		return nil, stead.Invalid(of, "%s names no key: write %s[KEY]=VALUE", of, of)
	}
	for name, values := range q {
		key, ok := strings.CutPrefix(name, of+"[")
		if !ok || !strings.HasSuffix(key, "]") {
			continue
		}
		if m == nil {
			m = map[string]string{}
		}
		m[strings.TrimSuffix(key, "]")] = values[len(values)-1]
	}
	return m, agent.ValidateMetadata(of, m)
}

// list is the wire's page.
type list[T any] struct {
	Object  string  `json:"object"` // "list"
	Data    []T     `json:"data"`
	HasMore bool    `json:"has_more"`
	FirstID *string `json:"first_id"`
	LastID  *string `json:"last_id"`
}

func listOf[T any](data []T, more bool, id func(T) string) list[T] {
	l := list[T]{Object: "list", Data: data, HasMore: more}
	if len(data) == 0 {
		l.Data = []T{}
		return l
	}
	first, last := id(data[0]), id(data[len(data)-1])
	l.FirstID, l.LastID = &first, &last
	return l
}

// deleted confirms a deletion.
type deleted struct {
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
	Object  string `json:"object"`
}
