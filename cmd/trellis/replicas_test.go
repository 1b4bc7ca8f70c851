package main

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
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"trellis/auth/oauth"
)

// Sizes of the test of two replicas.
const (
	replicaWorkers = 6
	replicaRecords = 240 // in all; the one replica is killed after a third
)

// serving is one `trellis serve` process and a client whose connections all go to it.
type serving struct {
	cmd   *exec.Cmd
	ready chan error
	http  *http.Client
	log   *logBuffer
}

// startServing starts a replica; it is ready when its channel yields.
func startServing(t *testing.T, config, addr string) *serving {
	t.Helper()
	s := &serving{ready: make(chan error, 1), log: &logBuffer{}, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: replicaWorkers,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}}}
	s.cmd = exec.Command(os.Args[0], "serve", "--config", config)
	s.cmd.Env = append(os.Environ(), asCommand+"=1")
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		if s.cmd.ProcessState == nil {
			if err := errors.Join(s.cmd.Process.Kill(), ignoreExit(s.cmd.Wait())); err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", addr, s.log)
		}
	})
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "ready ") {
				s.ready <- nil
				break
			}
		}
		for lines.Scan() { // keep the pipe empty
		}
		s.ready <- errors.New("the replica ended")
	}()
	return s
}

// ignoreExit leaves out that a killed process did not end well.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// replicaLoad is what the workers share.
type replicaLoad struct {
	t        *testing.T
	public   string
	replicas [2]*serving
	tokens   *oauth.TokenSource
	next     atomic.Int64
	done     atomic.Int64
	kill     func()
	gone     atomic.Bool

	mu      sync.Mutex
	records map[string]string // key -> Location acknowledged
}

// ask sends a request to a replica. An error is a connection's; an answer of 5xx is the test's failure.
func (l *replicaLoad) ask(replica int, method, path, key string, body []byte) (*http.Response, []byte, error) {
	token, err := l.tokens.Token(context.Background(), "system/*.cruds")
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequest(method, l.public+"/fhir/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/fhir+json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := l.replicas[replica].http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, nil, err
	}
	if resp.StatusCode >= 500 {
		l.t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, data)
	}
	return resp, data, nil
}

// work makes records until there are enough; each is read and searched for at the other replica while it lives.
func (l *replicaLoad) work(replica int) {
	for {
		n := l.next.Add(1)
		if n > replicaRecords {
			return
		}
		key := fmt.Sprintf("record-%d", n)
		body := fmt.Appendf(nil, `{"resourceType":"Observation","identifier":[{"system":"urn:test","value":%q}],"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p%d"}}`, key, n%5)
		location := ""
		for range 3 { // a connection that broke is tried again elsewhere, under the same key
			resp, data, err := l.ask(replica, "POST", "Observation", key, body)
			if err == nil {
				if resp.StatusCode != http.StatusCreated {
					l.t.Errorf("%s: %d %s", key, resp.StatusCode, data)
				}
				location = resp.Header.Get("Location")
				break
			}
			if replica == 1 || !l.gone.Load() {
				l.t.Errorf("%s at replica %d: %v", key, replica, err)
				return
			}
			replica = 1
		}
		l.mu.Lock()
		l.records[key] = location
		l.mu.Unlock()
		if l.done.Add(1) == replicaRecords/3 {
			l.gone.Store(true)
			l.kill()
		}
		l.see(1, key, location)
		if replica == 1 && !l.gone.Load() {
			l.see(0, key, location)
		}
	}
}

// see reads what was acknowledged. A replica that is being killed may fail to answer.
func (l *replicaLoad) see(replica int, key, location string) {
	path := strings.TrimPrefix(location, l.public+"/fhir/")
	resp, _, err := l.ask(replica, "GET", path, "", nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		l.t.Errorf("%s at replica %d: %d", path, replica, resp.StatusCode)
	}
	if err != nil && (replica == 1 || !l.gone.Load()) {
		l.t.Errorf("%s at replica %d: %v", path, replica, err)
	}
	if n, err := l.count(replica, "Observation?identifier=urn:test|"+key); err == nil && n != 1 {
		l.t.Errorf("%s: %d records at replica %d", key, n, replica)
	}
}

func (l *replicaLoad) count(replica int, query string) (int, error) {
	path, values, _ := strings.Cut(query, "?")
	name, value, _ := strings.Cut(values, "=")
	_, data, err := l.ask(replica, "GET", path+"?_summary=count&"+name+"="+url.QueryEscape(value), "", nil)
	if err != nil {
		return 0, err
	}
	var bundle struct{ Total int }
	err = json.Unmarshal(data, &bundle)
	return bundle.Total, err
}

// TestTwoReplicas starts two processes on one empty database at once and kills one under load. The load goes on at the
// other: nothing acknowledged is lost, nothing is made twice, nobody sees a fault but a broken connection, the index is
// whole and the audit log verifies.
func TestTwoReplicas(t *testing.T) {
	dir := t.TempDir()
	where := location{data: dir, postgres: cluster.Database(t)}
	dsn := filepath.Join(dir, "dsn")
	if err := os.WriteFile(dsn, []byte(where.postgres), 0o600); err != nil {
		t.Fatal(err)
	}
	public, err := freeAddress() // stands for a load balancer
	if err != nil {
		t.Fatal(err)
	}
	l := &replicaLoad{t: t, public: "http://" + public, records: map[string]string{}}
	for i := range l.replicas {
		addr, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(dir, fmt.Sprintf("replica-%d.yaml", i))
		text := fmt.Sprintf("public_url: %s\nlisten: %s\ndata: %s\npostgres_file: %s\nallow_private_addresses: true\nposture: {part2_program: false, covered_entity: false, business_associate_of: [hospital], qsoa_with: [], intermediary: false}\norganizations:\n  - {id: hospital, name: Hospital, class: covered_entity}\n", l.public, addr, dir, dsn)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l.replicas[i] = startServing(t, config, addr)
	}
	for i, s := range l.replicas {
		if err := <-s.ready; err != nil {
			t.Fatalf("replica %d: %v", i, err)
		}
	}
	key := filepath.Join(dir, "client.jwk")
	var out bytes.Buffer
	if code := runClient([]string{"add", "--postgres", where.postgres, "--id", "ehr", "--org", "hospital", "--scope", "system/*.cruds", "--purpose", "TREAT", "--new-key", key}, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	private, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	l.tokens = &oauth.TokenSource{HTTP: l.replicas[1].http, TokenURL: l.public + "/oauth/token", ClientID: "ehr", Key: private, Purpose: "TREAT", Now: time.Now}
	l.kill = func() {
		if err := l.replicas[0].cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	// A label new to the deployment is shown by other replicas a moment later; this one is known to both before they are compared.
	if resp, data, err := l.ask(0, "POST", "Observation", "first", []byte(`{"resourceType":"Observation","status":"preliminary","code":{"text":"x"},"subject":{"reference":"Patient/p0"}}`)); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("the first record: %v %s", err, data)
	}
	var wg sync.WaitGroup
	for i := range replicaWorkers {
		wg.Add(1)
		go func() { defer wg.Done(); l.work(i % 2) }()
	}
	wg.Wait()
	if err := l.replicas[0].cmd.Wait(); ignoreExit(err) != nil || err == nil {
		t.Errorf("the replica was not killed: %v", err)
	}
	if n, err := l.count(1, "Observation?status=final"); err != nil || n != replicaRecords || len(l.records) != replicaRecords {
		t.Errorf("%d records, %d acknowledged, want %d, %v", n, len(l.records), replicaRecords, err)
	}
	for key, location := range l.records {
		resp, _, err := l.ask(1, "GET", strings.TrimPrefix(location, l.public+"/fhir/"), "", nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s was acknowledged at %s and is lost: %v", key, location, err)
		}
	}
	if err := errors.Join(l.replicas[1].cmd.Process.Signal(os.Interrupt), l.replicas[1].cmd.Wait()); err != nil {
		t.Errorf("the other replica did not stop cleanly: %v", err)
	}
	wholeReplicas(t, where)
}

// wholeReplicas recomputes the index and verifies the log from an export and the public key.
func wholeReplicas(t *testing.T, where location) {
	t.Helper()
	ctx := t.Context()
	s, err := where.openTool(ctx)
	if err != nil {
		t.Fatal(err)
	}
	public, found, err := s.Setting(ctx, "audit.public")
	if err := errors.Join(err, s.CheckIndex(ctx), s.Close()); err != nil || !found {
		t.Fatal(found, err)
	}
	key, export := where.file("audit.key"), where.file("audit.ndjson")
	if err := os.WriteFile(key, public, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := runAudit([]string{"export", "--postgres", where.postgres, "--out", export}, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	out.Reset()
	if code := runAudit([]string{"verify", export, "--key", key}, &out, &out); code != 0 || !strings.Contains(out.String(), "INTACT") {
		t.Errorf("the log does not verify: %d %s", code, out.String())
	}
}
