package claude

import (
	"fmt"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

const (
	defaultSampling  = 1    // of temperature and top_p: where a model has nothing else, it is left out
	thinkingTopP     = 0.95 // the least beside thinking
	unknownMajor     = 1 << 10
	brokenOffMessage = "(Your message was broken off here. Go on from there.)"
)

// known reports whether the name held a version. Of other names the provider says what they take.
func (v Version) known() bool { return v.major < unknownMajor }

// Sampling is what of temperature and top_p goes to the model; nil is left out, which is the default.
// Its error names what the model does not take: sampling at all (from Claude 4.7 on), both at once
// (from Claude 4.1 on), and beside thinking a temperature, or a top_p below 0.95.
//
// Sources: platform.claude.com/docs: about-claude/models/migrating-to-claude-4 (both at once),
// about-claude/models/whats-new-claude-4-7 ("sampling parameters removed"),
// build-with-claude/extended-thinking#feature-compatibility.
func Sampling(req model.Request, v Version, thinks bool) (temperature, topP *float64, err *model.Error) {
	temperature, topP = req.Temperature, req.TopP
	if v.known() && v.AtLeast(4, 1) {
		temperature, topP = unusual(temperature), unusual(topP)
	}
	none := v.known() && v.AtLeast(4, 7)
	switch {
	case none && temperature != nil:
		err = refusal("temperature", "%s takes no temperature but 1: leave it out", req.Model)
	case none && topP != nil:
		err = refusal("top_p", "%s takes no top_p but 1: leave it out", req.Model)
	case temperature != nil && topP != nil && v.known() && v.AtLeast(4, 1):
		err = refusal("top_p", "%s takes no top_p beside a temperature: leave one of them out", req.Model)
	case thinks && unusual(temperature) != nil:
		err = refusal("temperature", "%s takes no temperature but 1 while it reasons: leave it or the reasoning out", req.Model)
	case thinks && topP != nil && *topP < thinkingTopP:
		err = refusal("top_p", "%s takes no top_p below %v while it reasons: leave it or the reasoning out", req.Model, thinkingTopP)
	}
	return temperature, topP, err
}

// unusual is a value that is not the default.
func unusual(n *float64) *float64 {
	if n != nil && *n == defaultSampling {
		return nil
	}
	return n
}

// Prefill looks at a conversation that ends with the assistant's message, which models take for the
// begin of their answer: not from Claude 4.6 on, and not beside thinking. Such a call fails, because
// nothing that could be said instead is what the caller asked for; but where the message is one of the
// model's own that was broken off, as a session's is by a crash, the user's text more says so.
//
// Source: platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-6 ("prefill removal").
func Prefill(req model.Request, v Version, thinks bool) (more string, err *model.Error) {
	if !thinks && !(v.known() && v.AtLeast(4, 6)) || len(req.Items) == 0 {
		return "", nil
	}
	last := req.Items[len(req.Items)-1]
	if last.Type == stead.ItemMessage && last.Status == stead.ItemIncomplete {
		return brokenOffMessage, nil
	}
	return "", refusal("", "%s takes no answer that is begun for it: the input must not end with a message of the assistant", req.Model)
}

func refusal(param, format string, args ...any) *model.Error {
	return &model.Error{Code: model.CodeInvalid, Param: param, Message: fmt.Sprintf(format, args...)}
}
