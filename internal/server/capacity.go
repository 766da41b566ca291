package server

import (
	"net/http"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capacity"
)

// listCapacity shows this node's pools. Of the projects that share one, a caller sees its own.
func (s *server) listCapacity(w http.ResponseWriter, _ *http.Request, p stead.Principal) error {
	pools := []capacity.Status{}
	if s.Capacity != nil {
		pools = s.Capacity()
	}
	for i := range pools {
		pools[i].Projects = slices.DeleteFunc(pools[i].Projects, func(x capacity.ProjectStatus) bool { return x.Project != p.Project })
	}
	return s.write(w, listOf(pools, false, func(x capacity.Status) string { return x.Name }))
}
