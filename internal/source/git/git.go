// Package git reads the documents of a branch of a repository, by the machine's git.
//
// Shape: the branch's commit → its tree → blobs; a document's stamp is its blob's id, its version the commit at which it was read.
//
//	rev-parse ─▶ commit ── the same as the last time ─▶ unchanged, all of it
//	             └▶ ls-tree ─▶ path, blob ── the same blob ─▶ unchanged, not read
//	                                      └▶ cat-file ─▶ bytes
//
// A repository is one that the operator names: a path on the machine, which is read as it is (somebody else keeps it up to date), or an
// https URL, of which a shallow copy is kept in a directory of the node's own and fetched before each walk. Links and submodules are no
// documents. Nothing of a repository is run: no hook, filter or converter, and no configuration but its own is read.
//
// Errors: KindUnavailable, when there is no such branch or the repository can't be reached.
package git

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
)

const (
	// fetchTimeout is how long fetching may take, a second try included, and callTimeout a question about what is here.
	fetchTimeout = 10 * time.Minute
	callTimeout  = time.Minute
	// maxStderrBytes is how much of what git complains about is kept.
	maxStderrBytes = 4 << 10
	// maxTraceBytes is how much of a trace is kept.
	maxTraceBytes = 256 << 10
	// maxLineBytes is the longest line of a listing.
	maxLineBytes = 64 << 10
	// maxBranchBytes is the longest name of a branch.
	maxBranchBytes = 200
	// waitDelay is how long a git that was told to end may take before it is killed.
	waitDelay = 2 * time.Second
)

// Repository is one that sources may name.
type Repository struct {
	Name, Path, URL string            // Path or URL
	Token           string            // for URL; "": none is sent
	Projects        []stead.ProjectID // whose sources may; none: all
}

// Reader implements source.Reader.
type Reader struct {
	repositories []Repository
	copies       string // directory of the copies of those with a URL
	mu           sync.Mutex
	busy         map[string]*sync.Mutex // by name: one fetch at a time
}

// New makes a Reader.
func New(repositories []Repository, copies string) *Reader {
	return &Reader{repositories: repositories, copies: copies, busy: map[string]*sync.Mutex{}}
}

var branchName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+-]*$`)

// Check implements source.Reader.
func (r *Reader) Check(project stead.ProjectID, spec source.Spec) error {
	if b := spec.Branch; b != "" && (len(b) > maxBranchBytes || !branchName.MatchString(b) || strings.Contains(b, "..") || strings.Contains(b, "//") || strings.HasSuffix(b, "/") || strings.HasSuffix(b, ".lock")) {
		return stead.Invalid("branch", "%.80q is no name of a branch", b)
	}
	if strings.ContainsAny(spec.Path, ":\n") {
		return stead.Invalid("path", "path must not have colons or line breaks")
	}
	_, err := r.repository(project, spec)
	return err
}

func (r *Reader) repository(project stead.ProjectID, spec source.Spec) (Repository, error) {
	for _, repo := range r.repositories {
		if repo.Name == spec.Repository && (len(repo.Projects) == 0 || slices.Contains(repo.Projects, project)) {
			return repo, nil
		}
	}
	e := stead.Invalid("repository", "there is no repository %.80q for this project", spec.Repository)
	e.Hint = "The operator names those that sources may read: sources.repositories."
	return Repository{}, e
}

// Walk implements source.Reader.
func (r *Reader) Walk(ctx context.Context, w source.Walk) (string, error) {
	repo, err := r.repository(w.Project, w.Spec)
	if err != nil {
		return "", err
	}
	at, ref, err := r.open(ctx, repo, w.Spec.Branch)
	if err != nil {
		return "", err
	}
	out, err := at.call(ctx, callTimeout, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	if err != nil {
		if _, e := os.ReadDir(at.dir); errors.Is(e, fs.ErrPermission) {
			return "", source.Refused(stead.Errorf(stead.KindForbidden, "the server may not read repository %q", repo.Name))
		}
		return "", stead.Wrap(stead.KindUnavailable, err, "repository %q has no branch %.80q", repo.Name, w.Spec.Branch)
	}
	commit := strings.TrimSpace(string(out))
	if commit == w.Version {
		return commit, source.ErrUnchanged
	}
	blobs, err := at.blobs(ctx)
	if err != nil {
		return "", err
	}
	defer blobs.close()
	tree := commit
	if w.Spec.Path != "" {
		tree += ":" + w.Spec.Path
	}
	v := visitor{walk: w, selection: source.Select(w.Spec), commit: commit, uri: "repository://" + path.Join(repo.Name, w.Spec.Path) + "/", blobs: blobs}
	if err := at.list(ctx, tree, v.entry); err != nil {
		return "", err
	}
	return commit, nil
}

// open returns the place of a repository as it is now, and the name of the branch in it.
func (r *Reader) open(ctx context.Context, repo Repository, branch string) (place, string, error) {
	ref := "HEAD"
	if branch != "" {
		ref = "refs/heads/" + branch
	}
	if repo.URL == "" {
		return place{dir: repo.Path}, ref, nil
	}
	mine := "refs/stead/" + copied(branch)
	at, err := r.fetched(ctx, repo, "+"+ref+":"+mine)
	return at, mine, err
}

// place is a directory with a repository.
type place struct {
	dir   string
	token string
	copy  bool // it is one of ours: half of one is not looked for in the directories above
}

// command makes a call of git that reads no configuration of the machine's or a user's, asks nobody, and talks https alone.
func (p place) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "git", append([]string{"--no-pager", "--literal-pathspecs"}, args...)...)
	c.Dir = p.dir
	// A group of its own: git does not always end the helper that speaks https, which would wait for the other side for ever.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { // it takes its locks away, which a SIGKILL leaves
		if err := syscall.Kill(-c.Process.Pid, syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	c.WaitDelay = waitDelay
	settings := [][2]string{
		{"safe.directory", "*"}, {"core.hooksPath", os.DevNull}, {"core.fsmonitor", "false"}, {"gc.auto", "0"}, {"credential.helper", ""},
		{"protocol.allow", "never"}, {"protocol.https.allow", "always"}, {"http.followRedirects", "false"},
	}
	if p.token != "" {
		settings = append(settings, [2]string{"http.extraHeader", "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+p.token))})
	}
	c.Env = []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1", "LC_ALL=C",
		"GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings))}
	if p.copy {
		c.Env = append(c.Env, "GIT_DIR=.")
	}
	for i, s := range settings { // not as arguments: those are seen by everybody on the machine
		c.Env = append(c.Env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s[1]))
	}
	for _, name := range []string{"PATH", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"} {
		if v, ok := os.LookupEnv(name); ok {
			c.Env = append(c.Env, name+"="+v)
		}
	}
	return c
}

// call runs git, and returns what it says.
func (p place) call(ctx context.Context, within time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c := p.command(ctx, args...)
	said := &short{}
	c.Stderr = said
	out, err := c.Output()
	if err != nil {
		return nil, said.failure(args[0], err)
	}
	return out, nil
}

var errNoGit = stead.Errorf(stead.KindUnavailable, "git is not installed on this server")

// short keeps the beginning of what is written.
type short struct{ b bytes.Buffer }

func (s *short) Write(b []byte) (int, error) {
	s.b.Write(b[:min(len(b), maxStderrBytes-s.b.Len())])
	return len(b), nil
}

func (s *short) failure(what string, err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return errNoGit
	}
	said, _, _ := strings.Cut(strings.TrimSpace(s.b.String()), "\n")
	return stead.Wrap(stead.KindUnavailable, err, "git %s: %.200s", what, said)
}

// list tells what is in a tree: mode, type, id, size and path of each.
func (p place) list(ctx context.Context, tree string, tell func(mode, id string, size int64, path string) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := p.command(ctx, "ls-tree", "-r", "-z", "--long", "--full-tree", "--end-of-options", tree)
	said := &short{}
	c.Stderr = said
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return said.failure("ls-tree", err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLineBytes)
	lines.Split(func(data []byte, _ bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, 0); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	for n := 0; lines.Scan(); {
		if n++; n > source.MaxEntries {
			err = stead.Errorf(stead.KindTooLarge, "the repository holds more than %d files: choose a part of it by path", source.MaxEntries)
			break
		}
		head, name, _ := strings.Cut(lines.Text(), "\t")
		fields := strings.Fields(head)
		if len(fields) != 4 || fields[1] != "blob" {
			continue // a submodule
		}
		size, _ := strconv.ParseInt(fields[3], 10, 64) // git's own number
		if err = tell(fields[0], fields[2], size, name); err != nil {
			break
		}
	}
	if err != nil {
		cancel()
		_ = c.Wait() // it was told to end
		return err
	}
	err = lines.Err()
	if waitErr := c.Wait(); err == nil {
		err = waitErr
	}
	if err != nil {
		return said.failure("ls-tree", err)
	}
	return nil
}

// visitor meets what is in a tree.
type visitor struct {
	walk      source.Walk
	selection source.Selection
	commit    string
	uri       string
	blobs     *blobs
}

func (v *visitor) entry(mode, id string, size int64, name string) error {
	const link = "120000"
	if mode == link || !v.selection.Has(name) {
		return nil
	}
	return v.walk.Visit(source.Document{Path: name, URI: v.uri + name, Stamp: id, Read: func(context.Context) (source.Content, error) {
		if size > source.MaxDocumentBytes {
			return source.Content{}, stead.Errorf(stead.KindTooLarge, "the file has %d bytes, the limit is %d", size, source.MaxDocumentBytes)
		}
		data, err := v.blobs.read(id)
		return source.Content{Data: data, Version: v.commit}, err
	}})
}

// blobs is a git that hands out blobs, one after the other.
type blobs struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	in     io.WriteCloser
	out    *bufio.Reader
	said   *short
}

func (p place) blobs(ctx context.Context) (*blobs, error) {
	ctx, cancel := context.WithCancel(ctx)
	b := &blobs{cmd: p.command(ctx, "cat-file", "--batch"), cancel: cancel, said: &short{}}
	b.cmd.Stderr = b.said
	var err error
	var out io.Reader
	if b.in, err = b.cmd.StdinPipe(); err == nil {
		out, err = b.cmd.StdoutPipe()
	}
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, b.said.failure("cat-file", err)
	}
	b.out = bufio.NewReader(out)
	return b, nil
}

// read returns a blob. After an error there are no more.
func (b *blobs) read(id string) ([]byte, error) {
	if _, err := io.WriteString(b.in, id+"\n"); err != nil {
		return nil, b.said.failure("cat-file", err)
	}
	head, err := b.out.ReadString('\n')
	if err != nil {
		return nil, b.said.failure("cat-file", err)
	}
	fields := strings.Fields(head)
	if len(fields) != 3 {
		return nil, stead.Errorf(stead.KindUnavailable, "git has no blob %.80q", id)
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || size > source.MaxDocumentBytes {
		return nil, stead.Errorf(stead.KindUnavailable, "git says that a blob has %.40q bytes", fields[2])
	}
	data := make([]byte, size+1) // and a line break
	if _, err := io.ReadFull(b.out, data); err != nil {
		return nil, b.said.failure("cat-file", err)
	}
	return data[:size], nil
}

func (b *blobs) close() {
	_ = b.in.Close() // it ends by itself, or is ended
	b.cancel()
	_ = b.cmd.Wait()
}
