// Package executor gives sessions a computer on the user's own machine. The user runs an executor
// there, which connects outwards to the server and keeps one WebSocket open; the server's Hub sends it
// commands. Run is the executor's end, Hub the server's, and Provider what the Hub is to a session.
//
// Shape: a WebSocket message of type binary is one frame, big endian:
//
//	0      1         2          10      18      26
//	│ kind │ channel │ stream   │ seq   │ ack   │ payload …
//	  u8     u8        u64        u64     u64
//
//	hello   executor ▶ server   first: who it is, and how much of which conversation it has
//	welcome server ▶ executor   then: which conversation it is now, and how much of it the server has
//	ack     both                ack alone: the heartbeat
//	bye     both                why the connection ends; the last frame
//	open    server ▶ executor   begins a stream: one operation, see request
//	ready   executor ▶ server   what open or dial asked for is there
//	data    both                bytes of a channel: stdin or a file's, stdout, stderr
//	credit  both                u32: so many bytes more may be sent on the stream
//	end     both                no more data from this side
//	cancel  server ▶ executor   stop it: kills a command, closes an environment
//	result  executor ▶ server   the outcome; ends the stream
//
// hello, welcome, bye, open, ready and result carry JSON. The answer to the upgrade names the environment's
// workspace_directory in a header, path-escaped: so an executor that may not work there leaves before it
// has said hello, and nobody takes it for connected. Peers that know nothing of the header lose nothing else.
//
// Delivery: the frames from open on have numbers (seq), from 1 in each direction, and belong to a
// conversation that outlives connections. Each side keeps what the other has not acknowledged, and
// sends it again on the next connection; a number that came before is dropped. So nothing is lost or
// doubled, however often the connection breaks, and a command does not notice, save that its output
// waits. A conversation ends, with every command in it killed, when the connection is away for longer
// than Grace, when either process ends, or when the environment is gone. The outcome of what was under
// way then is unknown.
//
// There is one connection for each environment. A newer one that shows the same token replaces the
// older, by the order in which they were made, and the older is told so: a connection that is half dead never keeps its executor out. Of the same
// executor it goes on with the conversation; another executor begins a new one, and the first stops.
//
// Flow: a stream may have WindowBytes under way in each direction until the receiver has used them.
// One command's output so can neither fill memory nor hold up the others.
//
// Trust: neither side believes the other. A frame that breaks a rule ends the conversation. The
// executor runs what the server says, in the sandbox that its user chose, and opens and lists files in
// the workspace alone, which is the one that the server names only if Config.Place agrees; it makes network connections only where its user allowed them. The server takes
// output, sizes, errors and exit codes for what they are: claims of a stranger. The token is of 256
// random bits, stands in the URL's fragment, which is never part of a request, and is sent as a bearer;
// the server knows its SHA-256.
//
// Who shows a TLS client certificate that the server takes for an executor's of the environment's project needs no token
// (HubConfig.Shown). A certificate that is shown beside a token must be valid as well. A connection ends with its certificate.
//
// Errors: the Hub refuses a connection with KindUnauthenticated (wrong token) or KindNotFound (the
// environment is over). Provider.Open gives KindUnavailable with CodeNotConnected when no executor is
// there; so do, inside a NotStartedError, commands while it is away. Run ends with an error only when
// trying again is of no use.
//
// Source: RFC 6455 over github.com/coder/websocket v1.8.15; the Agents API's self_hosted environments
// (npm openai 7.57.0, resources/beta/agents: remote_url, environment_connection).
package executor

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Version is the protocol's. Both sides must have the same.
const Version = 1

// Limits of the protocol. Both sides hold the other to them.
const (
	// MaxMessageBytes is the largest frame: the arguments of a command, at most
	// environment.MaxArgBytes, fit in twice as base64.
	MaxMessageBytes = 512 << 10
	// MaxDataBytes is the most data of one frame.
	MaxDataBytes = 32 << 10
	// WindowBytes is how much of a stream may be under way in one direction.
	WindowBytes = 256 << 10
	// MaxStreams is the most operations of one environment at once: commands, files and connections.
	MaxStreams = 2 * environment.MaxParallelCommands
	// MaxListBytes is the largest page of files: names of MaxPathBytes as base64.
	MaxListBytes = environment.MaxListed * 2 * environment.MaxPathBytes
	// MaxExecutors is the most executors of one Hub.
	MaxExecutors = 10_000
	// MaxErrorBytes is the longest sentence that is taken over from the other side.
	MaxErrorBytes = 1 << 10
	// MaxUnackedBytes is the most that is kept for the other side: the windows of all streams, and as
	// much again for what has no window. It is never reached by those who keep to the rules.
	MaxUnackedBytes = 2 * MaxStreams * (WindowBytes + MaxMessageBytes/4)
)

// Timing is how long things may take. Zero fields mean the default.
type Timing struct {
	Heartbeat  time.Duration // of an idle connection
	Silence    time.Duration // after which the other side is taken for dead
	Handshake  time.Duration // until hello and welcome have come
	Write      time.Duration // of one frame
	Grace      time.Duration // between two connections of one conversation
	BackoffMin time.Duration // between two attempts to connect
	BackoffMax time.Duration
	KillGrace  time.Duration // between a kill and its outcome
}

// DefaultTiming is the timing of production.
func DefaultTiming() Timing {
	return Timing{
		Heartbeat: 10 * time.Second, Silence: 30 * time.Second, Handshake: 15 * time.Second, Write: 30 * time.Second,
		Grace: 2 * time.Minute, BackoffMin: 250 * time.Millisecond, BackoffMax: 30 * time.Second, KillGrace: 10 * time.Second,
	}
}

func (t Timing) orDefault() Timing {
	d := DefaultTiming()
	for _, f := range []struct{ field, otherwise *time.Duration }{
		{&t.Heartbeat, &d.Heartbeat}, {&t.Silence, &d.Silence}, {&t.Handshake, &d.Handshake}, {&t.Write, &d.Write},
		{&t.Grace, &d.Grace}, {&t.BackoffMin, &d.BackoffMin}, {&t.BackoffMax, &d.BackoffMax}, {&t.KillGrace, &d.KillGrace},
	} {
		if *f.field <= 0 {
			*f.field = *f.otherwise
		}
	}
	return t
}

// Codes of errors, and of the bye that ends a connection.
const (
	// CodeNotConnected: no executor of this environment is connected. What a session turns into the
	// required action environment_connection.
	CodeNotConnected = "environment_not_connected"
	// CodeToken: the token is not the environment's, or there is no such environment.
	CodeToken = "executor_token_invalid"
	// CodeCertificate: the TLS client certificate has expired or does not count, or not for this environment. The executor
	// comes again with whatever its files hold by then.
	CodeCertificate = "executor_certificate_invalid"
	// CodeGone: the environment is over, and its token with it.
	CodeGone = "environment_gone"

	codeReplaced   = "replaced"            // a newer connection has taken over
	codeStopping   = "server_stopping"     // come again
	codeStopped    = "executor_stopped"    // its user ended it
	codeVersion    = "unsupported_version" // of the protocol
	codeProtocol   = "protocol_error"      // the other side broke a rule
	codeOvertaken  = "overtaken"           // a later attempt of the same executor was faster
	codeExecutors  = "too_many_executors"  // MaxExecutors
	codeDisconnect = "executor_disconnected"
)

// headerWorkspace is the header of the upgrade's answer that names the workspace_directory.
const headerWorkspace = "Stead-Workspace-Directory"

// token length and prefix; the prefix lets scanners of secrets know it.
const (
	tokenBytes  = 32
	tokenPrefix = "stead_exec_"
	// sessionTokenPrefix begins session tokens, which are made elsewhere and open an environment as well: see HubConfig.Admits.
	sessionTokenPrefix = "st-stead-"
)

// NewToken makes an environment's token, and the digest to keep of it.
func NewToken() (token, digest string) {
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	token = Token(b[:])
	return token, Digest(token)
}

// Token is the token that a secret makes: for who derives secrets instead of keeping digests.
func Token(secret []byte) string { return tokenPrefix + base64.RawURLEncoding.EncodeToString(secret) }

// TokenIn is a token that says in which project its environment is, which Stead knows of none by its id alone. One of
// the default project has the form that it always had.
func TokenIn(project stead.ProjectID, secret []byte) string {
	t := Token(secret)
	if project != stead.DefaultProject {
		t += projectMark + base64.RawURLEncoding.EncodeToString([]byte(project))
	}
	return t
}

// ProjectOf is what a token says of its project, which is true if the token is.
func ProjectOf(token string) stead.ProjectID {
	_, text, ok := strings.Cut(token, projectMark)
	name, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil {
		return stead.DefaultProject
	}
	return stead.ProjectID(name)
}

// projectMark stands in no token and between the parts of one.
const projectMark = "."

// Digest is the lower-case hexadecimal SHA-256 of a token.
func Digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// match compares a token with a digest in a time that says nothing about either.
func match(token, digest string) bool {
	return subtle.ConstantTimeCompare([]byte(Digest(token)), []byte(digest)) == 1
}

// Path is where a server takes the executor of an environment.
func Path(environmentID string) string {
	return "/v1/agents/environments/" + url.PathEscape(environmentID) + "/executor"
}

// RemoteURL is what a user gives to the executor: the server's base URL (http or https), the path, and
// the token in the fragment, which no HTTP client sends.
func RemoteURL(base, environmentID, token string) string {
	return strings.TrimRight(base, "/") + Path(environmentID) + "#" + token
}

// remote is a RemoteURL taken apart.
type remote struct {
	url         string // without the token
	host        string
	token       string
	environment string
}

// parseRemote reads a RemoteURL. Without plain, http is for loopback only: whoever sits on the line
// would else run commands here.
//
// With certified, which is that the client shows a certificate, the URL need have no token, and has to be https.
func parseRemote(raw string, plain, certified bool) (remote, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return remote{}, stead.Invalid("remote", "the remote URL can't be read")
	}
	r := remote{token: u.Fragment, host: u.Host}
	u.Fragment, u.RawFragment = "", ""
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	}
	id, found := strings.CutSuffix(u.EscapedPath(), "/executor")
	id = id[strings.LastIndexByte(id, '/')+1:]
	if r.environment, err = url.PathUnescape(id); err != nil || !found || id == "" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Scheme != "http" && u.Scheme != "https" || !strings.HasPrefix(r.token, tokenPrefix) && !strings.HasPrefix(r.token, sessionTokenPrefix) && !(certified && r.token == "") {
		e := stead.Invalid("remote", "the remote URL is not one of an environment")
		e.Hint = "Pass the environment's remote_url unchanged, with all that follows the #, in quotes."
		return remote{}, e
	}
	if certified && u.Scheme == "http" {
		return remote{}, stead.Invalid("remote", "the remote URL is not encrypted: a client certificate is shown over https alone")
	}
	if u.Scheme == "http" && !plain && !isLoopback(u.Hostname()) {
		e := stead.Invalid("remote", "the remote URL is not encrypted: whoever can change what is on the line to %s could run commands here", u.Host)
		e.Hint = "Use https, or say --allow-plain-http if the line is protected otherwise."
		return remote{}, e
	}
	r.url = u.String()
	return r, nil
}

// Host reads a RemoteURL and returns the host, with its port, that an executor would connect to. The
// error is that of Run.
func Host(remoteURL string, plainHTTP, certified bool) (string, error) {
	r, err := parseRemote(remoteURL, plainHTTP, certified)
	return r.host, err
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
