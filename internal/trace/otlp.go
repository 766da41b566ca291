package trace

import (
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// The shapes of OTLP/JSON: names in lowerCamelCase, ids in hex, 64-bit numbers as strings, enumerations as numbers.

// ExportRequest is an ExportTraceServiceRequest.
type ExportRequest struct {
	ResourceSpans []ResourceSpans `json:"resourceSpans"`
}

// ResourceSpans are spans of one resource.
type ResourceSpans struct {
	Resource   Resource     `json:"resource"`
	ScopeSpans []ScopeSpans `json:"scopeSpans"`
}

// Resource is what made them.
type Resource struct {
	Attributes []KeyValue `json:"attributes"`
}

// ScopeSpans are spans of one scope.
type ScopeSpans struct {
	Scope Scope  `json:"scope"`
	Spans []Span `json:"spans"`
}

// Scope is what of it made them.
type Scope struct {
	Name string `json:"name"`
}

// Span is one of a trace.
type Span struct {
	TraceID    string     `json:"traceId"` // 32 hex digits
	SpanID     string     `json:"spanId"`  // 16 hex digits
	Parent     string     `json:"parentSpanId,omitempty"`
	Flags      uint32     `json:"flags,omitempty"`
	Name       string     `json:"name"`
	Kind       int        `json:"kind"`
	Start      Time       `json:"startTimeUnixNano"`
	End        Time       `json:"endTimeUnixNano"`
	Attributes []KeyValue `json:"attributes"`
	Events     []Event    `json:"events,omitempty"`
	Links      []Link     `json:"links,omitempty"`
	Status     *Status    `json:"status,omitempty"` // nil: unset
}

// Link names a span of another trace.
type Link struct {
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
	Flags   uint32 `json:"flags,omitempty"`
}

// Event is something that happened in a span.
type Event struct {
	At         Time       `json:"timeUnixNano"`
	Name       string     `json:"name"`
	Attributes []KeyValue `json:"attributes,omitempty"`
}

// Status says that a span ended in an error. It has no message: that would be a text.
type Status struct {
	Code int `json:"code"`
}

// KeyValue is an attribute.
type KeyValue struct {
	Key   string `json:"key"`
	Value Value  `json:"value"`
}

// Value is exactly one of these.
type Value struct {
	String *string     `json:"stringValue,omitempty"`
	Bool   *bool       `json:"boolValue,omitempty"`
	Int    *string     `json:"intValue,omitempty"`
	Double *float64    `json:"doubleValue,omitempty"`
	Array  *ArrayValue `json:"arrayValue,omitempty"`
}

// ArrayValue is a list of values.
type ArrayValue struct {
	Values []Value `json:"values"`
}

// Kinds of span, the code of an error, and flags, as OTLP numbers them.
const (
	kindInternal = 1
	kindServer   = 2
	kindClient   = 3

	statusError = 2

	flagHasRemote = 0x100 // whether the parent is another process's is known
	flagRemote    = 0x200 // and it is
)

// Time is Unix milliseconds; on the wire nanoseconds, as a string.
type Time int64

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) {
	return strconv.AppendInt(nil, int64(t)*int64(time.Millisecond), 10), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Time) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	*t = Time(n / int64(time.Millisecond))
	return err
}

// Request wraps the spans of a session.
func Request(key stead.SessionKey, spans []Span) ExportRequest {
	return ExportRequest{[]ResourceSpans{{
		Resource:   Resource{[]KeyValue{text("service.name", "stead"), text("stead.project.id", string(key.Project))}},
		ScopeSpans: []ScopeSpans{{Scope{"github.com/stead-dev/stead/internal/trace"}, spans}},
	}}}
}

// maxValueRunes bounds an attribute, and the name of a span: some are names that models and upstreams make up.
const maxValueRunes = 256

func text(key, value string) KeyValue {
	value = session.Shorten(value, maxValueRunes)
	return KeyValue{key, Value{String: &value}}
}

func number(key string, n int64) KeyValue {
	s := strconv.FormatInt(n, 10)
	return KeyValue{key, Value{Int: &s}}
}

func truth(key string, b bool) KeyValue { return KeyValue{key, Value{Bool: &b}} }

func seconds(key string, ms int64) KeyValue {
	s := float64(ms) / float64(time.Second/time.Millisecond)
	return KeyValue{key, Value{Double: &s}}
}

func texts(key string, values []string) KeyValue {
	list := &ArrayValue{Values: []Value{}}
	for _, v := range values {
		list.Values = append(list.Values, text("", v).Value)
	}
	return KeyValue{key, Value{Array: list}}
}

// Attribute is a span's; nil: it has none of that key.
func (s *Span) Attribute(key string) *Value {
	for i := range s.Attributes {
		if s.Attributes[i].Key == key {
			return &s.Attributes[i].Value
		}
	}
	return nil
}

// Text is a value as people read it.
func (v *Value) Text() string {
	switch {
	case v == nil:
		return ""
	case v.String != nil:
		return *v.String
	case v.Int != nil:
		return *v.Int
	case v.Bool != nil:
		return strconv.FormatBool(*v.Bool)
	case v.Double != nil:
		return strconv.FormatFloat(*v.Double, 'g', -1, 64)
	}
	var all []string
	if v.Array != nil {
		for i := range v.Array.Values {
			all = append(all, v.Array.Values[i].Text())
		}
	}
	return strings.Join(all, ", ")
}
