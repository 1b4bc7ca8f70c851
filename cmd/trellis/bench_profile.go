package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// layer is a part of the work of a request. A sample of the CPU belongs to the first layer one of whose functions is on its
// stack, seen from the innermost call.
type layer struct {
	name      string
	functions []string // beginnings of names
}

// layers tell the work of a request apart.
func layers() []layer {
	return []layer{
		{"load generator", []string{"main.work", "main.(*wire)"}},
		{"audit log", []string{"trellis/gateway/audit.", "trellis/gateway/release.(*Gate).append", "trellis/gateway/store.(*Store).appendLeaves", "trellis/gateway/store.auditStore"}},
		{"token", []string{"trellis/auth/oauth."}},
		{"R4 validation", []string{"github.com/google/fhir/", "trellis/fhir.(*Parser)"}},
		{"database", []string{"trellis/gateway/store", "modernc.org/", "github.com/jackc/", "database/sql."}},
		{"decision, release and JSON", []string{"trellis/gateway/release.", "trellis/auth/access.", "trellis/fhir."}},
		{"request log", []string{"log/slog."}},
		{"HTTP and routing", []string{"trellis/gateway/rest.", "github.com/gin-gonic/", "net/http."}},
		{"collector and scheduler", []string{"runtime."}},
	}
}

// spent tells what the CPU did during some work: microseconds an operation by layer, and the share of all cores in use.
func spent(work func() (tally, error)) (string, tally, error) {
	var raw bytes.Buffer
	if err := pprof.StartCPUProfile(&raw); err != nil {
		return "", tally{}, err
	}
	t, err := work()
	pprof.StopCPUProfile()
	if err != nil || t.errors > 0 || t.n == 0 {
		return "", t, errors.Join(err, t.failure)
	}
	p, err := profile.Parse(&raw)
	if err != nil {
		return "", t, err
	}
	value := len(p.SampleType) - 1 // nanoseconds
	nanos, total := map[string]int64{}, int64(0)
	for _, sample := range p.Sample {
		nanos[layerOf(sample)] += sample.Value[value]
		total += sample.Value[value]
	}
	each := func(n int64) float64 { return float64(n) / 1e3 / float64(t.n) }
	var parts []string
	for _, l := range append(layers(), layer{name: other}) {
		if n := nanos[l.name]; each(n) >= 0.5 {
			parts = append(parts, fmt.Sprintf("%s %.0f", l.name, each(n)))
		}
	}
	busy := float64(total) / float64(t.elapsed.Nanoseconds()*int64(runtime.NumCPU()))
	return fmt.Sprintf("%.0f us (%s); %.0f %% of the cores in use", each(total), strings.Join(parts, ", "), 100*busy), t, nil
}

const other = "other"

// layerOf is the layer of a sample: of the load generator and of the audit log is all they call, the rest is told by the innermost
// call, and the runtime's is what nobody asked for.
func layerOf(s *profile.Sample) string {
	var names []string // innermost first
	for _, location := range s.Location {
		for _, line := range location.Line {
			if line.Function != nil {
				names = append(names, line.Function.Name)
			}
		}
	}
	all := layers()
	for _, turn := range [][]layer{all[:1], all[1:2], all[2 : len(all)-1], all[len(all)-1:]} {
		for _, name := range names {
			for _, l := range turn {
				if slices.ContainsFunc(l.functions, func(f string) bool { return strings.HasPrefix(name, f) }) {
					return l.name
				}
			}
		}
	}
	return other
}

// whereTimeGoes shows what bounds reads and searches: their CPU by layer, beside the same of the baseline.
func (b *storeBench) whereTimeGoes(ctx context.Context) error {
	fmt.Fprintf(b.stderr, "%s: where the time goes\n", b.name)
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	search := b.searchRequest(func(int) bool { return true })
	for _, one := range []struct {
		name, address string
		request       func(*rand.Rand) []byte
	}{
		{"a read", b.site.address, b.readRequest}, {"a read with audit off", b.site.auditOff, b.readRequest}, {"a read of the baseline", b.at, b.readRequest},
		{"a compartment search", b.site.address, search}, {"a compartment search of the baseline", b.at, search},
	} {
		if err := b.cpuOf(ctx, one.name, httpSide(one.address, b.clients, 200, one.request)); err != nil {
			return err
		}
	}
	return nil
}

// cpuOf adds a row that says where the CPU of an operation goes.
func (b *storeBench) cpuOf(ctx context.Context, name string, s side) error {
	value, _, err := spent(func() (tally, error) { return s.run(ctx, b.seconds) })
	if err == nil {
		b.single(fmt.Sprintf("CPU of %s, %d clients", name, b.clients), value, "")
	}
	return err
}
