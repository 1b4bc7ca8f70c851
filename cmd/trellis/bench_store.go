package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"trellis/gateway/store/postgres"
	"trellis/gateway/store/sqlite"
)

// storeBench measures one store.
type storeBench struct {
	bench
	name  string
	where location
	site  *site
	db    bareDatabase
	bare  *bareServer
	at    string // address of the baseline
	data  *population
	count int // patients loaded so far
	// part is what is measured on this store, which begins empty.
	part func(context.Context) error
	// after is measured on the same data once the gateway has stopped; nil for nothing.
	after func(context.Context) error
	rows  []measurement
}

// run loads, measures and closes. It leaves the data for the caller to remove.
func (b *storeBench) run(ctx context.Context) error {
	err := b.open(ctx)
	if err == nil {
		err = b.part(ctx)
	}
	if err = errors.Join(err, b.close()); err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	if b.after != nil {
		return b.after(ctx)
	}
	return nil
}

func (b *storeBench) open(ctx context.Context) (err error) {
	if b.site, err = startSite(ctx, b.where); err != nil {
		return err
	}
	b.data = &population{g: b.site.gateway, now: time.Now().UTC().Truncate(time.Second)}
	if b.where.postgres != "" {
		b.db, err = postgres.OpenBaseline(ctx, b.where.postgres)
	} else {
		b.db, err = sqlite.OpenBaseline(ctx, b.where.file("trellis.db"))
	}
	if err != nil {
		return err
	}
	durable, err := b.db.Durable(ctx)
	if err == nil && !durable {
		err = errors.New("the database does not keep what it commits (fsync, synchronous_commit): nothing can be compared")
	}
	if err != nil {
		return err
	}
	if b.bare, err = newBareServer(b.db, b.site.base); err != nil {
		return err
	}
	b.at, err = b.site.serve(b.bare.handler())
	return err
}

func (b *storeBench) close() error {
	var err error
	if b.db != nil {
		err = b.db.Close()
	}
	if b.site != nil {
		err = errors.Join(err, b.site.close())
	}
	return err
}

// parts are what is measured of a store, each on an empty one: what one part does would weigh on the next.
func (b *storeBench) parts(folder string) []func(*storeBench) func(context.Context) error {
	out := []func(*storeBench) func(context.Context) error{
		func(b *storeBench) func(context.Context) error { return b.measure },
		func(b *storeBench) func(context.Context) error { return b.measureConsent },
	}
	if len(b.growth) > 0 {
		out = append(out, func(b *storeBench) func(context.Context) error { return b.measureGrowth })
	}
	if folder != "" {
		out = append(out, func(b *storeBench) func(context.Context) error {
			return func(ctx context.Context) error { return b.loadFiles(ctx, folder) }
		})
	}
	return out
}

// measure is everything at the main size. Writes come last: they add to the patients' charts.
func (b *storeBench) measure(ctx context.Context) error {
	if err := b.grow(ctx, b.patients); err != nil {
		return err
	}
	if err := b.reads(ctx); err != nil {
		return err
	}
	if err := b.export(ctx); err != nil {
		return err
	}
	b.after = b.processes
	return b.writes(ctx)
}

// grow loads patients up to a number.
func (b *storeBench) grow(ctx context.Context, to int) error {
	begin := time.Now()
	n := benchResources(to) - benchResources(b.count)
	if err := b.data.load(ctx, b.count, to, newProgress(b.stderr, b.name+": loading patients", to-b.count)); err != nil {
		return err
	}
	b.count = to
	if b.rows == nil { // the first load starts from an empty store
		b.single("load, patients as transactions, 4 at a time", fmt.Sprintf("%.0f resources/s", float64(n)/time.Since(begin).Seconds()), "")
	}
	return b.db.Settle(ctx)
}

// reads measures everything that changes nothing, at the main size.
func (b *storeBench) reads(ctx context.Context) error {
	size, err := b.db.Size(ctx)
	if err != nil {
		return err
	}
	b.single("size on disk, audit log and all indexes included", fmt.Sprintf("%.2f KB/resource", float64(size)/1024/float64(benchResources(b.count))), sizeTarget(b.name))
	if err := b.site.variants(ctx); err != nil {
		return err
	}
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	if err := b.bare.learn(ctx, b.site, 0, b.count, newProgress(b.stderr, b.name+": copying answers for the baseline", b.count)); err != nil {
		return err
	}
	if err := b.db.Settle(ctx); err != nil {
		return err
	}
	if err := b.bare.same(ctx, b.site, b.at, b.count); err != nil {
		return err
	}
	read, search := b.readRequest, b.searchRequest(func(int) bool { return true })
	unnoticed := b.searchRequest(func(p int) bool { return !consented(p) }) // pages of one length with consent on and off
	for _, phase := range []struct {
		name, target, a, b string
		request            func(*rand.Rand) []byte
	}{
		{"read by id", ">= 0.60", b.site.address, b.at, read},
		{"patient-compartment search, page of 20", ">= 0.50", b.site.address, b.at, search},
		{"search, consent on / off", ">= 0.90", b.site.consentOn, b.site.consentOff, unnoticed},
		{"read, audit on / off", ">= 0.85", b.site.address, b.site.auditOff, read},
	} {
		if err := b.site.renew(ctx); err != nil {
			return err
		}
		if err := b.compare(ctx, phase.name, phase.target, httpSide(phase.a, b.clients, 200, phase.request), httpSide(phase.b, b.clients, 200, phase.request)); err != nil {
			return err
		}
	}
	if err := b.whereTimeGoes(ctx); err != nil {
		return err
	}
	if err := b.ladder(ctx); err != nil {
		return err
	}
	if err := b.tokens(ctx); err != nil {
		return err
	}
	for _, phase := range []struct {
		name    string
		request func(*rand.Rand) []byte
	}{{"tenant-wide token search, page of 20", b.tokenRequest}, {"chained search (patient.family)", b.chainRequest}} {
		if err := b.alone(ctx, phase.name, b.clients, phase.request); err != nil {
			return err
		}
	}
	return b.pgbench(ctx)
}

// compare measures one row, with a CPU profile when asked for.
func (b *storeBench) compare(ctx context.Context, name, target string, trellis, baseline side) error {
	fmt.Fprintf(b.stderr, "%s: %s\n", b.name, name)
	if err := b.profiled(ctx, name, trellis); err != nil {
		return err
	}
	c, err := compare(ctx, trellis, baseline, b.seconds)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.rows = append(b.rows, compared(b.name, name, target, c))
	return nil
}

func (b *storeBench) single(name, value, target string) {
	b.rows = append(b.rows, measurement{Store: b.name, Name: name, Value: value, Target: target})
}

func sizeTarget(name string) string {
	if name == "postgres" {
		return "<= 3.5 KB"
	}
	return "<= 2.1 KB"
}

// get is a GET request as the reading client.
func (b *storeBench) get(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: bench\r\nAccept: application/fhir+json\r\nAuthorization: Bearer " + b.site.tokens[benchReader] + "\r\n\r\n")
}

func (b *storeBench) readRequest(random *rand.Rand) []byte {
	return b.get("/fhir/Observation/" + observationID(random.IntN(b.patients), random.IntN(benchObservations)))
}

func (b *storeBench) searchRequest(want func(patient int) bool) func(*rand.Rand) []byte {
	return func(random *rand.Rand) []byte {
		for {
			if p := random.IntN(b.count); want(p) {
				return b.get(searchPath(patientID(p), benchPage))
			}
		}
	}
}

// bench is what all stores are measured with.
type bench struct {
	patients, clients int
	growth            []int
	seconds           time.Duration // of load on each side of a comparison
	profiles          string        // folder for CPU profiles; empty for none
	executable        string        // this program, for cold starts; empty for none
	stderr            io.Writer
	points            []growthPoint
}
