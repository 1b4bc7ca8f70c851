package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// growthClients is few, so that the latency is the search's and not the queue's.
const growthClients = 2

// growthPatients is how many patients the searches of one compartment go round, whatever the size: with more of them asked
// at one size than at the other, the difference would be that of the caches.
const growthPatients = 400

// growthPoint is the p50 of each kind of search at one size.
type growthPoint struct {
	patients                int
	again, first, acrossAll time.Duration
}

// measureGrowth loads up to each size in turn and searches there.
func (b *storeBench) measureGrowth(ctx context.Context) error {
	for _, n := range slices.Compact(slices.Sorted(slices.Values(b.growth))) {
		if err := b.grow(ctx, n); err != nil {
			return err
		}
		if err := b.growthPoint(ctx); err != nil {
			return err
		}
	}
	b.rows = nil // how fast it was loaded stands in the first part
	b.growthRows()
	return nil
}

// growthPoint measures the searches at the present size. The lower half of the patients is asked again and again, the upper
// half has never been looked at: all of it is read from the database.
func (b *storeBench) growthPoint(ctx context.Context) error {
	fmt.Fprintf(b.stderr, "%s: searches at %d patients\n", b.name, b.count)
	point := growthPoint{patients: b.count}
	half := b.count / 2
	random := rand.New(rand.NewPCG(1, uint64(b.count)))
	known := random.Perm(half)[:min(half, growthPatients)]
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	var fresh [][]byte
	for _, p := range random.Perm(b.count - half)[:min(b.count-half, growthPatients)] {
		fresh = append(fresh, b.get(searchPath(patientID(half+p), benchPage)))
	}
	first, err := b.once(ctx, fresh)
	if err != nil {
		return err
	}
	point.first = first.quantile(0.5)
	for _, phase := range []struct {
		p50     *time.Duration
		request func(*rand.Rand) []byte
	}{
		{&point.again, func(r *rand.Rand) []byte { return b.get(searchPath(patientID(known[r.IntN(len(known))]), benchPage)) }},
		{&point.acrossAll, b.tokenRequest},
	} {
		if err := b.site.renew(ctx); err != nil {
			return err
		}
		s := httpSide(b.site.address, growthClients, 200, phase.request)
		if _, err := s.run(ctx, b.seconds/2); err != nil {
			return err
		}
		t, err := s.run(ctx, b.seconds)
		if err != nil || t.errors > 0 {
			return errors.Join(err, t.failure)
		}
		*phase.p50 = t.quantile(0.5)
	}
	b.points = append(b.points, point)
	return nil
}

// once sends each request one time, by as many clients as growth is measured with.
func (b *storeBench) once(ctx context.Context, requests [][]byte) (tally, error) {
	var out tally
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	for client := range growthClients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			next := client
			op, end, err := httpSide(b.site.address, 1, 200, func(*rand.Rand) []byte { return requests[next] }).open()
			var t tally
			for ; err == nil && next < len(requests); next += growthClients {
				begin := time.Now()
				var n int64
				if n, err = op(ctx, nil); err == nil {
					t.n, t.bytes, t.latencies = t.n+1, t.bytes+n, append(t.latencies, time.Since(begin))
				}
			}
			if end != nil {
				err = errors.Join(err, end())
			}
			mu.Lock()
			defer mu.Unlock()
			out.add(t)
			failed = errors.Join(failed, err)
		}()
	}
	wg.Wait()
	return out, errors.Join(failed, ctx.Err())
}

func (b *storeBench) growthRows() {
	if len(b.points) < 2 {
		return
	}
	first, last := b.points[0], b.points[len(b.points)-1]
	for _, row := range []struct {
		name, target string
		from, to     time.Duration
	}{
		{"compartment search, patients asked about before", "<= 1.2x (1K to 64K)", first.again, last.again},
		{"compartment search, each patient for the first time", "<= 1.2x (1K to 64K)", first.first, last.first},
		{"tenant-wide token search", "<= 1.35x (1K to 64K)", first.acrossAll, last.acrossAll},
	} {
		b.single(fmt.Sprintf("growth: %s, p50 at %d and %d patients, %d clients", row.name, first.patients, last.patients, growthClients),
			fmt.Sprintf("%.2f ms, %.2f ms: %.2fx", ms(row.from), ms(row.to), row.to.Seconds()/row.from.Seconds()), row.target)
	}
}
