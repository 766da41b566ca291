package server

import (
	"cmp"
	_ "embed" // the schemas
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// schemas are the components of the document: written by hand, in the words of the wire. Event
// schemas carry the event's type as their name.
//
//go:embed schemas.json
var schemas []byte

// document makes the OpenAPI 3.1 document: the paths from the table of routes, so that no route can
// be missing, the schemas from the file. It panics only if the file is broken, which a test rules out.
func document(routes []route, version string) []byte {
	var components struct {
		Schemas    map[string]json.RawMessage `json:"schemas"`
		Parameters map[string]json.RawMessage `json:"parameters"`
	}
	if err := json.Unmarshal(schemas, &components); err != nil {
		panic("schemas.json: " + err.Error())
	}
	if version == "" {
		version = "dev"
	}
	paths := map[string]map[string]any{}
	for _, r := range routes {
		path := strings.ReplaceAll(r.path, "...}", "}")
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(r.method)] = operation(r, path)
	}
	b, err := json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "Stead", "version": version,
			"description": "The OpenAI Agents API, served by Stead for any model, and what Stead adds to it. " +
				"Routes of the contract that are not listed here answer 501.",
		},
		"paths":      paths,
		"components": components,
	}, "", " ")
	if err != nil {
		panic("schemas.json: " + err.Error())
	}
	return append(b, '\n')
}

func operation(r route, path string) map[string]any {
	op := map[string]any{"summary": r.summary, "operationId": operationID(r), "responses": answers(r)}
	var params []any
	for _, name := range pathParams(path) {
		params = append(params, map[string]any{"name": name, "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, name := range r.query {
		params = append(params, map[string]any{"$ref": "#/components/parameters/" + name})
	}
	if r.keyed {
		params = append(params, map[string]any{"$ref": "#/components/parameters/idempotency_key"})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.body != "" {
		media := cmp.Or(r.bodyMedia, "application/json")
		if r.body == "Lines" {
			media = mediaLines
		}
		op["requestBody"] = map[string]any{"required": true, "content": content1(media, r.body)}
	}
	return op
}

func answers(r route) map[string]any {
	status, media := r.status, r.media
	if status == 0 {
		status = http.StatusOK
	}
	if media == "" {
		media = "application/json"
	}
	success := map[string]any{"description": r.summary}
	if r.answer != "" {
		c := content1(media, r.answer)
		if r.orStream {
			c[mediaStream] = content1(mediaStream, cmp.Or(r.events, "SessionEvent"))[mediaStream]
		}
		if r.orCSV {
			c[mediaCSV] = content1(mediaCSV, "Lines")[mediaCSV]
		}
		success["content"] = c
	}
	failure := "Error"
	if r.oauth {
		failure = "OAuthError"
	}
	errors := content1("application/json", failure)
	if r.media == mediaHTML {
		errors[mediaHTML] = content1(mediaHTML, "Page")[mediaHTML]
	}
	return map[string]any{
		strconv.Itoa(status): success,
		"default":            map[string]any{"description": "An error", "content": errors},
	}
}

func content1(media, schema string) map[string]any {
	return map[string]any{media: map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/" + schema}}}
}

// operationID turns "POST /v1/agents/sessions/{id}/events" into "post_agents_sessions_id_events".
func operationID(r route) string {
	path := strings.NewReplacer("/v1", "", "{", "", "}", "", "...", "", ".", "_").Replace(r.path)
	return strings.ToLower(r.method) + strings.ReplaceAll(path, "/", "_")
}

func pathParams(path string) []string {
	var names []string
	for _, seg := range strings.Split(path, "/") {
		if strings.HasPrefix(seg, "{") {
			names = append(names, strings.Trim(seg, "{}"))
		}
	}
	return names
}
