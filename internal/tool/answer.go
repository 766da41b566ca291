package tool

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/stead-dev/stead"
)

// Said is a result of one text.
func Said(text string, isError bool) Result {
	return Result{Content: stead.TextContent(stead.ContentInputText, text), IsError: isError}
}

// Answer is a value as JSON, or what is wrong with what was asked for in words. What was away stays an error: the outcome is missing.
func Answer(v any, err error) (Result, error) {
	switch stead.KindOf(err) {
	case "":
	case stead.KindUnavailable, stead.KindInternal:
		return Result{}, err
	default:
		return Said(Words(err), true), nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return Result{}, stead.Wrap(stead.KindInternal, err, "write the answer")
	}
	return Said(string(text), false), nil
}

// Words is an error with its hint, in sentences.
func Words(err error) string {
	text, hint := err.Error(), ""
	if e, ok := errors.AsType[*stead.Error](err); ok {
		text, hint = e.Message, e.Hint
	}
	if text != "" {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return strings.TrimSpace(strings.TrimSuffix(text, ".") + ". " + hint)
}
