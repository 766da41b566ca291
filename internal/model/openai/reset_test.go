package openai_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/openai"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// Where a 429 says no Retry-After, its limits say how long to wait.
func TestRateLimitReset(t *testing.T) {
	for name, c := range map[string]struct {
		headers map[string]string
		want    time.Duration
	}{
		"the limit that is used up": {map[string]string{"X-Ratelimit-Remaining-Requests": "59", "X-Ratelimit-Reset-Requests": "1s",
			"X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Reset-Tokens": "6m0s"}, 6 * time.Minute},
		"none used up": {map[string]string{"X-Ratelimit-Remaining-Requests": "59", "X-Ratelimit-Reset-Requests": "120ms",
			"X-Ratelimit-Remaining-Tokens": "12", "X-Ratelimit-Reset-Tokens": "4s"}, 120 * time.Millisecond},
		"seconds, as Azure has them": {map[string]string{"X-Ratelimit-Reset-Tokens": "17"}, 17 * time.Second},
		"a day":                      {map[string]string{"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "24h0m0s"}, upstream.MaxResetWait},
		"its own wish counts":        {map[string]string{"Retry-After": "3", "X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "9s"}, 3 * time.Second},
		"rubbish":                    {map[string]string{"X-Ratelimit-Reset-Requests": "soon"}, 0},
		"the past":                   {map[string]string{"X-Ratelimit-Reset-Requests": "-5s"}, 0},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range c.headers {
				w.Header().Set(k, v)
			}
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		_, err := modeltest.Gather(t, t.Context(), provider(t, openai.APIResponses, srv.URL), hi())
		srv.Close()
		if e, ok := errors.AsType[*model.Error](err); !ok || e.RetryAfter != c.want {
			t.Errorf("%s: %v, want to wait %v", name, err, c.want)
		}
	}
}
