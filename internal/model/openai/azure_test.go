package openai_test

import (
	"net/http"
	"testing"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/azure"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/openai"
)

// Azure passes the suite in both dialects: its wire is this package's, its address and credentials are not.
func TestSuiteOfAzure(t *testing.T) {
	for api, skips := range map[string]modeltest.Skips{
		openai.APIResponses: {"stop": "the Responses API has no such field: TestUnsayable"},
		openai.APIChat:      {"reasoning goes back": "the dialect has no sealed reasoning"},
	} {
		t.Run(api, func(t *testing.T) {
			modeltest.Suite(t, func(t *testing.T, s *modeltest.Script) model.Model {
				wire := responsesWire
				if api == openai.APIChat {
					wire = chatWire
				}
				s.Words = words(api)[s.Case]
				url := modeltest.Serve(t, s, modeltest.Wire{Events: wire(s), Fail: writeFailure, Check: func(r *http.Request) {
					if r.Header.Get("Api-Key") != "key-of-the-test" || r.Header.Get("Authorization") != "" {
						t.Errorf("headers %v", r.Header)
					}
				}})
				p, err := azure.New(azure.Config{Name: "up", API: api, BaseURL: url, APIKey: "key-of-the-test"})
				if err != nil {
					t.Fatal(err)
				}
				return p
			}, skips)
		})
	}
}
