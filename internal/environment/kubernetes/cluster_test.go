//go:build linux

package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// cluster is an API server with agent-sandbox's resources, as far as the driver uses them: discovery,
// claims with watches, deletion in the foreground, exec over WebSockets. Behind it are real pods: a
// pid, mount, network, ipc and uts namespace with the guest as pid 1 ("hold") and a root of busybox.
type cluster struct {
	t      *testing.T
	server *httptest.Server
	dir    string
	guest  string

	mu       sync.Mutex
	version  string // of the claims' group
	claims   map[string]*fakeClaim
	revision int
	changed  chan struct{}               // closed and replaced at each change
	answer   map[string]http.HandlerFunc // "METHOD path" → in place of ours
	status   func(c *fakeClaim)          // what the controller does with a new claim; nil: it makes a pod
	v4       bool                        // speaks v4.channel.k8s.io alone
	runtime  string                      // runtime class of pods
	conns    []*websocket.Conn
}

type fakeClaim struct {
	object  map[string]any
	deleted bool // its pod is going
	pod     *pod
}

const (
	testToken     = "t0k3n"
	testNamespace = "agents"
	podUser       = 65532
)

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, version: "v1beta1", claims: map[string]*fakeClaim{}, changed: make(chan struct{}), answer: map[string]http.HandlerFunc{}, dir: publicDir(t)}
	c.server = httptest.NewServer(c)
	t.Cleanup(func() {
		c.mu.Lock()
		pods := []*pod{}
		for _, k := range c.claims {
			if k.pod != nil {
				pods = append(pods, k.pod)
			}
		}
		c.mu.Unlock()
		for _, p := range pods {
			p.stop()
		}
		c.server.CloseClientConnections()
		c.server.Close()
	})
	return c
}

func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stead-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return dir
}

func (c *cluster) provider(t *testing.T, change ...func(*Options)) *Provider {
	t.Helper()
	opts := Options{Server: c.server.URL, Token: func() (string, error) { return testToken, nil }, Namespace: testNamespace, Pool: "pool", Node: "node-1"}
	for _, f := range change {
		f(&opts)
	}
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// on replaces an answer.
func (c *cluster) on(call string, status int, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer[call] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (c *cluster) claimsPath() string {
	return "/apis/" + claimGroup + "/" + c.version + "/namespaces/" + testNamespace + "/sandboxclaims"
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + r.URL.Path
	c.mu.Lock()
	special := c.answer[call]
	c.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+testToken {
		failure(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	if special != nil {
		special(w, r)
		return
	}
	name, one := strings.CutPrefix(r.URL.Path, c.claimsPath()+"/")
	switch {
	case r.URL.Path == "/apis/"+claimGroup || r.URL.Path == "/apis/"+sandboxGroup:
		answer(w, http.StatusOK, map[string]any{"kind": "APIGroup", "versions": []map[string]string{{"groupVersion": claimGroup + "/" + c.version, "version": c.version}}})
	case call == "POST "+c.claimsPath():
		c.create(w, r)
	case r.Method == http.MethodGet && r.URL.Path == c.claimsPath() && r.FormValue("watch") == "true":
		c.watch(w, r)
	case r.Method == http.MethodGet && r.URL.Path == c.claimsPath():
		c.list(w, r)
	case one:
		c.one(w, r, name)
	case strings.HasPrefix(r.URL.Path, "/apis/"+sandboxGroup+"/") && r.Method == http.MethodGet:
		answer(w, http.StatusOK, map[string]any{"metadata": map[string]any{"name": "sandbox", "annotations": map[string]string{podAnnotation: "pod-of-" + filepath.Base(r.URL.Path)}}})
	case strings.HasSuffix(r.URL.Path, "/exec"):
		c.exec(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/"+testNamespace+"/pods/"):
		answer(w, http.StatusOK, map[string]any{"spec": map[string]any{"runtimeClassName": c.runtime, "nodeName": "n1"}})
	case r.URL.Path == "/api/v1/nodes/n1":
		answer(w, http.StatusOK, map[string]any{"status": map[string]any{"nodeInfo": map[string]any{"kernelVersion": "0.0.0-of-the-node"}}})
	default:
		failure(w, http.StatusNotFound, "the server could not find the requested resource")
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func failure(w http.ResponseWriter, code int, message string) {
	answer(w, code, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code})
}

// touch gives an object a new version and wakes the watches.
func (c *cluster) touch(k *fakeClaim) {
	c.revision++
	k.object["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(c.revision)
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cluster) create(w http.ResponseWriter, r *http.Request) {
	var object map[string]any
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		failure(w, http.StatusBadRequest, err.Error())
		return
	}
	spec := object["spec"].(map[string]any)
	want := "warmPoolRef"
	if c.version == "v1alpha1" {
		want = "sandboxTemplateRef"
	}
	if spec[want] == nil || object["apiVersion"] != claimGroup+"/"+c.version {
		failure(w, http.StatusUnprocessableEntity, "spec."+want+": Required value")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := object["metadata"].(map[string]any)
	m["name"] = fmt.Sprintf("%s%d", m["generateName"], c.revision)
	k := &fakeClaim{object: object}
	c.claims[m["name"].(string)] = k
	c.touch(k)
	answer(w, http.StatusCreated, object)
	go c.reconcile(k)
}

// reconcile is the controller: not ready, then a pod, then ready.
func (c *cluster) reconcile(k *fakeClaim) {
	c.mu.Lock()
	special := c.status
	if special != nil {
		special(k)
		c.touch(k)
		c.mu.Unlock()
		return
	}
	c.condition(k, "False", "DependenciesNotReady")
	name := k.object["metadata"].(map[string]any)["name"].(string)
	c.mu.Unlock()
	p, err := c.startPod(name)
	if err != nil {
		c.t.Errorf("start a pod: %v", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k.pod = p
	c.condition(k, "True", "DependenciesReady")
}

// condition sets Ready, with the lock held.
func (c *cluster) condition(k *fakeClaim, status, reason string) {
	name := k.object["metadata"].(map[string]any)["name"]
	k.object["status"] = map[string]any{
		"conditions": []map[string]any{{"type": "Ready", "status": status, "reason": reason, "message": "of the fake"}},
		"sandbox":    map[string]any{"name": name},
	}
	c.touch(k)
}

func (c *cluster) list(w http.ResponseWriter, r *http.Request) {
	key, value, _ := strings.Cut(r.FormValue("labelSelector"), "=")
	c.mu.Lock()
	defer c.mu.Unlock()
	items := []any{}
	for _, k := range c.claims {
		labels, _ := k.object["metadata"].(map[string]any)["labels"].(map[string]any)
		if labels[key] == value {
			items = append(items, k.object)
		}
	}
	answer(w, http.StatusOK, map[string]any{"items": items})
}

// watch sends what changes after a version, one JSON object a line.
func (c *cluster) watch(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.FormValue("fieldSelector"), "metadata.name=")
	after, err := strconv.Atoi(r.FormValue("resourceVersion"))
	if err != nil {
		failure(w, http.StatusBadRequest, "resourceVersion")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	lines := json.NewEncoder(w)
	_ = lines.Encode(map[string]any{"type": "BOOKMARK", "object": map[string]any{"metadata": map[string]any{"resourceVersion": strconv.Itoa(after)}}})
	w.(http.Flusher).Flush()
	for {
		c.mu.Lock()
		k, changed := c.claims[name], c.changed
		kind, object, version := "MODIFIED", map[string]any(nil), after
		if k == nil {
			kind = "DELETED"
			object = map[string]any{"metadata": map[string]any{"name": name}}
		} else {
			object = k.object
			version, _ = strconv.Atoi(object["metadata"].(map[string]any)["resourceVersion"].(string))
		}
		var line []byte
		if k == nil || version > after {
			line, _ = json.Marshal(map[string]any{"type": kind, "object": object}) // of a map that was JSON
		}
		c.mu.Unlock()
		if line != nil {
			after = version
			if _, err := w.Write(append(line, '\n')); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
		if k == nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (c *cluster) one(w http.ResponseWriter, r *http.Request, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.claims[name]
	if k == nil {
		failure(w, http.StatusNotFound, "sandboxclaims \""+name+"\" not found")
		return
	}
	switch r.Method {
	case http.MethodGet:
		answer(w, http.StatusOK, k.object)
	case http.MethodPatch:
		var patch struct {
			Spec struct {
				Lifecycle map[string]any `json:"lifecycle"`
			} `json:"spec"`
		}
		if r.Header.Get("Content-Type") != "application/merge-patch+json" || json.NewDecoder(r.Body).Decode(&patch) != nil {
			failure(w, http.StatusUnsupportedMediaType, "the body of the request was in an unknown format")
			return
		}
		for key, v := range patch.Spec.Lifecycle {
			k.object["spec"].(map[string]any)["lifecycle"].(map[string]any)[key] = v
		}
		c.touch(k)
		answer(w, http.StatusOK, k.object)
	case http.MethodDelete:
		if !k.deleted { // in the foreground: the claim stays until its pod is gone
			k.deleted = true
			k.object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
			c.touch(k)
			go func() {
				if k.pod != nil {
					k.pod.stop()
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.claims, name)
				c.touch(k)
			}()
		}
		answer(w, http.StatusOK, k.object)
	}
}

// exec runs a command in a pod behind a WebSocket of Kubernetes' channels.
func (c *cluster) exec(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(filepath.Base(filepath.Dir(r.URL.Path)), "pod-of-")
	c.mu.Lock()
	k, v4 := c.claims[name], c.v4
	c.mu.Unlock()
	if k == nil || k.pod == nil {
		failure(w, http.StatusNotFound, "pods \""+name+"\" not found")
		return
	}
	protocols := []string{"v5.channel.k8s.io", "v4.channel.k8s.io"}
	if v4 {
		protocols = protocols[1:]
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: protocols})
	if err != nil {
		return
	}
	c.mu.Lock()
	c.conns = append(c.conns, conn)
	c.mu.Unlock()
	k.pod.serve(conn, r.URL.Query()["command"], conn.Subprotocol() == protocols[0] && !v4)
}

// pod is a container on this machine.
type pod struct {
	root string
	cmd  *exec.Cmd // unshare(1)
	pid  string    // of pid 1 inside
	once sync.Once
	done chan struct{}
}

// podScript sets up the root: read-only but for the workspace, the services and /tmp.
const podScript = `set -e
mount --make-rprivate /
mount --bind "$1" "$1"
for d in workspace run/stead; do mount --bind "$1/$d" "$1/$d"; done
mount -t tmpfs -o mode=1777,size=64m tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
for f in null zero random urandom; do : >> "$1/dev/$f"; mount --bind "/dev/$f" "$1/dev/$f"; done
mount -o remount,bind,ro "$1"
busybox ip link set lo up
exec chroot "$1" ` + GuestPath + ` hold`

func (c *cluster) startPod(name string) (*pod, error) {
	p := &pod{root: filepath.Join(c.dir, name), done: make(chan struct{})}
	if err := makeRoot(p.root, c.guest); err != nil {
		return nil, err
	}
	p.cmd = exec.Command("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", podScript, "pod", p.root)
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // killed at its end
		close(p.done)
	}()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.cmd.Process.Pid, p.cmd.Process.Pid))
		p.pid = strings.TrimSpace(string(children))
		if line, _ := os.ReadFile("/proc/" + p.pid + "/cmdline"); p.pid != "" && strings.HasPrefix(string(line), GuestPath) {
			return p, nil
		}
		if time.Now().After(end) {
			p.stop()
			return nil, fmt.Errorf("the pod does not come up")
		}
	}
}

func makeRoot(root, guestFile string) error {
	for _, d := range []string{"bin", "dev", "proc", "sys", "etc", "opt", "var", "tmp", "usr/bin", "usr/lib", "run/stead", "workspace", ".stead"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	if err := exec.Command("cp", busybox, filepath.Join(root, "bin/busybox")).Run(); err != nil {
		return err
	}
	if err := exec.Command("cp", guestFile, root+GuestPath).Run(); err != nil {
		return err
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		if name != "busybox" {
			if err := os.Symlink("/bin/busybox", filepath.Join(root, "bin", name)); err != nil {
				return err
			}
		}
	}
	for _, d := range []string{"workspace", "run/stead"} {
		if err := os.Chown(filepath.Join(root, d), podUser, podUser); err != nil {
			return err
		}
	}
	return os.Symlink("/bin/busybox", filepath.Join(root, "usr/bin/env"))
}

func (p *pod) stop() {
	p.once.Do(func() { _ = p.cmd.Process.Kill() }) // --kill-child takes pid 1 along, and it everything
	<-p.done
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat("/proc/" + p.pid); err != nil {
			return
		}
	}
}

// serve runs one command in the pod, as the kubelet does: when the connection ends, standard input
// does, and the command is left to itself.
func (p *pod) serve(conn *websocket.Conn, command []string, v5 bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	args := []string{"-t", p.pid, "-m", "-p", "-n", "-i", "-u", "-r", "-w", "-S", strconv.Itoa(podUser), "-G", strconv.Itoa(podUser), "--"}
	cmd := exec.Command("nsenter", append(args, command...)...)
	cmd.Env = []string{"PATH=/bin:/usr/bin", "OF_IMAGE=yes"}
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	var one sync.Mutex
	send := func(channel byte) io.Writer {
		return writer(func(b []byte) (int, error) {
			one.Lock()
			defer one.Unlock()
			return len(b), conn.Write(ctx, websocket.MessageBinary, append([]byte{channel}, b...))
		})
	}
	cmd.Stdout, cmd.Stderr = send(channelStdout), send(channelStderr)
	if err := cmd.Start(); err != nil {
		return
	}
	go func() {
		defer in.Close()
		for {
			_, message, err := conn.Read(ctx)
			if err != nil {
				return
			}
			switch {
			case len(message) == 2 && message[0] == channelClose && message[1] == channelStdin && v5:
				return
			case len(message) > 0 && message[0] == channelStdin:
				if _, err := in.Write(message[1:]); err != nil {
					return
				}
			}
		}
	}()
	status := map[string]any{"status": "Success"}
	if err := cmd.Wait(); err != nil {
		status = map[string]any{"status": "Failure", "message": err.Error(), "reason": "NonZeroExitCode"}
	}
	data, _ := json.Marshal(status) // a map of texts
	_, _ = send(channelError).Write(data)
	_ = conn.Close(websocket.StatusNormalClosure, "")
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
