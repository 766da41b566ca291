package server

import (
	"context"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// A call that is passed on is metered by the service tier that its upstream says it served, streamed or not; else by the
// one that it asked for. Cache writes are read as well.
func TestTheTierOfForwardedCalls(t *testing.T) {
	const details = `"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":4}}`
	whole := func(tier string) func(context.Context, model.Forward) (*model.Answer, error) {
		return says("application/json", `{"id":"1","object":"chat.completion","created":1,"model":"up","choices":[]`+tier+`,`+details+`}`)
	}
	streamed := says(mediaStream, `data: {"object":"chat.completion.chunk","id":"1","created":1,"model":"up","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"service_tier":"priority"}`+"\n\n"+`data: {"object":"chat.completion.chunk","id":"1","created":1,"model":"up","choices":[],`+details+"}\n\ndata: [DONE]\n\n")
	for _, c := range []struct {
		ask    string
		answer func(context.Context, model.Forward) (*model.Answer, error)
		want   string
	}{
		{`}`, whole(``), ""}, {`,"service_tier":"auto"}`, whole(``), ""}, {`,"service_tier":"flex"}`, whole(``), "flex"},
		{`,"service_tier":"priority"}`, whole(`,"service_tier":"default"`), "default"}, {`,"service_tier":"auto"}`, whole(`,"service_tier":"flex"`), "flex"},
		{`,"stream":true,"service_tier":"flex"}`, streamed, "priority"},
	} {
		m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectChat: c.answer}}
		d, heard := gateway(t, m)
		if _, got := d.call("POST", "/v1/chat/completions", chatHi+c.ask); got == "" {
			t.Fatal("no answer")
		}
		got := <-heard
		if got.Route.Tier != c.want || *got.Usage != (stead.Usage{InputTokens: 9, CachedTokens: 3, CacheWriteTokens: 4, OutputTokens: 2}) {
			t.Errorf("%s: tier %q, want %q, %+v", c.ask, got.Route.Tier, c.want, got.Usage)
		}
	}
}
