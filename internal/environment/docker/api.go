package docker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
)

// Versions of the API. apiVersion is what this driver was written for; engines that no longer speak it
// are asked in the oldest that they do.
const (
	apiVersion = "1.41"
	// dialTime is the longest that connecting to the socket takes.
	dialTime = 5 * time.Second
	// callTime is the longest that an ordinary call takes.
	callTime = 60 * time.Second
)

// api speaks to an engine.
type api struct {
	socket string
	http   *http.Client

	mu      sync.Mutex
	version *version // once the engine has said it
}

// version is the answer of GET /version, as far as it matters.
type version struct {
	Version       string `json:"Version"` // of the engine
	APIVersion    string `json:"ApiVersion"`
	MinAPIVersion string `json:"MinAPIVersion"`
	Os            string `json:"Os"`
	Arch          string `json:"Arch"`
	KernelVersion string `json:"KernelVersion"`
	Components    []struct {
		Name string `json:"Name"`
	} `json:"Components"`

	speak string // the version that we speak to it
}

func newAPI(socket string) *api {
	a := &api{socket: socket}
	a.http = &http.Client{Transport: &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return a.dial(ctx) },
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, DisableCompression: true,
	}}
	return a
}

func (a *api) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime}
	return d.DialContext(ctx, "unix", a.socket)
}

// hello asks for the version, once.
func (a *api) hello(ctx context.Context) (version, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.version != nil {
		return *a.version, nil
	}
	var v version
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := a.do(ctx, http.MethodGet, "/version", nil, &v); err != nil {
		return version{}, err
	}
	if v.Os != "" && v.Os != "linux" {
		return version{}, stead.Errorf(stead.KindUnavailable, "the engine runs %.40s containers, not Linux ones", v.Os)
	}
	switch {
	case older(v.APIVersion, "1.40"):
		return version{}, stead.Errorf(stead.KindUnavailable, "the engine speaks API version %.20q, and 1.40 is the least", v.APIVersion)
	case older(v.APIVersion, apiVersion):
		v.speak = v.APIVersion
	case v.MinAPIVersion != "" && older(apiVersion, v.MinAPIVersion):
		v.speak = v.MinAPIVersion
	default:
		v.speak = apiVersion
	}
	a.version = &v
	return v, nil
}

// older compares two versions, "1.9" and "1.41". What is none counts as oldest.
func older(a, b string) bool {
	x, y := numbers(a), numbers(b)
	return x[0] < y[0] || x[0] == y[0] && x[1] < y[1]
}

func numbers(v string) [2]int {
	major, minor, _ := strings.Cut(v, ".")
	var n [2]int
	n[0], _ = strconv.Atoi(major) // 0 for what is no number
	n[1], _ = strconv.Atoi(minor)
	return n
}

// call makes one call of the versioned API. in and out are JSON; nil: none.
func (a *api) call(ctx context.Context, method, path string, in, out any) error {
	return a.callFor(ctx, callTime, method, path, in, out)
}

// callFor is call for what may take longer.
func (a *api) callFor(ctx context.Context, longest time.Duration, method, path string, in, out any) error {
	v, err := a.hello(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return a.do(ctx, method, "/v"+v.speak+path, in, out)
}

func (a *api) do(ctx context.Context, method, path string, in, out any) error {
	res, err := a.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxAnswerBytes+1))
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the engine's answer was cut off")
	}
	if len(body) > MaxAnswerBytes {
		return stead.Errorf(stead.KindUnavailable, "the engine's answer is larger than %d bytes", MaxAnswerBytes)
	}
	if err := answerError(res.StatusCode, body); err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the engine's answer can't be read")
	}
	return nil
}

func (a *api) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "encode a call of the engine")
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "a call of the engine has no valid path")
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := a.http.Do(req)
	if err != nil {
		return nil, a.unreachable(err)
	}
	return res, nil
}

func (a *api) unreachable(err error) error {
	e := stead.Wrap(stead.KindUnavailable, err, "the container engine does not answer at its socket")
	e.Hint = "Start Docker or Podman, and see that the server's user may open the socket."
	return e
}

// answerError gives a status its kind. The engine's words are the cause: they name paths of the host.
func answerError(status int, body []byte) error {
	if status < 400 && status != http.StatusNotModified {
		return nil
	}
	var answer struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Message == "" {
		answer.Message = strings.TrimSpace(string(body[:min(len(body), 500)]))
	}
	kind := stead.KindUnavailable
	switch status {
	case http.StatusNotFound:
		kind = stead.KindNotFound
	case http.StatusConflict, http.StatusNotModified:
		kind = stead.KindConflict
	case http.StatusBadRequest:
		kind = stead.KindInvalid
	}
	return stead.Wrap(kind, fmt.Errorf("%.1000s", answer.Message), "the container engine answers %d", status)
}

// pull fetches an image. The answer is a stream of JSON objects, one of which may be an error.
func (a *api) pull(ctx context.Context, ref string) error {
	v, err := a.hello(ctx)
	if err != nil {
		return err
	}
	if last := ref[strings.LastIndex(ref, "/")+1:]; !strings.ContainsAny(last, ":@") {
		ref += ":latest" // without a tag, Docker pulls every one
	}
	res, err := a.send(ctx, http.MethodPost, "/v"+v.speak+"/images/create?fromImage="+url.QueryEscape(ref), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		body, _ := io.ReadAll(io.LimitReader(res.Body, MaxAnswerBytes)) // what there is of it
		return pullError(ref, answerError(res.StatusCode, body))
	}
	for d := json.NewDecoder(res.Body); ; {
		var progress struct {
			Error string `json:"error"`
		}
		if err := d.Decode(&progress); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return pullError(ref, err)
		}
		if progress.Error != "" {
			return pullError(ref, fmt.Errorf("%.1000s", progress.Error))
		}
	}
}

func pullError(ref string, cause error) error {
	e := stead.Wrap(stead.KindUnavailable, cause, "the engine can't pull %.200s", ref)
	e.Hint = "Try docker pull " + ref + " by hand: it says why."
	return e
}

// attach opens the standard streams of a container, which need not run yet. The connection leaves
// HTTP with the answer: what is written is standard input; what is read is multiplexed, see stream.go.
func (a *api) attach(ctx context.Context, id string) (*attached, error) {
	v, err := a.hello(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, a.unreachable(err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	res, r, err := upgrade(conn, "/v"+v.speak+"/containers/"+id+"/attach?stream=1&stdin=1&stdout=1&stderr=1")
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		conn.Close()
		return nil, stead.Wrap(stead.KindUnavailable, err, "attach to the container")
	}
	// 101 since API version 1.22, and 200 from engines that do not upgrade but hand over all the same.
	if res.StatusCode != http.StatusSwitchingProtocols && res.StatusCode != http.StatusOK {
		defer conn.Close()
		body, _ := io.ReadAll(io.LimitReader(res.Body, MaxAnswerBytes)) // what there is of it
		if err := answerError(res.StatusCode, body); err != nil {
			return nil, err
		}
		return nil, stead.Errorf(stead.KindUnavailable, "the engine answers %d to an attach", res.StatusCode)
	}
	return &attached{Conn: conn, demux: newDemux(r)}, nil
}

// upgrade asks for a connection's streams.
func upgrade(conn net.Conn, path string) (*http.Response, *bufio.Reader, error) {
	req, err := http.NewRequest(http.MethodPost, "http://engine"+path, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")
	if err := req.Write(conn); err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	res, err := http.ReadResponse(r, req)
	return res, r, err
}
