package remember

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/mount"
	"github.com/stead-dev/stead/internal/session"
)

// maxMounting is of how many sessions it is known what their files were written as; of others they are read once more.
const maxMounting = 1000

// mounting is what is known of one session's files.
type mounting struct {
	mu   sync.Mutex // one at a time
	seen mount.Seen
}

// mounts are those of all sessions.
type mounts struct {
	mu  sync.Mutex
	all map[stead.SessionKey]*mounting
}

func (m *mounts) of(key stead.SessionKey) *mounting {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil || len(m.all) >= maxMounting && m.all[key] == nil {
		m.all = map[stead.SessionKey]*mounting{}
	}
	if m.all[key] == nil {
		m.all[key] = &mounting{seen: mount.Seen{}}
	}
	return m.all[key]
}

// Mount brings the files of memory stores together with the stores.
func (r *Remember) Mount(ctx context.Context, ask session.MountAsk, files session.MountFiles) (session.Mounted, error) {
	one := r.mounted.of(ask.Key)
	one.mu.Lock()
	defer one.mu.Unlock()
	by := memory.For{Principal: ask.Principal, Behind: ask.Behind, Shared: !ask.Alone, Agent: ask.Agent, Session: ask.Key, Labels: ask.Labels, At: ask.At, Since: ask.Since}
	if !ask.AllScopes {
		by.Scopes = memory.SessionScopes(memory.UserOf(ask.Principal, ask.Alone), ask.Agent, ask.Teams)
	}
	var out session.Mounted
	scope := func(name string) (memory.Scope, error) {
		return memory.SessionScope(cmp.Or(name, ask.Scope), ask.Principal, ask.Agent, ask.Teams)
	}
	for _, m := range ask.Mounts {
		at := mount.Mount{Store: m.Store, Dir: m.Dir, Writable: m.Writable, Scope: scope}
		did, err := mount.Sync(ctx, r.memory.In(by), acting(ask.Principal, ask.Key), at, mountFiles{files}, one.seen)
		for _, id := range did.Added {
			out.Added = append(out.Added, m.Store+"/"+id)
		}
		for _, id := range did.Changed {
			out.Changed = append(out.Changed, m.Store+"/"+id)
		}
		for _, l := range did.Labels {
			if !slices.Contains(out.Labels, l) {
				out.Labels = append(out.Labels, l)
			}
		}
		slices.Sort(out.Labels)
		out.Conflicts, out.Refused = append(out.Conflicts, did.Conflicts...), append(out.Refused, did.Refused...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// Forgotten implements runner.Memory.
func (r *Remember) Forgotten(memories []string) (maxBytes int64, is func(name string, data []byte) (instead []byte, is bool)) {
	ids := map[string]bool{}
	for _, m := range memories {
		_, id, _ := strings.Cut(m, "/")
		ids[id] = true
	}
	return mount.MaxFileBytes, mount.Forgotten(ids)
}

// mountFiles are a session's files as package mount has them.
type mountFiles struct{ session.MountFiles }

// List implements mount.Files.
func (f mountFiles) List(ctx context.Context, dir string) ([]mount.File, error) {
	list, err := f.MountFiles.List(ctx, dir)
	out := make([]mount.File, 0, len(list))
	for name, size := range list {
		out = append(out, mount.File{Name: name, Size: size})
	}
	slices.SortFunc(out, func(a, b mount.File) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return out, err
}
