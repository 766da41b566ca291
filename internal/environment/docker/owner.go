package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// owner names the server process that a container belongs to.
type owner struct {
	host    string // this boot of this machine
	process string // "PID:START", the start in clock ticks since boot; "PID:" where that is not known
}

// self is the owner that this process is.
func self() owner {
	o := owner{process: process(os.Getpid())}
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		o.host = strings.TrimSpace(string(id))
	} else if o.host, err = os.Hostname(); err != nil {
		o.host = "unknown"
	}
	return o
}

// process names a process, so that another one with the same pid later has another name.
func process(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return strconv.Itoa(pid) + ":"
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return strconv.Itoa(pid) + ":"
	}
	return strconv.Itoa(pid) + ":" + fields[19] // field 22 of the line: see proc(5)
}

// lives says whether the process that a label names still runs. When in doubt, it does.
func lives(label string) bool {
	pidText, _, _ := strings.Cut(label, ":")
	pid, err := strconv.Atoi(pidText)
	if err != nil || pid <= 0 {
		return true // not a label of ours
	}
	if err := syscall.Kill(pid, 0); err == syscall.ESRCH {
		return false
	}
	return runtime.GOOS != "linux" || process(pid) == label
}

// Sweep removes containers whose server is gone from this machine: what an engine kept although the
// guest's stream has ended. Containers of other machines that use the same engine are let be.
func (p *Provider) Sweep(ctx context.Context) (removed int, err error) {
	filters, err := json.Marshal(map[string][]string{"label": {labelHost + "=" + p.owner.host}})
	if err != nil {
		return 0, stead.Wrap(stead.KindInternal, err, "encode filters")
	}
	var list []struct {
		ID     string            `json:"Id"`
		Labels map[string]string `json:"Labels"`
	}
	if err := p.api.call(ctx, http.MethodGet, "/containers/json?all=1&filters="+url.QueryEscape(string(filters)), nil, &list); err != nil {
		return 0, err
	}
	for _, c := range list {
		if c.Labels[labelHost] != p.owner.host || lives(c.Labels[labelOwner]) {
			continue
		}
		if err := p.api.remove(ctx, url.PathEscape(c.ID)); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, p.Prune(ctx)
}

// info is what an engine says about its user namespaces.
type info struct {
	SecurityOptions []string `json:"SecurityOptions"`
}

func (i info) has(option string) bool {
	for _, o := range i.SecurityOptions {
		for part := range strings.SplitSeq(o, ",") {
			if part == "name="+option {
				return true
			}
		}
	}
	return false
}

// place is what differs between engines.
type place struct {
	user       string // "UID:GID" of the commands
	usernsMode string
}

// place says who commands run as, and in which user namespace, so that the workspace's files are theirs.
func (p *Provider) place(ctx context.Context, spec environment.Spec) (place, error) {
	v, err := p.api.hello(ctx)
	if err != nil {
		return place{}, err
	}
	var i info
	if err := p.api.call(ctx, http.MethodGet, "/info", nil, &i); err != nil {
		return place{}, refused(err, "say what it is")
	}
	var at place
	if i.has("rootless") {
		if !v.podman() {
			at.user = "0:0" // root inside is the engine's user outside, and nobody else can be had
			return at, nil
		}
		if !spec.AsRoot { // whose root is the engine's user outside: what it makes is the workspace's owner's
			at.usernsMode = "keep-id"
		}
	} else if i.has("userns") {
		at.usernsMode = "host" // the workspace's owner must be the same inside
	}
	if spec.AsRoot {
		at.user = "0:0"
		return at, nil
	}
	uid, gid, err := ownWorkspace(spec.Workspace)
	at.user = strconv.Itoa(uid) + ":" + strconv.Itoa(gid)
	return at, err
}

func (v version) podman() bool {
	for _, c := range v.Components {
		if strings.Contains(c.Name, "Podman") {
			return true
		}
	}
	return false
}

// ownWorkspace returns the owner of a workspace. Root's are given to DefaultUID first, with all that
// lies in them. No link is followed.
func ownWorkspace(dir string) (uid, gid int, err error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return 0, 0, stead.Wrap(stead.KindUnavailable, err, "look at the workspace")
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return DefaultUID, DefaultUID, nil
	}
	if st.Uid != 0 {
		return int(st.Uid), int(st.Gid), nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, 0, stead.Wrap(stead.KindUnavailable, err, "open the workspace")
	}
	defer root.Close()
	// The directory itself comes last: a crash in between leaves it root's, and all is done again.
	err = environment.Walk(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		return root.Lchown(name, DefaultUID, DefaultUID)
	})
	if err == nil {
		err = root.Lchown(".", DefaultUID, DefaultUID)
	}
	if err != nil {
		return 0, 0, stead.Wrap(stead.KindUnavailable, err, "give the workspace to its user")
	}
	return DefaultUID, DefaultUID, nil
}
