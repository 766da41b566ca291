package agent

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Modes of an Approval.
const (
	ApprovalAlways = "always"
	ApprovalNever  = "never"
)

type approvalLists struct {
	Always *approvalList `json:"always,omitempty"`
	Never  *approvalList `json:"never,omitempty"`
}

type approvalList struct {
	ToolNames []string `json:"tool_names"`
}

// MarshalJSON implements json.Marshaler.
func (a Approval) MarshalJSON() ([]byte, error) {
	if a.Mode != "" {
		return json.Marshal(a.Mode)
	}
	var lists approvalLists
	if len(a.Always) > 0 {
		lists.Always = &approvalList{a.Always}
	}
	if len(a.Never) > 0 {
		lists.Never = &approvalList{a.Never}
	}
	return json.Marshal(lists)
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Approval) UnmarshalJSON(b []byte) error {
	read, err := decodeApproval("require_approval", b)
	if err != nil {
		return err
	}
	*a = read
	return nil
}

func decodeApproval(path string, raw json.RawMessage) (Approval, error) {
	var mode string
	if json.Unmarshal(raw, &mode) == nil {
		if mode != ApprovalAlways && mode != ApprovalNever {
			return Approval{}, stead.Invalid(path, `%s must be "always", "never" or an object with lists of tool names, not %.40q`, path, mode)
		}
		return Approval{Mode: mode}, nil
	}
	o, err := param.Parse(path, raw)
	if err != nil {
		return Approval{}, err
	}
	// A misspelt list would leave a tool without its approval: nothing unknown is let through here.
	for _, n := range o.Names() {
		if n != ApprovalAlways && n != ApprovalNever {
			return Approval{}, stead.Invalid(o.Path(n), `%s is unknown: require_approval holds "always" and "never"`, o.Path(n))
		}
	}
	var a Approval
	if a.Always, err = approvalNames(o, ApprovalAlways); err != nil {
		return Approval{}, err
	}
	a.Never, err = approvalNames(o, ApprovalNever)
	return a, err
}

func approvalNames(o param.Object, name string) ([]string, error) {
	list, ok, err := o.Object(name)
	if !ok || err != nil {
		return nil, err
	}
	return param.Need(list.Strings("tool_names"))(list.Path("tool_names"))
}
