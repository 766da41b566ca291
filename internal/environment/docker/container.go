package docker

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/guest"
)

// guestPath is where the guest lies inside.
const guestPath = "/.stead/" + guest.Argv0

// Labels of our containers.
const (
	labelEnvironment = "dev.stead.environment" // the environment's id
	labelHost        = "dev.stead.host"        // owner.host
	labelOwner       = "dev.stead.owner"       // owner.process
)

// create is the body of POST /containers/create, as far as it is used.
type create struct {
	Image        string
	Entrypoint   []string
	Cmd          []string
	User         string
	WorkingDir   string
	Hostname     string
	OpenStdin    bool
	StdinOnce    bool // standard input ends with the connection that was attached: the leash
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	Labels       map[string]string
	HostConfig   hostConfig
}

type hostConfig struct {
	AutoRemove     bool
	NetworkMode    string
	ReadonlyRootfs bool
	CapDrop        []string
	CapAdd         []string `json:",omitempty"`
	SecurityOpt    []string
	IpcMode        string
	CgroupnsMode   string
	UsernsMode     string            `json:",omitempty"`
	Runtime        string            `json:",omitempty"`
	Memory         int64             // bytes
	MemorySwap     int64             // bytes of both: the same value means no swap
	NanoCpus       int64             // 1e9 is one CPU
	PidsLimit      int64             //
	ShmSize        int64             // bytes of /dev/shm
	Ulimits        []ulimit          //
	Tmpfs          map[string]string // path → mount options
	Mounts         []mount
	LogConfig      logConfig // what the guest says is for nobody else
}

type ulimit struct {
	Name string
	Soft int64
	Hard int64
}

type mount struct {
	Type     string
	Source   string
	Target   string
	ReadOnly bool
}

type logConfig struct{ Type string }

// rootCaps are what set-up commands may do as root: install files of others, and become them. None of
// it reaches beyond the container's own files.
func rootCaps() []string {
	return []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"}
}

// container describes the container of an environment.
func (p *Provider) container(spec environment.Spec, at place, guestFile, image string) create {
	l := spec.Limits.OrDefault()
	c := create{
		Image: image, Entrypoint: []string{guestPath}, Cmd: []string{}, User: at.user, WorkingDir: "/", Hostname: "stead",
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		Labels: map[string]string{labelEnvironment: spec.ID, labelHost: p.owner.host, labelOwner: p.owner.process},
		HostConfig: hostConfig{
			AutoRemove: true, NetworkMode: "none", ReadonlyRootfs: true, CapDrop: []string{"ALL"},
			SecurityOpt: []string{"no-new-privileges"}, IpcMode: "private", CgroupnsMode: "private",
			UsernsMode: at.usernsMode, Runtime: p.opts.Runtime,
			Memory: l.MemoryBytes, MemorySwap: l.MemoryBytes, NanoCpus: int64(l.CPUMilli) * 1e6, PidsLimit: int64(l.Processes),
			ShmSize: 64 << 20,
			// nproc is counted by user over the whole machine, which the limit of processes is for; but
			// an engine that may not raise its own limits fails on its default for it.
			Ulimits:   []ulimit{{"nofile", int64(l.OpenFiles), int64(l.OpenFiles)}, {"nproc", maxUserProcesses, maxUserProcesses}, {"core", 0, 0}},
			Tmpfs:     map[string]string{"/tmp": fmt.Sprintf("rw,exec,nosuid,nodev,mode=1777,size=%d", l.TmpBytes())}, // Podman refuses nr_inodes
			LogConfig: logConfig{"none"},
			Mounts: []mount{
				{Type: "bind", Source: guestFile, Target: guestPath, ReadOnly: true},
			},
		},
	}
	if spec.Workspace != "" {
		c.HostConfig.Mounts = append(c.HostConfig.Mounts, mount{Type: "bind", Source: spec.Workspace, Target: environment.WorkspaceDir})
	}
	if spec.AsRoot {
		c.HostConfig.CapAdd = rootCaps()
	}
	if spec.Services != "" {
		c.HostConfig.Mounts = append(c.HostConfig.Mounts, mount{Type: "bind", Source: spec.Services, Target: environment.ServicesDir, ReadOnly: true})
	}
	for _, m := range spec.Mounts {
		c.HostConfig.Mounts = append(c.HostConfig.Mounts, mount{Type: "bind", Source: m.Source, Target: m.Target, ReadOnly: true})
	}
	return c
}

// maxUserProcesses is the nproc limit: what every machine allows.
const maxUserProcesses = 4096

// createContainer makes a container that does not run yet, and returns its id.
func (a *api) createContainer(ctx context.Context, c create) (string, error) {
	var answer struct {
		ID string `json:"Id"`
	}
	if err := a.call(ctx, http.MethodPost, "/containers/create", c, &answer); err != nil {
		return "", err
	}
	if answer.ID == "" {
		return "", stead.Errorf(stead.KindUnavailable, "the engine made a container without an id")
	}
	return url.PathEscape(answer.ID), nil
}

func (a *api) start(ctx context.Context, id string) error {
	return a.call(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil)
}

// remove kills and removes a container, and returns once the engine has none of its id.
func (a *api) remove(ctx context.Context, id string) error {
	for {
		// Killed first: some engines give a forced removal the polite time to stop.
		_ = a.call(ctx, http.MethodPost, "/containers/"+id+"/kill?signal=KILL", nil, nil) // it may have ended
		err := a.call(ctx, http.MethodDelete, "/containers/"+id+"?force=1&v=1", nil, nil)
		if stead.KindOf(err) == stead.KindNotFound {
			return nil
		}
		if ctx.Err() != nil {
			return stead.Wrap(stead.KindUnavailable, err, "the engine did not remove a container")
		}
		if err == nil { // Docker says so before a removal that is under way has ended: ask again
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stats are what a container uses.
type stats struct {
	CPU struct {
		Usage struct {
			Total int64 `json:"total_usage"` // nanoseconds
		} `json:"cpu_usage"`
	} `json:"cpu_stats"`
	Memory struct {
		Usage int64 `json:"usage"`     // bytes
		Max   int64 `json:"max_usage"` // bytes; control groups of version 1
	} `json:"memory_stats"`
}

func (a *api) stats(ctx context.Context, id string) (stats, error) {
	var s stats
	err := a.call(ctx, http.MethodGet, "/containers/"+id+"/stats?stream=false&one-shot=true", nil, &s)
	return s, err
}

// variables are those of every command.
func variables(spec environment.Spec) map[string]string {
	env := map[string]string{}
	if spec.AsRoot { // what set-up commands cache is no part of the workspace
		env["HOME"], env["USER"], env["LOGNAME"] = "/tmp", "root", "root"
	}
	maps.Copy(env, environment.EgressVariables(spec))
	maps.Copy(env, spec.Env)
	return env
}

// listening is what the guest bridges.
func listening(spec environment.Spec) map[string]string {
	if !spec.Egress || spec.Services == "" {
		return nil
	}
	return map[string]string{environment.EgressSocket: "tcp:127.0.0.1:" + strconv.Itoa(environment.EgressPort)}
}
