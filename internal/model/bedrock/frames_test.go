package bedrock_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/bedrock"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// A frame of AWS's own vectors (aws-c-event-stream and the SDKs have it): payload_no_headers and
// payload_one_str_header.
func TestPublishedFrames(t *testing.T) {
	for _, frame := range []string{
		"0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936",
		"0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1",
	} {
		raw, err := hex.DecodeString(frame)
		if err != nil {
			t.Fatal(err)
		}
		got, err := bedrock.Frames(strings.NewReader(string(raw)))
		if err != io.EOF || len(got) != 1 || string(got[0].Data) != "{'foo':'bar'}" {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// Whatever byte of a frame is changed is noticed, and so is a frame that ends early.
func TestDamagedFrames(t *testing.T) {
	frame := bedrock.Frame(`{"a":1}`, ":message-type", "event", ":event-type", "x")
	for i := range len(frame) {
		b := []byte(frame)
		b[i] ^= 0x40
		if _, err := bedrock.Frames(strings.NewReader(string(b))); !errors.Is(err, upstream.ErrGarbled) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if i == 0 {
			continue
		}
		if _, err := bedrock.Frames(strings.NewReader(frame[:i])); err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes alone: %v", i, err)
		}
	}
}

// stream lets modeltest.Gather read a decoder.
type stream []byte

func (s stream) Generate(_ context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return bedrock.Decode(req, strings.NewReader(string(s)))
}

// FuzzStream feeds bytes to the decoder: whatever comes, it must end, with Done or an error, and keep
// the contract until then.
func FuzzStream(f *testing.F) {
	for _, tc := range replies() {
		f.Add([]byte(tc.reply))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = modeltest.Gather(t, t.Context(), stream(body), model.Request{Format: &model.Format{Name: "answer"}, Items: []stead.Item{modeltest.Call("t1", "f", "{}")}})
	})
}

// FuzzEvents feeds whole frames with any payload, which checksums keep FuzzStream from making.
func FuzzEvents(f *testing.F) {
	f.Add("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"Hi"}}`, "contentBlockStart", `{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"1","name":"answer"}}}`)
	f.Add("contentBlockDelta", `{"delta":{"toolUse":{"input":"{"}}}`, "contentBlockDelta", `{"delta":{"reasoningContent":{"redactedContent":"QUJD"}}}`)
	f.Fuzz(func(t *testing.T, one, first, two, second string) {
		body := frame(one, first) + frame(two, second) + frame(one, first) + frame("messageStop", `{"stopReason":"end_turn"}`)
		_, _ = modeltest.Gather(t, t.Context(), stream(body), model.Request{Format: &model.Format{Name: "answer"}})
	})
}

func frame(kind, payload string) string {
	return bedrock.Frame(payload, ":message-type", "event", ":event-type", kind[:min(len(kind), 1000)])
}
