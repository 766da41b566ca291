package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/model"
)

// Each api of the configuration calls its own wire, with the key where that wire wants it.
func TestProviderSpeaksItsWire(t *testing.T) {
	const key = "key-of-the-test"
	for api, want := range map[string]string{
		config.APIResponses: "/v1/responses Authorization: Bearer " + key,
		config.APIChat:      "/v1/chat/completions Authorization: Bearer " + key,
		config.APIAnthropic: "/v1/messages X-Api-Key: " + key,
		config.APIGemini:    "/v1/models/m:streamGenerateContent X-Goog-Api-Key: " + key,
		config.APIAzure:     "/v1/responses Api-Key: " + key,
		config.APIBedrock:   "/v1/model/m/converse-stream Authorization: Bearer " + key,
	} {
		got := ""
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for _, name := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key"} {
				if v := r.Header.Get(name); v != "" {
					got += r.URL.Path + " " + name + ": " + v
				}
			}
			w.WriteHeader(http.StatusBadRequest)
		}))
		m, err := provider(config.Provider{Name: "up", API: api, BaseURL: srv.URL + "/v1", APIKey: key, Region: "eu-west-1"})
		if err != nil {
			t.Fatal(err)
		}
		items := []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, "hi")}}
		for _, err := range m.Generate(t.Context(), model.Request{Model: "m", Items: items}) {
			if err == nil {
				t.Errorf("%s: an answer", api)
			}
		}
		srv.Close()
		if got != want {
			t.Errorf("%s: %q, want %q", api, got, want)
		}
	}
}
