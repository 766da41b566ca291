package responses

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// What clients that keep the conversation themselves send back of calls that the runtime makes.

// serverCall is a finished call of a tool server, sent back: the model sees it as a call with its
// output, in one message.
func serverCall(o param.Object) (stead.Item, error) {
	name, err := param.Need(o.String("name"))(o.Path("name"))
	if err != nil {
		return stead.Item{}, err
	}
	args, _, err := o.String("arguments")
	if err != nil {
		return stead.Item{}, err
	}
	label, _, err := o.String("server_label")
	if err != nil {
		return stead.Item{}, err
	}
	told := stead.Told{Tool: name, Arguments: json.RawMessage(args), Words: [2]string{"Called " + name + " with ", "; it returned: "}}
	if label != "" {
		told.Tool = label + "/" + name
	}
	told.Output, _, err = o.String("output")
	return told.Message(), err
}

// fileSearchTool is how guardrails name the search.
const fileSearchTool = "file_search/file_search"

// fileSearch is a finished search, sent back: what it found if that was asked for, else that it was made.
func fileSearch(o param.Object) (stead.Item, error) {
	queries, err := param.Need(o.Strings("queries"))(o.Path("queries"))
	if err != nil {
		return stead.Item{}, err
	}
	args, err := json.Marshal(map[string][]string{"queries": queries})
	if err != nil {
		return stead.Item{}, stead.Wrap(stead.KindInternal, err, "write %s", o.Path("queries"))
	}
	told := stead.Told{Tool: fileSearchTool, Arguments: args, Words: [2]string{"Searched the files with ", ""}}
	if found, has := o.Raw("results"); has {
		told.Words[1], told.Output = "; found: ", string(found)
	}
	it := told.Message()
	if it.Content[0].Text.Bytes > stead.MaxTextBytes {
		err = tooLong(o.Path("results"), stead.MaxTextBytes)
	}
	return it, err
}

// question is a call that the client was asked about.
func question(o param.Object) (stead.Item, error) {
	it := stead.Item{Type: stead.ItemMCPCall, Question: &stead.Question{}}
	for name, to := range map[string]*string{"id": &it.Question.ID, "server_label": &it.Question.Server, "name": &it.Name} {
		s, err := param.Need(o.String(name))(o.Path(name))
		if err == nil && len(s) > MaxCallIDBytes {
			err = tooLong(o.Path(name), MaxCallIDBytes)
		}
		if *to = s; err != nil {
			return it, err
		}
	}
	args, err := param.Need(o.String("arguments"))(o.Path("arguments"))
	if it.CallID, it.Arguments = it.Question.ID, Arguments(args); err == nil && it.Arguments[0] != '{' {
		err = stead.Invalid(o.Path("arguments"), "%s must be a JSON object: the call would be made with it", o.Path("arguments"))
	}
	return it, err
}

// approval is the answer whether a call may be made. Whether that was asked is known to the session alone.
func approval(o param.Object) (stead.Item, error) {
	it := stead.Item{Type: stead.ItemApprovalResponse, Answer: &stead.Answer{}}
	var err error
	if it.Answer.Request, err = param.Need(o.String("approval_request_id"))(o.Path("approval_request_id")); err != nil {
		return it, err
	}
	if it.Answer.Approve, err = param.Need(o.Bool("approve"))(o.Path("approve")); err != nil {
		return it, err
	}
	it.Answer.Reason, _, err = o.String("reason")
	if err == nil && len(it.Answer.Reason) > MaxReasonBytes {
		err = tooLong(o.Path("reason"), MaxReasonBytes)
	}
	return it, err
}

// settled leaves out the questions whether calls may be made that no answer follows, and with their answers
// those whose calls were made: the items say already what came of them.
func settled(items []stead.Item, made map[string]bool) []stead.Item {
	last := map[string]int{} // id of a question → where it is answered
	for i, it := range items {
		if it.Answer != nil {
			last[it.Answer.Request] = i
		}
	}
	out := items[:0]
	for i, it := range items {
		switch {
		case it.Question != nil && (made[it.Question.ID] || last[it.Question.ID] <= i), it.Answer != nil && made[it.Answer.Request]:
		default:
			out = append(out, it)
		}
	}
	return out
}
