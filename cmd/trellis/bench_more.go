package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"trellis/fhir"
	"trellis/gateway/store"
)

// tokenRequest is a search across patients by one code, in the default order.
func (b *storeBench) tokenRequest(random *rand.Rand) []byte {
	return b.get("/fhir/Observation?code=http%3A%2F%2Floinc.org%7C" + benchCodes()[random.IntN(len(benchCodes()))] + "&_count=20")
}

// chainRequest is a search by what a reference leads to: a patient's records by family name.
func (b *storeBench) chainRequest(random *rand.Rand) []byte {
	return b.get(fmt.Sprintf("/fhir/Observation?patient.family=Bench%d&_count=20", random.IntN(b.count)))
}

// alone measures a request that has no bare counterpart worth the name: throughput and latency.
func (b *storeBench) alone(ctx context.Context, name string, clients int, request func(*rand.Rand) []byte) error {
	fmt.Fprintf(b.stderr, "%s: %s\n", b.name, name)
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	s := httpSide(b.site.address, clients, 200, request)
	if err := b.profiled(ctx, name, s); err != nil {
		return err
	}
	t, err := s.run(ctx, b.seconds)
	if err != nil || t.errors > 0 {
		return errors.Join(err, t.failure)
	}
	b.single(fmt.Sprintf("%s, %d clients", name, clients), fmt.Sprintf("%.0f /s, p50 %.2f ms, p99 %.2f ms", t.rate(), ms(t.quantile(0.5)), ms(t.quantile(0.99))), "")
	return nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// ladder measures reads and compartment searches at few clients, where latency is the request's and not the queue's.
func (b *storeBench) ladder(ctx context.Context) error {
	for _, clients := range []int{1, 8} {
		for _, phase := range []struct {
			name    string
			request func(*rand.Rand) []byte
		}{{"read by id", b.readRequest}, {"patient-compartment search", b.searchRequest(func(int) bool { return true })}} {
			if err := b.site.renew(ctx); err != nil {
				return err
			}
			name := fmt.Sprintf("%s, %d client(s)", phase.name, clients)
			if err := b.compare(ctx, name, "", httpSide(b.site.address, clients, 200, phase.request), httpSide(b.at, clients, 200, phase.request)); err != nil {
				return err
			}
		}
	}
	return nil
}

// export measures a system export from its start to its manifest, and how far the heap grew meanwhile.
func (b *storeBench) export(ctx context.Context) error {
	fmt.Fprintf(b.stderr, "%s: $export\n", b.name)
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	var heap atomic.Uint64
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); watchHeap(watching, &heap) }()
	defer func() { stop(); <-watched }()
	runtime.GC()
	before := liveHeap()
	cpu, t, err := spent(func() (t tally, err error) {
		where, err := b.startExport(ctx)
		if err == nil {
			t.n, t.elapsed, err = b.awaitExport(ctx, where)
		}
		return t, err
	})
	if err != nil {
		return err
	}
	b.single("CPU of a resource of $export", cpu, "")
	b.single("$export, everything the reader may see", fmt.Sprintf("%.0f resources/s, live heap +%d MB", float64(t.n)/t.elapsed.Seconds(), max(0, int64(heap.Load())-int64(before))>>20), ">= 15,000 resources/s, memory flat")
	return nil
}

// watchHeap keeps the most memory that was in use at the end of a collection. What waits for the next one says how often
// the runtime collects, not what the work needs.
func watchHeap(ctx context.Context, peak *atomic.Uint64) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			peak.Store(max(peak.Load(), liveHeap()))
		}
	}
}

// liveHeap is the memory objects held when the last collection ended.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func (b *storeBench) request(ctx context.Context, method, address string, body []byte, header ...string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+b.site.tokens[benchReader])
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Timeout: 5 * time.Minute}).Do(req)
	if err != nil {
		return nil, nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	return resp, answer, errors.Join(err, resp.Body.Close())
}

func (b *storeBench) startExport(ctx context.Context) (string, error) {
	resp, body, err := b.request(ctx, http.MethodGet, "http://"+b.site.address+"/fhir/$export", nil, "Prefer", "respond-async")
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("$export answered %d: %.200s", resp.StatusCode, body)
	}
	return resp.Header.Get("Content-Location"), nil
}

// awaitExport waits for the job to end, looking at its row: a client may only poll now and then. It returns how many
// resources the manifest lists.
func (b *storeBench) awaitExport(ctx context.Context, where string) (n int, elapsed time.Duration, err error) {
	begin := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		job, err := b.site.store.ReadJob(ctx, filepath.Base(where), benchReader)
		if err != nil {
			return 0, 0, err
		}
		if job.State != store.JobRunning {
			break
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-tick.C:
		}
	}
	elapsed = time.Since(begin)
	resp, body, err := b.request(ctx, http.MethodGet, where, nil)
	if err != nil {
		return 0, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("the export answered %d: %.200s", resp.StatusCode, body)
	}
	var manifest struct{ Output []struct{ Count int } }
	err = json.Unmarshal(body, &manifest)
	for _, o := range manifest.Output {
		n += o.Count
	}
	return n, elapsed, err
}

// loadFiles sends the transaction Bundles of a folder to an empty store of this kind, as their custodian, and measures
// rate and size. Files that others refer to go first, which Synthea names after hospitals and practitioners.
func (b *storeBench) loadFiles(ctx context.Context, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		return errors.Join(err, fmt.Errorf("--data: no .json files in %s", dir))
	}
	slices.SortStableFunc(files, func(x, y string) int { return dataRank(x) - dataRank(y) })
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	var bodies [][]byte
	n, shared := 0, 0
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		root, err := fhir.ParseJSON(body)
		if err != nil || root.Get("type").Text() != "transaction" && root.Get("type").Text() != "batch" {
			fmt.Fprintf(b.stderr, "%s: %s is no transaction or batch; left out\n", b.name, filepath.Base(file))
			continue
		}
		n += len(root.Get("entry").List())
		bodies = append(bodies, body)
		if dataRank(file) < 2 {
			shared++
		}
	}
	empty, err := b.db.Size(ctx)
	if err != nil {
		return err
	}
	cpu, t, err := spent(func() (tally, error) {
		begin := time.Now()
		err := b.sendBundles(ctx, bodies, shared)
		return tally{n: n, elapsed: time.Since(begin)}, err
	})
	if err != nil {
		return err
	}
	if err := b.db.Settle(ctx); err != nil {
		return err
	}
	size, err := b.db.Size(ctx)
	if err != nil {
		return err
	}
	b.single(fmt.Sprintf("load of --data: %d resources in %d Bundles, %d at a time", n, len(bodies), dataClients), fmt.Sprintf("%.0f resources/s", float64(n)/t.elapsed.Seconds()), loadTarget(b.name))
	b.single("CPU of a resource of --data", cpu, "")
	b.single("size of --data on disk, audit log and all indexes included", fmt.Sprintf("%.2f KB/resource, %.2f of them before the first", float64(size)/1024/float64(n), float64(empty)/1024/float64(n)), sizeTarget(b.name))
	return nil
}

// dataClients is how many Bundles are sent at a time.
const dataClients = 4

// sendBundles sends the first ones before all others, which refer to them.
func (b *storeBench) sendBundles(ctx context.Context, bodies [][]byte, first int) error {
	for _, part := range [][2]int{{0, first}, {first, len(bodies)}} {
		group, sending := errgroup.WithContext(ctx)
		group.SetLimit(dataClients)
		for i := part[0]; i < part[1]; i++ {
			group.Go(func() error { return b.sendBundle(sending, i, bodies[i]) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (b *storeBench) sendBundle(ctx context.Context, i int, body []byte) error {
	resp, answer, err := b.request(ctx, http.MethodPost, "http://"+b.site.address+"/fhir", body, "Content-Type", fhir.ContentType, "Authorization", "Bearer "+b.site.tokens[benchHospital])
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("Bundle %d answered %d: %.300s", i+1, resp.StatusCode, answer)
	}
	return nil
}

func dataRank(file string) int {
	name := strings.ToLower(filepath.Base(file))
	switch {
	case strings.HasPrefix(name, "hospital"):
		return 0
	case strings.HasPrefix(name, "practitioner"):
		return 1
	}
	return 2
}

func loadTarget(name string) string {
	if name == "postgres" {
		return ">= 2,000 resources/s"
	}
	return ">= 2,500 resources/s"
}
