// Command gateway measures the stateless doors beside a bare reverse proxy (net/http/httputil), in one
// run on one machine, and prints one table: baseline, ours, ratio, goal, reached.
//
//	load ──▶ bare proxy | stead ──▶ upstream that streams at once
//
// Each of the four is a process of its own; load alternates between the two in the middle, so that what
// else the machine does falls on both. Before a part is measured it is warmed up.
//
// Units: requests per second of a closed loop; CPU microseconds a request (user and system, of the
// process in the middle alone); latencies in milliseconds at half of the bare proxy's rate; resident
// kilobytes per open stream.
//
// Errors: whatever keeps a figure from being measured ends the run; a goal missed does not.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stead-dev/stead/proof/rig"
)

// The shape of an answer: as a short chat has it.
const (
	chunks     = 20
	holdHeader = "hold" // a request whose prompt begins so gets one chunk, and then nothing until it goes
)

func main() {
	role := flag.String("role", "", "internal: upstream, or proxy")
	to := flag.String("to", "", "internal: where the proxy leads to")
	window := flag.Duration("window", 3*time.Second, "of one measurement")
	streams := flag.Int("streams", 1000, "open streams whose memory is measured")
	programs := flag.String("compare", "", "builds of stead, with commas between: of each only the CPU is measured, side by side")
	offers := flag.Bool("offers", false, "of a comparison: by what requests offer, and by which policies are asked about it")
	turns := flag.Int("rounds", 100, "of a comparison")
	flag.Parse()
	var err error
	switch *role {
	case "upstream":
		err = serve(http.HandlerFunc(answer))
	case "proxy":
		err = proxy(*to)
	default:
		if *programs != "" && *offers {
			err = compareOffers(os.Stdout, strings.Split(*programs, ","), *window, *turns)
			break
		}
		if *programs != "" {
			err = compare(os.Stdout, strings.Split(*programs, ","), *window, *turns)
			break
		}
		err = measure(*window, *streams)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serve prints where it serves, and does so until it is killed.
func serve(h http.Handler) error {
	s := httptest.NewServer(h)
	fmt.Println(s.URL)
	select {}
}

// proxy is what anybody would write in ten lines.
func proxy(to string) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	const idle = 512
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = idle, idle
	p := &httputil.ReverseProxy{FlushInterval: -1, Transport: t, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	return serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Without it a large body that the transport has not seen the end of breaks the first flush.
		_ = http.NewResponseController(w).EnableFullDuplex()
		p.ServeHTTP(w, r)
	}))
}

// answer streams chunks at once.
func answer(w http.ResponseWriter, r *http.Request) {
	head := make([]byte, 256)
	n, _ := r.Body.Read(head)
	hold := strings.Contains(string(head[:n]), holdHeader)
	for buf := make([]byte, 32<<10); ; {
		if _, err := r.Body.Read(buf); err != nil {
			break
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	for i := range chunks {
		fmt.Fprintf(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word %d \"},\"finish_reason\":null}]}\n\n", i)
		if rc.Flush() != nil {
			return
		}
		if hold {
			<-r.Context().Done()
			return
		}
	}
	fmt.Fprint(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":20,\"total_tokens\":29}}\n\ndata: [DONE]\n\n")
}

// middle is a process between the load and the upstream.
type middle struct {
	name, url string
	client    *http.Client
	pid       int
}

// child runs this program in a role and returns where it serves.
func child(stop *[]func(), args ...string) (middle, error) {
	self, err := os.Executable()
	if err != nil {
		return middle{}, err
	}
	cmd := exec.Command(self, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return middle{}, err
	}
	if err := cmd.Start(); err != nil {
		return middle{}, err
	}
	*stop = append(*stop, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var u string
	if _, err := fmt.Fscanln(out, &u); err != nil {
		return middle{}, fmt.Errorf("start %v: %w", args, err)
	}
	return middle{args[1], u + "/v1/chat/completions", client(), cmd.Process.Pid}, nil
}

func measure(window time.Duration, streams int) (err error) {
	var stop []func()
	defer func() {
		for _, f := range stop {
			f()
		}
	}()
	dir, base, bare, err := surroundings(&stop)
	if err != nil {
		return err
	}
	program, err := rig.Build(dir, "./cmd/stead")
	if err != nil {
		return err
	}
	ours, err := stead(&stop, rig.NodeOptions{Program: program, Dir: filepath.Join(dir, "node")}, base)
	if err != nil {
		return err
	}
	return report(os.Stdout, bare, ours, window, streams)
}

// surroundings are a directory, an upstream at base, and the bare proxy before it.
func surroundings(stop *[]func()) (dir, base string, bare middle, err error) {
	if dir, err = os.MkdirTemp("", "stead-gateway-"); err != nil {
		return "", "", bare, err
	}
	*stop = append(*stop, func() { _ = os.RemoveAll(dir) })
	upstream, err := child(stop, "-role", "upstream")
	if err != nil {
		return "", "", bare, err
	}
	base = strings.TrimSuffix(upstream.url, "/v1/chat/completions")
	bare, err = child(stop, "-role", "proxy", "-to", base)
	bare.name = "bare proxy"
	return dir, base, bare, err
}

// stead starts a node whose model m is the upstream at base.
func stead(stop *[]func(), o rig.NodeOptions, base string) (middle, error) {
	o.Config += fmt.Sprintf("providers: [{name: up, api: chat, base_url: %q}]\nmodels: [{name: m, routes: [{provider: up, model: real}]}]\n", base+"/v1")
	node, err := rig.NewNode(o)
	if err != nil {
		return middle{}, err
	}
	if err := node.Start(); err != nil {
		return middle{}, err
	}
	*stop = append(*stop, node.Kill)
	return middle{"stead", node.URL() + "/v1/chat/completions", client(), node.Pid()}, nil
}

// cpu is what a process has used so far: what its threads have run, to the nanosecond, or where the kernel does not keep
// that, in ticks of 10 ms.
func cpu(pid int) (time.Duration, error) {
	var sum time.Duration
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat") // the pattern is right
	for _, file := range threads {
		b, _ := os.ReadFile(file) // a thread that has ended meanwhile has none
		run, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(run, 10, 64)
		sum += time.Duration(n)
	}
	if sum > 0 {
		return sum, nil
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold spaces
	const utime, stime, tick = 11, 12, 10 * time.Millisecond
	f := strings.Fields(rest)
	if len(f) <= stime {
		return 0, errors.New("/proc/PID/stat is too short")
	}
	user, err1 := strconv.Atoi(f[utime])
	system, err2 := strconv.Atoi(f[stime])
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// resident is a process's memory in bytes.
func resident(pid int) (int, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0, errors.New("/proc/PID/statm is too short")
	}
	pages, err := strconv.Atoi(f[1])
	return pages * os.Getpagesize(), err
}
