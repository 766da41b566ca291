package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/bare"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/executor"
	"github.com/stead-dev/stead/internal/environment/landlock"
	"github.com/stead-dev/stead/internal/environment/ns"
)

// envRemote holds the remote URL for who does not want its token in the list of processes.
const envRemote = "STEAD_REMOTE_URL"

const sandboxAuto = "auto"

// executorFlags are what a user allows on his machine.
type executorFlags struct {
	remote, workspace, sandbox string
	hosts, dial, pass          []string
	plainHTTP                  bool
	named                      bool // --workspace was given
}

func (a *app) executorCmd() *cobra.Command {
	var f executorFlags
	c := &cobra.Command{
		Use: "executor", Short: "Give a session a computer: this one", Args: cobra.NoArgs,
		Long: "Executor makes this machine the environment of a session: it connects to the server that the remote URL\n" +
			"names, outwards and with a token of its own, or with the certificate that --cert names, and runs the session's\n" +
			"commands in a directory of yours.\n" +
			"It connects again whenever the connection breaks; commands go on meanwhile. Ctrl-C ends it and all that\n" +
			"it runs.\n\n" +
			"Commands run in the best sandbox that works here, and see nothing of this machine but the workspace\n" +
			"and the system's programs. With --sandbox none they run as you, with all of your rights.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.named = cmd.Flags().Changed("workspace")
			return a.runExecutor(cmd.Context(), f)
		},
	}
	c.Flags().StringVar(&f.remote, "remote", "", "the environment's remote_url, unchanged and in quotes (default $"+envRemote+")")
	c.Flags().StringVar(&f.workspace, "workspace", defaultWorkspace, "bounds where the commands work: the session's workspace_directory must be this directory or below it (default: it may be any directory; without one, where you are)")
	c.Flags().StringVar(&f.sandbox, "sandbox", sandboxAuto, "auto, "+strings.Join(sandboxNames(), ", ")+" or none")
	c.Flags().StringSliceVar(&f.hosts, "allow-host", nil, "hosts that commands in the sandbox reach, such as *.npmjs.org; * for every public one")
	c.Flags().StringSliceVar(&f.dial, "allow-dial", nil, "HOST:PORT that the server may connect to from here, for tool servers; * for any")
	c.Flags().StringSliceVar(&f.pass, "pass-env", nil, "names of your variables that commands get, with --sandbox none")
	c.Flags().BoolVar(&f.plainHTTP, "allow-plain-http", false, "connect without encryption to another host than this one")
	return c
}

// sandboxNames are the drivers that an executor can use, the best first.
func sandboxNames() []string { return []string{sandboxNS, sandboxLandlock} }

const (
	sandboxNS       = "ns"
	sandboxLandlock = "landlock"
)

func openSandbox(name string) environment.Provider {
	switch name {
	case sandboxNS:
		return ns.New(cgroup.Detect())
	case sandboxLandlock:
		return landlock.New(cgroup.Detect())
	}
	return nil
}

func (a *app) runExecutor(ctx context.Context, f executorFlags) error {
	if f.remote == "" {
		f.remote, _ = a.env(envRemote)
	}
	dir, err := workspaceDir(f.workspace)
	if err != nil {
		return err
	}
	secured := a.tlsOf()
	host, err := executor.Host(f.remote, f.plainHTTP, secured.Certified())
	if err != nil {
		return err
	}
	sandbox, err := f.choose(ctx)
	if err != nil {
		return err
	}
	caller, err := httpClient(secured)
	if err != nil {
		return err
	}
	say := &executorVoice{out: a.out, json: a.json()}
	if len(f.hosts) > 0 {
		if sandbox, err = allowHosts(sandbox, f.hosts, say.reached); err != nil {
			return err
		}
	}
	say.begin(host, dir, sandbox.Name(), f)
	place := placing{own: dir, bounded: f.named, sandbox: sandbox.Name(), say: say}
	c := executor.Config{
		Remote: f.remote, Workspace: dir, Sandbox: sandbox, Seen: place.seen(dir), Place: place.decide, PlainHTTP: f.plainHTTP,
		Told: say.state, Ran: say.ran, Log: quiet(a.err), Client: caller, Certified: secured.Certified(),
	}
	if len(f.dial) > 0 {
		c.Dial = dialOnly(f.dial)
	}
	err = executor.Run(ctx, c)
	closing, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if closeErr := sandbox.Close(closing); err == nil {
		err = closeErr
	}
	if err == nil {
		say.end()
	}
	return err
}

// httpClient is how an executor calls its server.
func httpClient(secured client.TLS) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if secured != (client.TLS{}) {
		var err error
		if t.TLSClientConfig, err = secured.Config(); err != nil {
			return nil, err
		}
	}
	return &http.Client{Transport: t}, nil
}

// choose finds the sandbox. Without one that works nothing is run, unless the user said none.
func (f executorFlags) choose(ctx context.Context) (environment.Provider, error) {
	if f.sandbox == bare.DriverName {
		if len(f.hosts) > 0 {
			return nil, stead.Invalid("allow-host", "--allow-host is for sandboxes: without one, commands have the network of this machine")
		}
		return bare.Provider{Pass: f.pass}, nil
	}
	e := stead.Invalid("sandbox", "no sandbox works on this machine")
	e.Hint = "On a machine that holds nothing of value, --sandbox none runs commands without one, as you."
	if f.sandbox != sandboxAuto && !slices.Contains(sandboxNames(), f.sandbox) {
		e.Message = fmt.Sprintf("this machine has no sandbox %.40q: there are %s and none", f.sandbox, strings.Join(append([]string{sandboxAuto}, sandboxNames()...), ", "))
		return nil, e
	}
	for _, name := range sandboxNames() {
		if f.sandbox != sandboxAuto && f.sandbox != name {
			continue
		}
		if name == sandboxLandlock && len(f.hosts) > 0 {
			e.Message += "; " + name + ": its commands have no network, so --allow-host is not for it"
			continue
		}
		s := openSandbox(name)
		r := s.Probe(ctx)
		if r.Usable {
			return s, nil
		}
		if err := s.Close(ctx); err != nil {
			return nil, err
		}
		e.Message += "; " + name + ": " + strings.TrimRight(strings.TrimSpace(r.Problem+" "+r.Remedy), ".")
	}
	return nil, e
}

// dialOnly connects to the addresses that the user named, and no others.
func dialOnly(allowed []string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !slices.Contains(allowed, "*") && !slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, address) }) {
			return nil, stead.Errorf(stead.KindForbidden, "the executor's user does not allow connections to %.200q", address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// executorVoice says what an executor does: lines for people, or objects with -o json.
type executorVoice struct {
	out  io.Writer
	json bool
	mu   sync.Mutex
	last string // the last state that was said
}

// say writes one line, without repeating the one before.
func (v *executorVoice) say(event map[string]any, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.json {
		_ = json.NewEncoder(v.out).Encode(event)
		return
	}
	line := fmt.Sprintf(format, args...)
	if line != v.last {
		fmt.Fprintln(v.out, line)
	}
	v.last = line
}

func (v *executorVoice) begin(host, dir, sandbox string, f executorFlags) {
	border := "sandbox " + sandbox + ": commands see the workspace and the system's programs, and no network"
	if len(f.hosts) > 0 {
		border = "sandbox " + sandbox + ": commands see the workspace and the system's programs, and reach " + strings.Join(f.hosts, ", ")
	}
	if sandbox == bare.DriverName {
		border = "NO SANDBOX: commands run as you, with all of your rights and your network"
	}
	if sandbox != bare.DriverName && os.Geteuid() == 0 {
		border += "\n  you are root: files of the workspace will belong to a user of the sandbox's, not to root"
	}
	reach := "the session's agent reads and changes files there, or in a directory below it that the session names"
	if !f.named {
		reach = "the session's agent reads and changes files there, or in any directory that the session names (--workspace bounds that)"
	}
	network := "nothing"
	if len(f.dial) > 0 {
		network = strings.Join(f.dial, ", ")
	}
	v.say(map[string]any{"event": "starting", "host": host, "workspace": dir, "sandbox": sandbox, "allow_host": f.hosts, "allow_dial": f.dial},
		"stead executor connects to %s\n  workspace %s: %s\n  %s\n  the server itself may connect from here to %s\nCtrl-C ends it and all that it runs.",
		host, dir, reach, border, network)
}

func (v *executorVoice) state(s executor.State) {
	switch {
	case s.Connected && s.Resumed:
		v.say(map[string]any{"event": "connected", "resumed": true}, "connected again: commands went on meanwhile")
	case s.Connected:
		v.say(map[string]any{"event": "connected", "resumed": false}, "connected")
	default:
		reason := oneLine(fmt.Sprint(s.Err), maxReason)
		v.say(map[string]any{"event": "disconnected", "reason": reason, "retry_ms": s.Retry.Milliseconds()}, "not connected: %s; trying again", reason)
	}
}

// reached says which connections commands made, or tried to.
func (v *executorVoice) reached(r egress.Record) {
	if r.Phase != egress.PhaseDecided {
		return
	}
	verdict := "allowed"
	if !r.Allowed {
		verdict = "refused: " + r.Reason
	}
	if r.Repeated > 0 {
		verdict = fmt.Sprintf("refused %d more times: %s", r.Repeated, r.Reason)
	}
	v.say(map[string]any{"event": "connection", "host": r.Host, "port": r.Port, "allowed": r.Allowed, "reason": r.Reason, "repeated": r.Repeated},
		"> %s  (%s)", oneLine(r.To(), maxReason), oneLine(verdict, maxReason))
}

// Lengths of what is shown of a command and of an error, in characters.
const (
	maxShownCommand = 160
	maxReason       = 200
)

func (v *executorVoice) ran(args []string, x environment.Exit, err error) {
	command := oneLine(strings.Join(quotedArgs(args), " "), maxShownCommand)
	outcome := "exit " + strconv.Itoa(x.Code)
	if x.Reason != "" {
		outcome = "ended: " + string(x.Reason)
	}
	if err != nil {
		outcome = oneLine(err.Error(), maxReason)
	}
	v.say(map[string]any{"event": "command", "args": args, "outcome": outcome, "duration_ms": x.Duration.Milliseconds()},
		"$ %s  (%s, %s)", command, outcome, x.Duration.Round(time.Millisecond))
}

// quotedArgs makes arguments readable, and harmless for a terminal.
func quotedArgs(args []string) []string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+"
	out := make([]string, len(args))
	for i, a := range args {
		if out[i] = a; a == "" || strings.Trim(a, plain) != "" {
			out[i] = strconv.Quote(a)
		}
	}
	return out
}

func (v *executorVoice) end() {
	v.say(map[string]any{"event": "stopped"}, "stopped: nothing that it started runs any more")
}
