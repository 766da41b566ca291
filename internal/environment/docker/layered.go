package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/guest"
)

// Images that are the configured one with layers over it.
const (
	// layeredName is their repository; the tag is their key. No registry has that name.
	layeredName = "localhost/stead-layer"
	// labelLayer is their label, with the key.
	labelLayer = "dev.stead.layer"
	// usedDir is the directory in Options.Dir with a file a key: its time is that of the last use.
	usedDir = "layers"
	// layeredVersion changes whenever package layer makes other roots of the same archives.
	layeredVersion = "stead image 1"
)

// Limits of them.
const (
	// MaxLayers is the most Root.Layers.
	MaxLayers = 32
	// KeptImages is how many that no container uses are kept, the last used ones.
	KeptImages = 16
	// UnusedTime is the longest that one is kept without use. It is made again from its archives.
	UnusedTime = 7 * 24 * time.Hour
	// CommitTime is the longest that the engine may take to make one.
	CommitTime = 10 * time.Minute
)

// layered are the images with layers that this process knows of.
type layered struct {
	mu     sync.Mutex
	sums   map[string]sum         // path of an archive → its hash
	making map[string]*sync.Mutex // by name: one is made once
}

// sum is the hash of a file that was such.
type sum struct {
	size  int64
	mtime time.Time
	hash  string
}

// root names the image of an environment: the configured one, or that with layers over it, which may
// have to be made.
func (p *Provider) root(ctx context.Context, layers []string) (string, error) {
	if len(layers) == 0 {
		return p.opts.Image, nil
	}
	if len(layers) > MaxLayers {
		return "", stead.Errorf(stead.KindTooLarge, "a root has at most %d layers, and this has %d", MaxLayers, len(layers))
	}
	base, err := p.baseID(ctx)
	if err != nil {
		return "", err
	}
	key := sha256.New()
	_, _ = io.WriteString(key, layeredVersion+"\x00"+base)
	for _, dir := range layers {
		s, err := p.layered.sum(filepath.Join(dir, environment.LayerArchive))
		if err != nil {
			return "", err
		}
		_, _ = io.WriteString(key, "\x00"+s)
	}
	tag := hex.EncodeToString(key.Sum(nil))[:40]
	return layeredName + ":" + tag, p.use(tag)
}

// baseID is the configured image's id: a name may mean another image tomorrow.
func (p *Provider) baseID(ctx context.Context) (string, error) {
	var answer struct {
		ID string `json:"Id"`
	}
	path := "/images/" + p.opts.Image + "/json"
	err := p.api.call(ctx, http.MethodGet, path, nil, &answer)
	if stead.KindOf(err) == stead.KindNotFound {
		if err = p.image(ctx); err == nil {
			err = p.api.call(ctx, http.MethodGet, path, nil, &answer)
		}
	}
	return answer.ID, err
}

// sum is the hash of a layer's archive, read once as long as it is the same file.
func (l *layered) sum(name string) (string, error) {
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		e := stead.Errorf(stead.KindInvalid, "the layer of this environment's packages and set-up commands was made by another driver than docker")
		e.Hint = "Create the environment anew: its set-up is then done here."
		return "", e
	}
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "open a layer")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "look at a layer")
	}
	l.mu.Lock()
	known, ok := l.sums[name]
	l.mu.Unlock()
	if ok && known.size == info.Size() && known.mtime.Equal(info.ModTime()) {
		return known.hash, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "read a layer")
	}
	known = sum{info.Size(), info.ModTime(), hex.EncodeToString(h.Sum(nil))}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sums == nil {
		l.sums = map[string]sum{}
	}
	l.sums[name] = known
	return known.hash, nil
}

// lock lets one at a time make an image.
func (l *layered) lock(name string) *sync.Mutex {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.making == nil {
		l.making = map[string]*sync.Mutex{}
	}
	if l.making[name] == nil {
		l.making[name] = &sync.Mutex{}
	}
	return l.making[name]
}

// use notes that an image is used now.
func (p *Provider) use(tag string) error {
	name := filepath.Join(p.opts.Dir, usedDir, tag)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, nil, 0o600) // truncated: its time is now
	}
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "note that a layer is used")
	}
	return nil
}

// makeLayered makes an image with layers, unless the engine has it by now.
func (p *Provider) makeLayered(ctx context.Context, name string, layers []string) error {
	lock := p.layered.lock(name)
	lock.Lock()
	defer lock.Unlock()
	err := p.api.call(ctx, http.MethodGet, "/images/"+name+"/json", nil, nil)
	if stead.KindOf(err) != stead.KindNotFound {
		return err
	}
	if err := p.fill(ctx, name, layers); err != nil {
		return err
	}
	_ = p.Prune(ctx) // what is too much is looked at again the next time
	return nil
}

// fill puts layers into a container of the base image, which has nothing else and has seen no command and
// no variable of an environment, and makes an image of it.
func (p *Provider) fill(ctx context.Context, name string, layers []string) error {
	guestFile, err := p.guest()
	if err != nil {
		return err
	}
	_, tag, _ := strings.Cut(name, ":")
	spec := environment.Spec{ID: "layer", AsRoot: true, Limits: environment.LimitsOf(environment.SizeMedium)}
	c := p.container(spec, place{user: "0:0"}, guestFile, p.opts.Image)
	c.Labels[labelLayer] = tag
	c.HostConfig.ReadonlyRootfs = false
	// The engine's own runtime: of a sandbox with a kernel of its own the engine may not see what was
	// written. Nothing runs but the guest.
	c.HostConfig.Runtime = ""
	id, err := p.create(ctx, c, func() error { return p.image(ctx) })
	if err != nil {
		return err
	}
	client, err := p.run(ctx, id, spec)
	if err == nil {
		for _, dir := range slices.Backward(layers) {
			if err = apply(ctx, client, filepath.Join(dir, environment.LayerArchive)); err != nil {
				break
			}
		}
		if err == nil {
			err = p.commit(ctx, id, tag)
		}
		client.Close()
	}
	return errors.Join(err, p.removed(id))
}

func apply(ctx context.Context, client *guest.Client, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "open a layer")
	}
	defer f.Close()
	return client.Layer(ctx, guestPath, guest.LayerApply, f, io.Discard, 0)
}

// commit makes an image of a container. It is not paused for it: nothing changes in it, and engines
// without their own control groups can't. The empty object is for Podman, which reads one.
func (p *Provider) commit(ctx context.Context, id, tag string) error {
	q := url.Values{"container": {id}, "repo": {layeredName}, "tag": {tag}, "pause": {"false"}}
	return refused(p.api.callFor(ctx, CommitTime, http.MethodPost, "/commit?"+q.Encode(), struct{}{}, nil), "make an image with packages")
}

// Prune removes images with layers that are too many or were not used for long. Those that containers
// use, the engine keeps.
func (p *Provider) Prune(ctx context.Context) error {
	filters, err := json.Marshal(map[string][]string{"label": {labelLayer}})
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "encode filters")
	}
	var list []listed
	if err := p.api.call(ctx, http.MethodGet, "/images/json?filters="+url.QueryEscape(string(filters)), nil, &list); err != nil {
		return err
	}
	used := map[string]time.Time{} // by id
	for _, i := range list {
		used[i.ID] = p.lastUse(i)
	}
	slices.SortFunc(list, func(a, b listed) int { return cmp.Or(used[b.ID].Compare(used[a.ID]), cmp.Compare(a.ID, b.ID)) })
	for n, i := range list {
		if n < KeptImages && i.tag() != "" && time.Since(used[i.ID]) < UnusedTime {
			continue
		}
		name := i.ID
		if tag := i.tag(); tag != "" {
			name = layeredName + ":" + tag
		}
		err := p.api.callFor(ctx, CommitTime, http.MethodDelete, "/images/"+name, nil, nil)
		switch stead.KindOf(err) {
		case "", stead.KindNotFound:
			_ = os.Remove(filepath.Join(p.opts.Dir, usedDir, filepath.Base(i.tag()))) // a note without an image does no harm
		case stead.KindConflict: // in use
		default:
			return err
		}
	}
	return nil
}

// drop removes an image that nobody needs again, as far as that can be done.
func (p *Provider) drop(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), RemoveTime)
	defer cancel()
	_ = p.api.call(ctx, http.MethodDelete, "/images/"+name, nil, nil) // what stays is pruned
	_, tag, _ := strings.Cut(name, ":")
	_ = os.Remove(filepath.Join(p.opts.Dir, usedDir, tag))
}

// listed is one of the engine's images.
type listed struct {
	ID       string   `json:"Id"`
	Created  int64    `json:"Created"` // Unix seconds
	RepoTags []string `json:"RepoTags"`
}

// tag is its key; "" for one whose name another image has taken.
func (i listed) tag() string {
	for _, t := range i.RepoTags {
		if key, ok := strings.CutPrefix(t, layeredName+":"); ok {
			return key
		}
	}
	return ""
}

// lastUse is when this server used an image last; for one of another server's, when it was made.
func (p *Provider) lastUse(i listed) time.Time {
	if tag := i.tag(); tag != "" {
		if info, err := os.Stat(filepath.Join(p.opts.Dir, usedDir, filepath.Base(tag))); err == nil {
			return info.ModTime()
		}
	}
	return time.Unix(i.Created, 0)
}
