package server

import (
	"context"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/killswitch"
	"github.com/stead-dev/stead/internal/param"
)

// KillSwitches stop what must not go on: see package killswitch, which implements it.
type KillSwitches interface {
	Set(ctx context.Context, p stead.Principal, sw killswitch.Switch, key, digest string) (killswitch.Switch, error)
	Get(ctx context.Context, p stead.Principal, id string) (killswitch.Switch, error)
	List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]killswitch.Switch, bool, error)
	Lift(ctx context.Context, p stead.Principal, id string) error
}

type wireKillSwitch struct {
	ID        string  `json:"id"`
	Object    string  `json:"object"` // "kill_switch"
	Scope     string  `json:"scope"`
	Of        *string `json:"of"` // null: the project
	Reason    string  `json:"reason"`
	SetBy     string  `json:"set_by"` // id of the principal
	CreatedAt int64   `json:"created_at"`
	Unknown   bool    `json:"unknown"` // nothing was called so when it was set
}

func wireKillSwitchOf(s killswitch.Switch) wireKillSwitch {
	return wireKillSwitch{s.ID, "kill_switch", string(s.Scope), known(s.Of), s.Reason, s.By, s.CreatedAt / 1000, s.Unknown}
}

func (s *server) setKillSwitch(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a kill switch", "scope", "of", "reason", "unknown"); err != nil {
		return err
	}
	scope, err := param.Need(req.Enum("scope", killswitch.Scopes()...))("scope")
	if err != nil {
		return err
	}
	sw := killswitch.Switch{Scope: killswitch.Scope(scope)}
	for name, into := range map[string]*string{"of": &sw.Of, "reason": &sw.Reason} {
		if *into, _, err = req.String(name); err != nil {
			return err
		}
	}
	if sw.Unknown, _, err = req.Bool("unknown"); err != nil {
		return err
	}
	set, err := s.KillSwitches.Set(r.Context(), p, sw, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, wireKillSwitchOf(set))
}

func (s *server) getKillSwitch(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	sw, err := s.KillSwitches.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, wireKillSwitchOf(sw))
}

func (s *server) listKillSwitches(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), killswitch.Prefix)
	if err != nil {
		return err
	}
	found, more, err := s.KillSwitches.List(r.Context(), p, q.After, q.Desc, q.Limit)
	if err != nil {
		return err
	}
	data := make([]wireKillSwitch, len(found))
	for i, sw := range found {
		data[i] = wireKillSwitchOf(sw)
	}
	return s.write(w, listOf(data, more, func(x wireKillSwitch) string { return x.ID }))
}

func (s *server) liftKillSwitch(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.KillSwitches.Lift(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "kill_switch.deleted"})
}
