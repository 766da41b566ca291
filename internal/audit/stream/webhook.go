package stream

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// maxAnswerBytes is how much of an answer is read, and maxShownBytes how much of it is shown when it refuses.
const (
	maxAnswerBytes = 64 << 10
	maxShownBytes  = 200
)

// Webhook sends batches as the body of a POST, a record a line. Any answer of 200 to 299 says that they were
// taken. Redirects are not followed: what is audited goes where the operator said.
//
//	Content-Type: application/x-ndjson
//	Stead-Stream, Stead-Project, Stead-First, Stead-Last     which records these are
//	Stead-Checkpoints: true                                  they are checkpoints of so many records
//	webhook-id: STREAM/PROJECT/FIRST-LAST                    the same when it is sent again
//	webhook-timestamp: seconds
//	webhook-signature: v1,BASE64(HMAC-SHA256(secret, ID "." TIMESTAMP "." BODY))     with a secret
type Webhook struct{ place }

var _ Receiver = (*Webhook)(nil)

// NewWebhook makes one that reaches its receiver over transport. secret nil: nothing is signed.
func NewWebhook(url string, headers map[string]string, secret []byte, transport http.RoundTripper, now func() time.Time) *Webhook {
	return &Webhook{newPlace(url, headers, secret, transport, now)}
}

// secretPrefix begins a secret as Standard Webhooks writes it: what follows is its bytes in base64.
const secretPrefix = "whsec_"

// SecretOf is the key of a webhook's signatures, of a configured secret: the bytes that it stands for if it is written as receivers of
// Standard Webhooks hand it out, else those that it is written with. ok: it is one or the other.
func SecretOf(text string) (secret []byte, ok bool) {
	encoded, standard := strings.CutPrefix(text, secretPrefix)
	if !standard {
		return []byte(text), true
	}
	secret, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
	return secret, err == nil && len(secret) > 0
}

// place is where webhooks are sent, and how they are signed.
type place struct {
	url     string
	headers map[string]string
	secret  []byte // nil: nothing is signed
	client  *http.Client
	now     func() time.Time
}

func newPlace(url string, headers map[string]string, secret []byte, transport http.RoundTripper, now func() time.Time) place {
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return place{url, headers, secret, client, now}
}

// Send implements Receiver.
func (w *Webhook) Send(ctx context.Context, b Batch) error {
	body := append(bytes.Join(b.Lines, []byte("\n")), '\n')
	own := map[string]string{
		"Content-Type": "application/x-ndjson", "Stead-Stream": b.Stream, "Stead-Project": string(b.Project),
		"Stead-First": strconv.FormatInt(b.First, 10), "Stead-Last": strconv.FormatInt(b.Last, 10),
	}
	id := fmt.Sprintf("%s/%s/%d-%d", b.Stream, b.Project, b.First, b.Last)
	if b.Checkpoints {
		id = fmt.Sprintf("%s/%s/checkpoints/%d-%d", b.Stream, b.Project, b.First, b.Last)
		own["Stead-Checkpoints"] = "true"
	}
	return w.post(ctx, id, own, body)
}

// post sends one webhook. ErrTooLarge for a 413; any other answer than 200 to 299 is an error.
func (w *place) post(ctx context.Context, id string, own map[string]string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "make a request")
	}
	for name, value := range w.headers {
		req.Header.Set(name, value)
	}
	at := strconv.FormatInt(w.now().Unix(), 10)
	for name, value := range own {
		req.Header.Set(name, value)
	}
	for name, value := range map[string]string{"User-Agent": "stead", "Webhook-Id": id, "Webhook-Timestamp": at} {
		req.Header.Set(name, value)
	}
	if len(w.secret) > 0 {
		req.Header.Set("Webhook-Signature", "v1,"+Sign(w.secret, id, at, body))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the receiver was not reached")
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes)) // the connection is used again; the status says it all
	switch {
	case resp.StatusCode == http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusUnsupportedMediaType, resp.StatusCode == http.StatusUnprocessableEntity: // what it got is wrong
		return stead.Wrap(stead.KindUnavailable, ErrRefused, "the receiver answered %s: %.*q", resp.Status, maxShownBytes, answer)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return stead.Errorf(stead.KindUnavailable, "the receiver answered %s: %.*q", resp.Status, maxShownBytes, answer)
	}
	return nil
}

// Sign is the signature of a webhook: what stands behind "v1,".
func Sign(secret []byte, id, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%s.%s.", id, timestamp)
	h.Write(body)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// Close implements Receiver.
func (w *place) Close() error {
	w.client.CloseIdleConnections()
	return nil
}
