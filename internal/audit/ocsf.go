package audit

import (
	"encoding/json"
	"net"
	"strings"
)

// Numbers of the Open Cybersecurity Schema Framework, 1.3.0, class API Activity.
const (
	ocsfVersion   = "1.3.0"
	ocsfCategory  = 6 // Application Activity
	ocsfClass     = 6003
	ocsfSuccess   = 1 // status_id
	ocsfFailure   = 2
	ocsfInfo      = 1 // severity_id
	ocsfLow       = 2
	ocsfUser      = 1 // user.type_id
	ocsfSystem    = 3
	ocsfOtherUser = 99
)

type ocsfEvent struct {
	ActivityID  int            `json:"activity_id"`
	CategoryUID int            `json:"category_uid"`
	ClassUID    int            `json:"class_uid"`
	TypeUID     int            `json:"type_uid"`
	Time        int64          `json:"time"` // Unix milliseconds
	SeverityID  int            `json:"severity_id"`
	StatusID    int            `json:"status_id"`
	Detail      string         `json:"status_detail,omitempty"`
	Metadata    ocsfMetadata   `json:"metadata"`
	Actor       ocsfActor      `json:"actor"`
	API         ocsfAPI        `json:"api"`
	Source      ocsfEndpoint   `json:"src_endpoint"`
	Resources   []ocsfResource `json:"resources,omitempty"`
	Unmapped    map[string]any `json:"unmapped,omitempty"`
}

type ocsfMetadata struct {
	Version  string `json:"version"`
	UID      string `json:"uid"`
	Sequence int64  `json:"sequence"`
	Tenant   string `json:"tenant_uid"`
	Product  struct {
		Name   string `json:"name"`
		Vendor string `json:"vendor_name"`
	} `json:"product"`
}

type ocsfActor struct {
	User struct {
		UID        string `json:"uid"`
		TypeID     int    `json:"type_id"`
		Type       string `json:"type"`
		Credential string `json:"credential_uid,omitempty"`
	} `json:"user"`
	App            string              `json:"app_uid,omitempty"` // the agent that acted
	Authorizations []ocsfAuthorization `json:"authorizations"`
}

type ocsfAuthorization struct {
	Decision string      `json:"decision"`
	Policy   *ocsfPolicy `json:"policy,omitempty"`
}

type ocsfPolicy struct {
	UID     string `json:"uid"`
	Version string `json:"version,omitempty"`
}

type ocsfAPI struct {
	Operation string       `json:"operation"`
	Request   *ocsfRequest `json:"request,omitempty"`
}

type ocsfRequest struct {
	UID string `json:"uid"`
}

type ocsfEndpoint struct {
	IP   string `json:"ip,omitempty"`
	Name string `json:"name,omitempty"`
}

type ocsfResource struct {
	UID  string `json:"uid"`
	Type string `json:"type"`
}

// OCSF is the record as one line of JSON of the class API Activity. It is for what reads many
// sources; it can't be verified, since it says less than what is hashed.
func (r Record) OCSF() ([]byte, error) {
	e := ocsfEvent{
		ActivityID: r.activity(), CategoryUID: ocsfCategory, ClassUID: ocsfClass, Time: r.At, Detail: r.Reason,
		SeverityID: ocsfInfo, StatusID: ocsfSuccess, API: ocsfAPI{Operation: r.Action}, Source: endpoint(r.From),
	}
	e.TypeUID = ocsfClass*100 + e.ActivityID
	if r.Decision != Allow {
		e.SeverityID, e.StatusID = ocsfLow, ocsfFailure
	}
	if r.Request != "" {
		e.API.Request = &ocsfRequest{r.Request}
	}
	m := &e.Metadata
	m.Version, m.UID, m.Sequence, m.Tenant = ocsfVersion, string(r.Project)+"/"+ID(r.Seq), r.Seq, string(r.Project)
	m.Product.Name, m.Product.Vendor = "Stead", "Stead"
	u := &e.Actor.User
	u.UID, u.TypeID, u.Type, u.Credential = r.Principal.ID, userType(r.Principal), string(r.Principal.Kind), r.Principal.Key
	e.Actor.Authorizations, e.Actor.App = r.authorizations(), string(r.Agent)
	noun, _, _ := strings.Cut(r.Action, ".")
	if r.Resource != "" {
		e.Resources = append(e.Resources, ocsfResource{r.Resource, noun})
	}
	if r.Session != "" {
		e.Resources = append(e.Resources, ocsfResource{string(r.Session), "session"})
	}
	e.Unmapped = map[string]any{"prev": r.Prev}
	for name, value := range map[string]string{"role": string(r.Principal.Role), "call": r.Detail, "decided_by": r.By, "subagent": r.Subagent, "arguments_sha256": r.Arguments} {
		if value != "" {
			e.Unmapped[name] = value
		}
	}
	if r.Set != nil {
		e.Unmapped["policy_set"] = r.Set
	}
	if len(r.Written) > 0 {
		e.Unmapped["written"] = r.Written
	}
	return json.Marshal(e)
}

func (r Record) authorizations() []ocsfAuthorization {
	if len(r.Policies) == 0 {
		return []ocsfAuthorization{{Decision: string(r.Decision)}}
	}
	var out []ocsfAuthorization
	for _, p := range r.Policies {
		out = append(out, ocsfAuthorization{string(r.Decision), &ocsfPolicy{p, r.Version}})
	}
	return out
}

// activity is create, read, update, delete or other.
func (r Record) activity() int {
	const create, read, update, remove, other = 1, 2, 3, 4, 99
	method, path, _ := strings.Cut(r.Detail, " ")
	switch {
	case strings.HasSuffix(r.Action, ".read"):
		return read
	case strings.HasSuffix(r.Action, ".delete") || method == "DELETE":
		return remove
	case strings.HasSuffix(r.Action, ".create"):
		return create
	case method == "POST" && strings.Count(path, "/") == len([]string{"", "v1"}): // POST /v1/files
		return create
	case strings.HasSuffix(r.Action, ".write"):
		return update
	}
	return other
}

func userType(p Principal) int {
	switch p.Kind {
	case "user":
		return ocsfUser
	case "node":
		return ocsfSystem
	}
	return ocsfOtherUser
}

func endpoint(from string) ocsfEndpoint {
	if net.ParseIP(from) != nil {
		return ocsfEndpoint{IP: from}
	}
	if from == "" {
		return ocsfEndpoint{Name: "stead"} // the server itself
	}
	return ocsfEndpoint{Name: from}
}
