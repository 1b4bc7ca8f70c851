package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// crashRecords is how many sessions the crash test sends.
const crashRecords = 300

// demoProcess starts `trellis demo` as a process of its own and waits for its ready line.
func demoProcess(t *testing.T, dir, addr string) *exec.Cmd {
	t.Helper()
	return serverProcess(t, "demo", "--data", dir, "--addr", addr)
}

// serverProcess runs a command that serves, and returns when it is ready. It is killed when the test ends.
func serverProcess(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("a killed process ended well")
			}
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready ") {
			go func() { // keep the pipe empty
				for lines.Scan() {
				}
			}()
			return cmd
		}
	}
	t.Fatal("the server did not get ready")
	return nil
}

// countingWriter counts receipt lines and calls at on the first one past a number.
type countingWriter struct {
	lines atomic.Int64
	past  int64
	at    func()
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.lines.Add(int64(bytes.Count(p, []byte("\n")))) == w.past && w.at != nil {
		w.at()
	}
	return len(p), nil
}

// TestKilledDuringIngest: kill -9 in the middle of an ingest, start again, send again. Every record that
// had a receipt is there, all are there in the end, the index is whole and the log verifies.
func TestKilledDuringIngest(t *testing.T) {
	dir := t.TempDir()
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	records := filepath.Join(dir, "sessions.ndjson")
	var file bytes.Buffer
	for i := range crashRecords {
		fmt.Fprintf(&file, `{"session_id":"K-%d","client":{"id":"C-%d","name":{"first":"Test"},"sex":"female"},"peer":{"id":"W-9","name":"Peer"},"status":"done","start":"2026-03-02T14:05:00-05:00","minutes":45,"mode":"phone","activities":[{"kind":"peer-support"}],"last_updated":"2026-03-02T16:00:00-05:00"}`+"\n", i, i%20)
	}
	if err := os.WriteFile(records, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	server := demoProcess(t, dir, addr)
	args := []string{"--server", "http://" + addr, "--clients", filepath.Join(dir, clientsName), "--as", "rco", "--pack", "peer-encounter", records}

	receipts := &countingWriter{past: crashRecords / 3, at: func() {
		if err := server.Process.Kill(); err != nil {
			t.Error(err)
		}
	}}
	if code := runIngest(args, receipts, io.Discard); code != 2 {
		t.Fatalf("an ingest whose server was killed ended with %d", code)
	}
	if err := server.Wait(); err == nil {
		t.Fatal("the server was not killed")
	}
	acknowledged := receipts.lines.Load()
	if acknowledged == 0 || acknowledged == crashRecords {
		t.Fatalf("%d receipts before the kill prove nothing", acknowledged)
	}

	server = demoProcess(t, dir, addr)
	if n := sessions(t, dir, addr); n < acknowledged {
		t.Errorf("%d records were acknowledged, %d are there after the restart", acknowledged, n)
	}
	rest := &countingWriter{}
	args[3], args[5] = keyAlone(t, dir, "rco")
	if code := runIngest(args, rest, io.Discard); code != 0 {
		t.Fatalf("taking the ingest up again ended with %d", code)
	}
	if rest.lines.Load() != crashRecords-acknowledged {
		t.Errorf("%d records were sent again, %d had no receipt", rest.lines.Load(), crashRecords-acknowledged)
	}
	if n := sessions(t, dir, addr); n != crashRecords {
		t.Errorf("%d records in the end, want %d", n, crashRecords)
	}
	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("the server did not stop cleanly: %v", err)
	}
	wholeAfterCrash(t, dir)
}

// keyAlone writes a client's private key as "trellis client add --new-key" does, and names the client.
func keyAlone(t *testing.T, dir, name string) (file, id string) {
	t.Helper()
	clients, err := readClients(filepath.Join(dir, clientsName))
	if err != nil {
		t.Fatal(err)
	}
	c, err := clients.client(name)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, name+".jwk")
	if err := os.WriteFile(file, c.JWK, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, c.ClientID
}

// A file that holds neither clients nor a private key is named as such.
func TestClientsFileRefused(t *testing.T) {
	for text, want := range map[string]string{`{"fhir_base":"x"}`: "neither a clients file nor a private key", `{"kty":"EC","x":"A"}`: "neither", `no`: "not a clients file"} {
		file := filepath.Join(t.TempDir(), "clients.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		if code := runToken([]string{"--clients", file, "--as", "x"}, io.Discard, &errs); code != 1 || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: status %d, %s", text, code, errs.String())
		}
	}
}

// sessions counts the Encounters of the test's day, as their sender sees them.
func sessions(t *testing.T, dir, addr string) int64 {
	t.Helper()
	file, err := readClients(filepath.Join(dir, clientsName))
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.client("rco")
	if err != nil {
		t.Fatal(err)
	}
	a, err := newRemote("http://"+addr, file.TokenEndpoint, c).do(context.Background(), "GET", "/fhir/Encounter?_summary=count&date=ap2026-03-02", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var bundle struct{ Total int64 }
	if err := json.Unmarshal(a.body, &bundle); err != nil {
		t.Fatal(err)
	}
	return bundle.Total
}

func wholeAfterCrash(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := (&location{data: dir}).openTool(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CheckIndex(ctx); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	export := filepath.Join(dir, "audit.ndjson")
	var out bytes.Buffer
	if code := runAudit([]string{"export", "--data", dir, "--out", export}, &out, &out); code != 0 {
		t.Fatalf("export: %s", out.String())
	}
	if code := runAudit([]string{"verify", export, "--key", filepath.Join(dir, publicName)}, &out, &out); code != 0 {
		t.Errorf("the log does not verify after the crash: %s", out.String())
	}
}
