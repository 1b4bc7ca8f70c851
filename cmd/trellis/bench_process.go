package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"trellis/gateway/store/postgres"
)

// profiled writes a CPU profile of one side alone, load generator included, before it is compared.
func (b *storeBench) profiled(ctx context.Context, name string, s side) (err error) {
	if b.profiles == "" {
		return nil
	}
	file := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(b.name+"-"+name), "-") + ".pprof"
	f, err := os.Create(filepath.Join(b.profiles, file))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	t, err := s.run(ctx, b.seconds)
	return errors.Join(err, t.failure)
}

// pgbench runs the read statement with PostgreSQL's own tool, without Go: a baseline that is slow itself
// shows beside it.
func (b *storeBench) pgbench(ctx context.Context) error {
	db, ok := b.db.(*postgres.Baseline)
	if !ok {
		return nil
	}
	program, err := exec.LookPath("pgbench")
	if err != nil {
		fmt.Fprintln(b.stderr, b.name+": pgbench is not installed; its row is left out")
		return nil
	}
	fmt.Fprintln(b.stderr, b.name+": pgbench")
	script, err := os.CreateTemp("", "trellis-*.sql")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(script.Name())) }()
	if _, err := script.WriteString(db.ReadScript(b.patients * benchObservations)); err != nil {
		return errors.Join(err, script.Close())
	}
	if err := script.Close(); err != nil {
		return err
	}
	seconds := strconv.Itoa(max(1, int(b.seconds.Seconds())))
	out, err := exec.CommandContext(ctx, program, "-n", "-f", script.Name(), "-M", "prepared", "-c", strconv.Itoa(b.clients), "-j", "2", "-T", seconds, b.where.postgres).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench: %w: %s", err, out)
	}
	tps := regexp.MustCompile(`tps = ([0-9.]+)`).FindSubmatch(out)
	if tps == nil {
		return errors.New("pgbench printed no figure")
	}
	rate, err := strconv.ParseFloat(string(tps[1]), 64)
	if err != nil {
		return err
	}
	b.single("the baseline's read statement in pgbench", count(rate)+" /s", "")
	return err
}

// processes measures a process of its own on the data as it is now: cold start and idle memory.
func (b *storeBench) processes(ctx context.Context) (err error) {
	if b.executable == "" {
		return nil
	}
	fmt.Fprintln(b.stderr, b.name+": cold start")
	address, err := freeAddress()
	if err != nil {
		return err
	}
	file, err := b.serveConfig(address)
	if err != nil {
		return err
	}
	var best time.Duration
	var rss int64
	for range 3 {
		started, resident, err := coldStart(ctx, b.executable, file)
		if err != nil {
			return fmt.Errorf("%s: cold start: %w", b.name, err)
		}
		if best == 0 || started < best {
			best, rss = started, resident
		}
	}
	b.single("cold start on these data, best of 3", fmt.Sprintf("%.2f s", best.Seconds()), "< 1 s")
	if rss > 0 {
		b.single("idle memory after it", fmt.Sprintf("%d MB", rss>>20), "< 150 MB")
	}
	return nil
}

// serveConfig writes a configuration of `trellis serve` for the data.
func (b *storeBench) serveConfig(address string) (string, error) {
	c := map[string]any{"public_url": "http://" + address, "listen": address, "data": b.where.data, "organizations": benchOrganizations(),
		"posture": map[string]any{"part2_program": false, "covered_entity": false, "business_associate_of": []string{benchHospital}, "qsoa_with": []string{benchOTP}, "intermediary": false}}
	if b.where.postgres != "" {
		c["postgres_file"] = b.where.file("dsn")
		if err := os.WriteFile(b.where.file("dsn"), []byte(b.where.postgres), 0o600); err != nil {
			return "", err
		}
	}
	doc, err := json.Marshal(c) // JSON is YAML
	if err != nil {
		return "", err
	}
	return b.where.file("serve.yaml"), os.WriteFile(b.where.file("serve.yaml"), doc, 0o600)
}

// coldStart starts `trellis serve`, waits until it is ready and idle, and stops it.
func coldStart(ctx context.Context, executable, file string) (started time.Duration, rss int64, err error) {
	cmd := exec.CommandContext(ctx, executable, "serve", "--config", file)
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	started = time.Since(begin)
	if err == nil && !strings.HasPrefix(line, "ready ") {
		err = errors.New("it did not get ready")
	}
	if err == nil {
		time.Sleep(time.Second) // idle, as the row says
		rss, err = resident(cmd.Process.Pid)
	}
	return started, rss, errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
}

// resident is a process's memory, 0 where the system does not tell.
func resident(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(data)
	if found == nil {
		return 0, nil
	}
	kb, err := strconv.ParseInt(string(found[1]), 10, 64)
	return kb << 10, err
}
