package docker

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/guest"
)

// recordFile is the name in Root.Upper of what the root was before, while a set-up runs.
const recordFile = "record"

// rootEvery is how often the size of a root that can be written is asked of the engine.
const rootEvery = 2 * time.Second

// setUp is an environment whose container has a root that can be written, until it is packed.
type setUp struct {
	upper    string // directory that takes the archive
	maxBytes int64
}

// record keeps what the root is before the first command of a set-up.
func (e *Environment) record(ctx context.Context) error {
	f, err := os.Create(filepath.Join(e.setUp.upper, recordFile))
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "keep what the root is before a set-up")
	}
	err = e.client.Layer(ctx, guestPath, guest.LayerRecord, nil, f, e.setUp.maxBytes)
	return errors.Join(err, f.Close())
}

// pack ends the set-up's processes and writes what they changed into Root.Upper, whole or not at all.
func (e *Environment) pack() error {
	ctx, cancel := context.WithTimeout(context.Background(), guest.LayerTime)
	defer cancel()
	e.client.Interrupt(ctx, environment.ReasonCancelled)
	name := filepath.Join(e.setUp.upper, recordFile)
	record, err := os.Open(name)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "read what the root was before a set-up")
	}
	defer record.Close()
	at := filepath.Join(e.setUp.upper, environment.LayerArchive)
	out, err := os.Create(at + ".new")
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "store a layer")
	}
	err = e.client.Layer(ctx, guestPath, guest.LayerPack, record, out, e.setUp.maxBytes)
	if closing := out.Close(); err == nil && closing != nil {
		err = stead.Wrap(stead.KindUnavailable, closing, "store a layer")
	}
	if err != nil {
		_ = os.Remove(out.Name()) // the first error matters
		return err
	}
	if err := errors.Join(os.Rename(out.Name(), at), os.Remove(name)); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "store a layer")
	}
	return nil
}

// watchRoot ends what runs when a set-up has written more than the environment may be.
func (e *Environment) watchRoot(ctx context.Context) {
	var answer struct {
		SizeRw int64 `json:"SizeRw"` // bytes
	}
	if e.api.call(ctx, http.MethodGet, "/containers/"+e.id+"/json?size=1", nil, &answer) == nil && answer.SizeRw > e.setUp.maxBytes {
		e.client.Interrupt(ctx, environment.ReasonDisk)
	}
}
