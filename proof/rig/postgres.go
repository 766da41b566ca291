package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// pgStartTimeout is how long a server may take to answer, recovery after a kill included.
const pgStartTimeout = 60 * time.Second

// ErrNoPostgres says that this machine has no PostgreSQL server programs.
var ErrNoPostgres = errors.New("no PostgreSQL server found: install postgresql (its initdb and postgres programs)")

// Postgres is a real server in a directory of its own, on a free port of the loopback, with the
// durability that PostgreSQL ships with: fsync and synchronous_commit stay on. It can be killed and
// started again on the same data and port.
type Postgres struct {
	bin, data string
	port      int
	owner     *syscall.Credential // nil: ourselves; the server refuses to run as root
	cmd       *exec.Cmd
	gone      chan struct{} // closed when cmd has ended
}

// NewPostgres makes a cluster under dir and starts it. The error is ErrNoPostgres where there are
// no server programs.
func NewPostgres(dir string) (*Postgres, error) {
	bin, err := pgBin()
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	p := &Postgres{bin: bin, data: filepath.Join(dir, "pg"), port: port}
	if err := p.own(dir); err != nil {
		return nil, err
	}
	initdb := p.command("initdb", "-D", p.data, "-U", "stead", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return p, p.Start()
}

// pgBin finds the newest server's programs: Debian keeps them off the path.
func pgBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err == nil && len(found) > 0 {
		slices.Sort(found)
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", ErrNoPostgres
	}
	return filepath.Dir(path), nil
}

// own gives the data directory to an unprivileged user when we are root.
func (p *Postgres) own(dir string) error {
	if err := os.MkdirAll(p.data, 0o700); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		return nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return fmt.Errorf("a user to run PostgreSQL as: %w", err)
		}
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return err
	}
	p.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	// The test's directory is private to root: let the server walk down to its own, no more.
	for d := dir; d != filepath.Dir(d) && d != os.TempDir(); d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return err
		}
		if err := os.Chmod(d, info.Mode().Perm()|0o011); err != nil {
			return err
		}
	}
	return os.Chown(p.data, int(uid), int(gid))
}

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.owner, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = p.data
	return cmd
}

// Start runs the server and returns when it takes connections. After a Kill, the old server's
// children may hold its shared memory for a moment longer, and the new one then refuses to start:
// it is tried again.
func (p *Postgres) Start() error {
	return Poll(pgStartTimeout, "PostgreSQL to take connections", func() error {
		if p.cmd == nil {
			if err := p.launch(); err != nil {
				return err
			}
		}
		select {
		case <-p.gone:
			p.cmd = nil
			return errors.New("the server ended at once; see " + p.data + ".log")
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, p.URL("postgres"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

func (p *Postgres) launch() error {
	cmd := p.command("postgres", "-D", p.data, "-p", strconv.Itoa(p.port), "-h", "127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "max_connections=300", "-c", "shared_buffers=256MB")
	log, err := os.OpenFile(p.data+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	p.cmd, p.gone = cmd, gone
	return nil
}

// URL of a database of this server.
func (p *Postgres) URL(database string) string {
	return fmt.Sprintf("postgres://stead@127.0.0.1:%d/%s?sslmode=disable", p.port, database)
}

// CreateDatabase makes an empty database and returns its URL.
func (p *Postgres) CreateDatabase(name string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), pgStartTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", err
	}
	return p.URL(name), nil
}

// Kill ends the server as a power cut of the process would: SIGKILL to all of its processes.
func (p *Postgres) Kill() {
	if p.cmd == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.gone
	p.cmd = nil
}

// FreePort returns a port of the loopback that was free a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
