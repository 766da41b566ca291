package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Server is a helper process that says one line when it is ready: its base address, mostly.
type Server struct {
	Line string
	cmd  *exec.Cmd
}

// URL is the address of a server that said it.
func (s *Server) URL() string { return s.Line }

// StartServer runs a program until Close.
func StartServer(program string, args ...string) (*Server, error) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("%s said nothing: %w", program, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return &Server{Line: strings.TrimSpace(line), cmd: cmd}, nil
}

// Close kills the process.
func (s *Server) Close() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Outcome asks the tool server what became of an idempotency key, once nothing with it is running.
func (s *Server) Outcome(ctx context.Context, key string) (applied int, result string, err error) {
	var o struct {
		Applied int    `json:"applied"`
		Result  string `json:"result"`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/outcome?key="+url.QueryEscape(key), nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
		return 0, "", err
	}
	return o.Applied, o.Result, nil
}

// AwaitPhase waits until a call reaches a phase at the tool server, where it then stands for hold.
// It reports whether one did within wait.
func (s *Server) AwaitPhase(phase string, hold, wait time.Duration) (bool, error) {
	resp, err := http.Get(fmt.Sprintf("%s/phase?name=%s&hold=%s&wait=%s", s.URL(), phase, hold, wait))
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}
