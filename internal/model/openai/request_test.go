package openai_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/openai"
)

// full is a request with everything in it.
func full() model.Request {
	sealed, foreign, lonely := stead.NewText("rs_1.gAAA"), stead.NewText("rs_2.gBBB"), stead.NewText("rs_3.gCCC")
	failed := modeltest.Output("call_3")
	failed.Error = "no such city"
	long := "call_" + strings.Repeat("x", 100)
	said := modeltest.Message("Let me see.")
	said.Phase = "commentary"
	reasoning := func(t *stead.Text, provider string) stead.Item {
		return stead.Item{Type: stead.ItemReasoning, Encrypted: t, Provider: provider, Summary: []stead.Text{stead.NewText("Hm.")}}
	}
	return model.Request{
		Model: "m-1", Instructions: "Be brief.", Verbosity: "low", Effort: "high", ReasonSummary: "auto",
		ServiceTier: "flex", MaxOutputTokens: 1000, CacheKey: "sess_1", User: "u1",
		Format: &model.Format{Name: "answer", Schema: json.RawMessage(`{"type":"object"}`), Strict: true},
		Tools: []model.ToolSpec{
			{Name: "get_weather", Description: "Tells the weather.", Parameters: json.RawMessage(`{"type":"object"}`)},
			{Name: "now"},
		},
		Items: []stead.Item{
			{Type: stead.ItemMessage, Role: stead.RoleUser, Content: []stead.Content{modeltest.Text("Look:"), modeltest.Image("https://example.com/a.png")}},
			reasoning(&sealed, "up"),
			said,
			modeltest.Call("call_1", "get_weather", `{"city":"Paris"}`),
			modeltest.Call("call_2", "get_map", `"{\"city\":"`),
			modeltest.User("Hurry up."), // steered in before the results were there
			modeltest.Output("call_2", modeltest.Text("A map:"), modeltest.Image("data:image/png;base64,AA==")),
			modeltest.Output("call_1", modeltest.Text("21 degrees"), modeltest.Text("sunny")),
			modeltest.Output("call_1", modeltest.Text("a second answer")),
			modeltest.Output("call_0", modeltest.Text("nobody asked")),
			reasoning(&foreign, "elsewhere"),
			modeltest.Call("call_3", "get_weather", `{}`),
			failed,
			modeltest.Call(long, "now", ``),
			reasoning(&lonely, "up"),
			modeltest.User("Well?"),
		},
	}
}

// body is what the upstream received, indented.
func body(t *testing.T, req model.Request, change func(*openai.Config)) (string, http.Header) {
	t.Helper()
	var got []byte
	var header http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		header = r.Header
		header.Set("Test-Path", r.URL.String())
	}))
	defer srv.Close()
	p := chat(t, func(c *openai.Config) {
		c.BaseURL = srv.URL + "/v1/"
		change(c)
	})
	_, _ = modeltest.Gather(t, t.Context(), p, req) // the upstream says nothing
	var v any
	if err := json.Unmarshal(got, &v); err != nil {
		t.Fatalf("the request is no JSON: %v\n%s", err, got)
	}
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n", header
}

func TestRequests(t *testing.T) {
	for _, api := range []string{openai.APIResponses, openai.APIChat} {
		t.Run(api, func(t *testing.T) {
			got, header := body(t, full(), func(c *openai.Config) {
				c.API, c.Organization, c.Project = api, "org", "proj"
			})
			file := filepath.Join("testdata", api, "request.json")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("request (-want +got):\n%s", d)
			}
			path := map[string]string{"responses": "/v1/responses", "chat": "/v1/chat/completions"}[api]
			for k, want := range map[string]string{"Authorization": "Bearer " + key, "Api-Key": otherKey,
				"Openai-Organization": "org", "Openai-Project": "proj", "Content-Type": "application/json", "Test-Path": path} {
				if header.Get(k) != want {
					t.Errorf("%s is %q, want %q", k, header.Get(k), want)
				}
			}
		})
	}
}

func TestRequestDetails(t *testing.T) {
	plain := hi()
	has := func(req model.Request, change func(*openai.Config), wants, lacks []string) {
		t.Helper()
		got, _ := body(t, req, change)
		for _, s := range wants {
			if !strings.Contains(got, s) {
				t.Errorf("the request lacks %s:\n%s", s, got)
			}
		}
		for _, s := range lacks {
			if strings.Contains(got, s) {
				t.Errorf("the request holds %s:\n%s", s, got)
			}
		}
	}
	responses := func(c *openai.Config) { c.API = openai.APIResponses }
	nothing := func(*openai.Config) {}
	has(plain, nothing, []string{`"stream": true`, `"include_usage": true`},
		[]string{"tools", "max_", "reasoning", "format", "verbosity", "service_tier", "prompt_cache_key", "user\":"})
	has(plain, responses, []string{`"store": false`, "reasoning.encrypted_content"}, []string{"tools", "max_", "\"text\": {", "\"reasoning\": {"})
	old := plain
	old.Model = "gpt-4o"
	has(old, responses, nil, []string{"encrypted_content"})
	usual := plain
	usual.Verbosity = "medium" // what upstreams do anyway: those that do not know the field never see it
	has(usual, nothing, nil, []string{"verbosity"})
	has(usual, responses, nil, []string{"verbosity"})
	auto := plain
	auto.ServiceTier, auto.CacheKey, auto.User = "auto", "k", "u"
	has(auto, func(c *openai.Config) { c.Omit = []string{"prompt_cache_key"} }, []string{`"user": "u"`}, []string{"service_tier", "prompt_cache_key"})
}

// How closely to look at a picture goes along, also at one that a tool returned.
func TestImageDetail(t *testing.T) {
	look := func(detail string) stead.Content {
		c := modeltest.Image("https://example.com/" + detail + ".png")
		c.Detail = detail
		return c
	}
	req := model.Request{Items: []stead.Item{
		{Type: stead.ItemMessage, Role: stead.RoleUser, Content: []stead.Content{look("low"), look("original"), look("")}},
		modeltest.Call("call_1", "f", "{}"), modeltest.Output("call_1", look("high"))}}
	for api, want := range map[string][]string{
		openai.APIResponses: {"low", "original", "auto", "high"},
		openai.APIChat:      {"low", "high", "high"},
	} {
		got, _ := body(t, req, func(c *openai.Config) { c.API = api })
		var said []string
		for _, line := range strings.Split(got, "\n") {
			if _, value, ok := strings.Cut(line, `"detail": "`); ok {
				said = append(said, strings.Trim(value, `",`))
			}
		}
		if d := cmp.Diff(want, said); d != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", api, d, got)
		}
	}
}
