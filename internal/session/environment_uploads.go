package session

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Files that somebody gives wait until they are put into the workspace, and are remembered until a
// checkpoint has them.

// Upload is a FileInput that waits.
type Upload struct {
	Seq  stead.Seq  `json:"seq"`
	Path string     `json:"path"`
	Data stead.Text `json:"data"`
}

func (e *EnvironmentView) uploaded(ev stead.Event, p FileInput) {
	e.Uploads = slices.DeleteFunc(e.Uploads, func(u Upload) bool { return u.Path == p.Path })
	e.Uploads = append(e.Uploads, Upload{Seq: ev.Seq, Path: p.Path, Data: p.Data})
	e.Refused = slices.DeleteFunc(e.Refused, func(r RefusedUpload) bool { return r.Path == p.Path })
	e.Unsaved, e.Declined, e.RetryAt = false, false, 0
	if e.Status != EnvironmentConnectedNow {
		e.Used = ev.At // whoever gives it a file means to use it
	}
}

// dropUploads takes the files that were put into the workspace from those that wait.
func (e *EnvironmentView) dropUploads(upto stead.Seq) (put []Upload) {
	for _, u := range e.Uploads {
		if u.Seq <= upto {
			put = append(put, u)
		}
	}
	e.Uploads = slices.DeleteFunc(e.Uploads, func(u Upload) bool { return u.Seq <= upto })
	return put
}

// given remembers the files that were put into the workspace, for copies that begin with the checkpoint.
func (e *EnvironmentView) given(put []Upload, refused []environment.Refused) {
	for _, u := range put {
		e.Given = slices.DeleteFunc(e.Given, func(old Upload) bool { return old.Path == u.Path })
		if !slices.ContainsFunc(refused, func(r environment.Refused) bool { return r.Path == u.Path }) {
			e.Given = append(e.Given, u)
		}
	}
	e.Given = e.Given[max(0, len(e.Given)-MaxUploads):]
}
