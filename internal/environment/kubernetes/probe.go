package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/guest"
)

// Probe implements environment.Provider: it claims a pod and reports what the guest finds in it.
func (p *Provider) Probe(ctx context.Context) environment.Report {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	r := environment.Report{Driver: p.Name(), Isolation: environment.IsolationShared}
	seen, pod, err := p.trial(ctx)
	if err != nil {
		r.Problem = err.Error()
		if e, ok := errors.AsType[*stead.Error](err); ok {
			r.Remedy = e.Hint
		}
		return r
	}
	r.Usable, r.Egress = true, true
	own := pod.runtime != "" && pod.nodeKernel != "" && pod.nodeKernel != seen.Kernel
	switch {
	case own:
		r.Isolation = environment.IsolationStrong
		r.Notes = append(r.Notes, fmt.Sprintf("Pods have the runtime class %.60s, and a kernel of their own.", pod.runtime))
	case pod.runtime != "" && pod.nodeKernel == "":
		r.Notes = append(r.Notes, fmt.Sprintf("Pods have the runtime class %.60s. Whether that is a kernel of its own is not known: the server's account may not get nodes.", pod.runtime))
	default:
		r.Notes = append(r.Notes, "Pods share the kernel of their node.")
	}
	r.Controls = controls(seen, own)
	return r
}

// podInfo is what the cluster says of the trial's pod.
type podInfo struct {
	runtime    string // class
	nodeKernel string // "": not to be seen
}

// trial opens an environment as any other and asks its guest what it sees.
func (p *Provider) trial(ctx context.Context) (guest.Seen, podInfo, error) {
	dir, err := os.MkdirTemp("", "stead-trial-*")
	if err != nil {
		return guest.Seen{}, podInfo{}, stead.Wrap(stead.KindUnavailable, err, "make a trial workspace")
	}
	defer os.RemoveAll(dir) // best effort: it is empty
	e, err := p.start(ctx, environment.Spec{ID: "probe", Workspace: dir, Limits: environment.LimitsOf(environment.SizeSmall)})
	if err != nil {
		return guest.Seen{}, podInfo{}, err
	}
	seen, info := e.client.Seen(), p.api.podInfo(ctx, e.pod)
	return seen, info, e.Close(ctx)
}

// podInfo looks at a pod and its node, as far as the account may.
func (a *api) podInfo(ctx context.Context, name string) podInfo {
	var pod struct {
		Spec struct {
			RuntimeClassName string `json:"runtimeClassName"`
			NodeName         string `json:"nodeName"`
		} `json:"spec"`
	}
	if a.call(ctx, http.MethodGet, "/api/v1/namespaces/"+url.PathEscape(a.opts.Namespace)+"/pods/"+url.PathEscape(name), "", nil, &pod) != nil {
		return podInfo{}
	}
	info := podInfo{runtime: pod.Spec.RuntimeClassName}
	var node struct {
		Status struct {
			Info struct {
				KernelVersion string `json:"kernelVersion"`
			} `json:"nodeInfo"`
		} `json:"status"`
	}
	if pod.Spec.NodeName != "" && a.call(ctx, http.MethodGet, "/api/v1/nodes/"+url.PathEscape(pod.Spec.NodeName), "", nil, &node) == nil {
		info.nodeKernel = node.Status.Info.KernelVersion
	}
	return info
}

// controls say who is responsible: most of them are lines of the operator's template, and what the
// guest saw of it.
func controls(seen guest.Seen, ownKernel bool) []environment.Control {
	template := func(name, by string, holds bool, gap, line string) environment.Control {
		if holds {
			return environment.Control{Name: name, By: by}
		}
		return environment.Control{Name: name, Gap: gap, Remedy: "Set " + line + " in the SandboxTemplate: see docs/kubernetes.md."}
	}
	syscalls := "our seccomp filter, no capabilities, no new privileges"
	if ownKernel {
		syscalls = "a kernel of its own"
	}
	noCaps := strings.Trim(seen.CapBounds, "0") == "" && seen.CapBounds != ""
	fixed := "It is the template's, whatever the environment's size says."
	size := "a template and pool for each size, or one for all"
	return []environment.Control{
		template(environment.ControlFiles, "the container's image, read-only", !seen.RootWritable, "The root file system can be written.", "readOnlyRootFilesystem: true"),
		{Name: environment.ControlProcesses, By: "the pod's pid namespace"},
		template(environment.ControlNetwork, "no network", len(seen.Interfaces) == 0,
			"The pod has a network, and only a NetworkPolicy that the cluster's plugin enforces keeps it closed.", "networkPolicy with an empty egress list"),
		template(environment.ControlSyscalls, syscalls, ownKernel || seen.Filter && seen.NoNewPrivs && noCaps, "The container has capabilities, or may gain privileges.",
			"allowPrivilegeEscalation: false and capabilities.drop: [ALL]"),
		template(environment.ControlMemory, "", false, fixed, size),
		template(environment.ControlPIDs, "", false, "It is the kubelet's podPidsLimit, whatever the environment's size says.", size),
		template(environment.ControlCPU, "", false, fixed, size),
		{Name: environment.ControlDisk, By: "a watchdog in the guest, and the sizeLimit of the template's emptyDir, above which the pod is evicted"},
		template(environment.ControlOpenFiles, "", false, "It is the container runtime's.", "nothing: the runtime's configuration has it,"),
		{Name: environment.ControlCleanup, By: "the guest, which ends with the server's connection, and the claim's lease"},
		template(environment.ControlLayers, "", false, "Packages and set-up commands can't be laid over an image.", "an image with what agents need"),
	}
}
