package server

import (
	"net/http"

	"github.com/stead-dev/stead"
)

// Executors is where the executors of self-hosted environments connect to. They show a token of their
// environment, which ServeExecutor checks, and never an API key.
type Executors interface {
	// ServeExecutor serves one connection, for as long as it lasts. An error means that nothing was
	// answered yet.
	ServeExecutor(w http.ResponseWriter, r *http.Request, environmentID string) error
}

// connectExecutor upgrades an executor's connection. It is outside of the API's authentication.
func (s *server) connectExecutor(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	if s.Executors == nil {
		return stead.Errorf(stead.KindNotImplemented, "this server takes no executors")
	}
	return s.Executors.ServeExecutor(w, r, r.PathValue("id"))
}
