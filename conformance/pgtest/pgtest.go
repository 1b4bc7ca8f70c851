// Package pgtest gives tests and the benchmark a private PostgreSQL cluster made from the system's
// binaries, with durability on, and a fresh database for each test. It never skips: a machine without
// PostgreSQL fails the test (`make test` installs it).
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Cluster is a running server in a folder of its own. Stop it.
type Cluster struct {
	dir  string
	bin  string
	port int
	cmd  *exec.Cmd
	cred *syscall.Credential
	next atomic.Int64
}

// Main runs a package's tests with one cluster, started on first use by cluster.Database. Use as
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m, &cluster)) }
func Main(m *testing.M, cluster **Cluster) int {
	c, err := Start(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return 1
	}
	*cluster = c
	code := m.Run()
	if err := c.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return 1
	}
	return code
}

// Start makes a cluster in a temporary folder and waits until it answers.
func Start(ctx context.Context) (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "trellis-pg-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, bin: bin}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", errors.New("PostgreSQL's server binaries are not installed (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// start runs initdb and the server, as user postgres when we are root: the server refuses root.
func (c *Cluster) start(ctx context.Context) error {
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return err
		}
		c.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(c.dir, int(uid), int(gid)); err != nil {
			return err
		}
	}
	data := filepath.Join(c.dir, "data")
	init := c.command(ctx, "initdb", "-D", data, "-U", "trellis", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8")
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	c.port = port
	c.cmd = c.command(context.WithoutCancel(ctx), "postgres", "-D", data, "-p", strconv.Itoa(port), "-k", c.dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "max_connections=200",
		"-c", "shared_buffers=256MB", "-c", "log_min_messages=fatal", "-c", "log_min_error_statement=panic")
	c.cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	if err := c.cmd.Start(); err != nil {
		return err
	}
	return c.wait(ctx)
}

func (c *Cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	return cmd
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// wait polls until the server takes connections.
func (c *Cluster) wait(ctx context.Context) error {
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server did not start: %w", err)
		}
		<-tick.C
	}
}

// DSN is the connection string of a database of the cluster.
func (c *Cluster) DSN(database string) string {
	return fmt.Sprintf("postgres://trellis@127.0.0.1:%d/%s?sslmode=disable", c.port, database)
}

// CreateDatabase makes an empty database and returns its DSN.
func (c *Cluster) CreateDatabase(ctx context.Context) (string, error) {
	return c.create(ctx, "template1")
}

func (c *Cluster) create(ctx context.Context, template string) (string, error) {
	conn, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("t%d", c.next.Add(1))
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template)
	return c.DSN(name), errors.Join(err, conn.Close(ctx))
}

// Copy makes a database for one test that begins as another of the cluster is, to which nobody may be connected.
func (c *Cluster) Copy(t testing.TB, of string) string {
	t.Helper()
	from, err := pgx.ParseConfig(of)
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := c.create(context.Background(), from.Database)
	if err != nil {
		t.Fatalf("copying a database: %v", err)
	}
	return dsn
}

// Database makes an empty database for one test.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	dsn, err := c.CreateDatabase(context.Background())
	if err != nil {
		t.Fatalf("creating a database: %v", err)
	}
	return dsn
}

// PSQLArgs are the arguments pgbench and psql need to reach a database of the cluster.
func (c *Cluster) PSQLArgs() []string {
	return []string{"-h", "127.0.0.1", "-p", strconv.Itoa(c.port), "-U", "trellis"}
}

// Bin is the full path of one of the server's programs.
func (c *Cluster) Bin(name string) string { return filepath.Join(c.bin, name) }

// Stop ends the server and removes its folder.
func (c *Cluster) Stop() error {
	err := c.cmd.Process.Signal(syscall.SIGINT)
	if wait := c.cmd.Wait(); wait != nil && !strings.Contains(wait.Error(), "signal") {
		err = errors.Join(err, wait)
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}
