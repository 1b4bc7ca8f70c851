package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The load generator of `trellis bench`: closed-loop clients, each with a kept connection of its own. It
// speaks just enough HTTP/1.1 to send a prepared request and read the answer, so that both sides of a
// ratio are measured and not the client.

// tally is what some clients did in some time.
type tally struct {
	n, errors int
	bytes     int64 // of bodies
	elapsed   time.Duration
	latencies []time.Duration
	failure   error // the first
}

func (t *tally) add(o tally) {
	t.n, t.errors, t.bytes, t.elapsed = t.n+o.n, t.errors+o.errors, t.bytes+o.bytes, t.elapsed+o.elapsed
	t.latencies = append(t.latencies, o.latencies...)
	if t.failure == nil {
		t.failure = o.failure
	}
}

// rate is operations per second.
func (t tally) rate() float64 {
	if t.elapsed == 0 {
		return 0
	}
	return float64(t.n) / t.elapsed.Seconds()
}

// quantile is the latency that a share q of the operations did not exceed. It sorts in place.
func (t tally) quantile(q float64) time.Duration {
	if len(t.latencies) == 0 {
		return 0
	}
	slices.Sort(t.latencies)
	return t.latencies[min(len(t.latencies)-1, int(q*float64(len(t.latencies))))]
}

// operation does one thing and returns how many bytes of body came back.
type operation func(ctx context.Context, random *rand.Rand) (int64, error)

// side is one of the two things a phase compares. open makes one client's operation and what ends it.
type side struct {
	clients int
	open    func() (op operation, end func() error, err error)
}

// run lets all clients work for d.
func (s side) run(ctx context.Context, d time.Duration) (tally, error) {
	ops, ends := make([]operation, s.clients), make([]func() error, s.clients)
	for i := range ops {
		var err error
		if ops[i], ends[i], err = s.open(); err != nil {
			return tally{}, err
		}
	}
	results := make([]tally, s.clients)
	var wg sync.WaitGroup
	start := time.Now()
	deadline := start.Add(d)
	for i := range ops {
		wg.Add(1)
		go func() { defer wg.Done(); results[i] = work(ctx, ops[i], uint64(i), deadline) }()
	}
	wg.Wait()
	elapsed := time.Since(start)
	var out tally
	var err error
	for i, r := range results {
		out.add(r)
		err = errors.Join(err, ends[i]())
	}
	out.elapsed = elapsed
	return out, errors.Join(err, ctx.Err())
}

// work repeats an operation until the deadline. A client stops at its first error: the run has failed.
func work(ctx context.Context, op operation, seed uint64, deadline time.Time) tally {
	random := rand.New(rand.NewPCG(seed, uint64(deadline.UnixNano())))
	var t tally
	for ctx.Err() == nil {
		begin := time.Now()
		if begin.After(deadline) {
			break
		}
		n, err := op(ctx, random)
		if err != nil {
			t.errors, t.failure = t.errors+1, err
			break
		}
		t.n, t.bytes, t.latencies = t.n+1, t.bytes+n, append(t.latencies, time.Since(begin))
	}
	return t
}

// rounds is how often a comparison goes back and forth, so that what else the machine does meets both.
const rounds = 4

// compare measures two sides in turns, after warming both up. Any error ends the run.
func compare(ctx context.Context, a, b side, each time.Duration) (comparison, error) {
	var out comparison
	for _, s := range []side{a, b} {
		if t, err := s.run(ctx, each/10); err != nil || t.errors > 0 {
			return out, errors.Join(err, t.failure)
		}
	}
	for range rounds {
		x, err := a.run(ctx, each/rounds)
		if err != nil {
			return out, err
		}
		y, err := b.run(ctx, each/rounds)
		if err != nil {
			return out, err
		}
		out.a.add(x)
		out.b.add(y)
		if y.rate() > 0 {
			out.ratios = append(out.ratios, x.rate()/y.rate())
		}
	}
	if n := out.a.errors + out.b.errors; n > 0 {
		return out, fmt.Errorf("%d operations failed: %w", n, errors.Join(out.a.failure, out.b.failure))
	}
	if out.a.n == 0 || out.b.n == 0 {
		return out, errors.New("nothing was measured; give more --seconds")
	}
	return out, nil
}

// comparison is what compare found. ratios has one a/b for each round.
type comparison struct {
	a, b   tally
	ratios []float64
}

// httpSide sends prepared requests to an address and wants one status back.
func httpSide(address string, clients, want int, request func(*rand.Rand) []byte) side {
	return side{clients: clients, open: func() (operation, func() error, error) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return nil, nil, err
		}
		w := &wire{conn: c, in: bufio.NewReaderSize(c, 32<<10)}
		op := func(_ context.Context, random *rand.Rand) (int64, error) {
			status, n, err := w.do(request(random))
			if err == nil && status != want {
				err = fmt.Errorf("%s answered %d, not %d", address, status, want)
			}
			return n, err
		}
		return op, c.Close, nil
	}}
}

// wire is one connection.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

// do sends a request and reads its answer, dropping the body.
func (w *wire) do(request []byte) (status int, body int64, err error) {
	if err := w.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, 0, err
	}
	if _, err := w.conn.Write(request); err != nil {
		return 0, 0, err
	}
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 12 {
		return 0, 0, errors.New("the answer is not HTTP")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, err
	}
	length, chunked := int64(0), false
	for {
		if line, err = w.in.ReadSlice('\n'); err != nil {
			return 0, 0, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
		if err != nil {
			return 0, 0, err
		}
	}
	if chunked {
		body, err = w.chunks()
		return status, body, err
	}
	_, err = w.in.Discard(int(length))
	return status, length, err
}

// chunks drops a chunked body.
func (w *wire) chunks() (int64, error) {
	total := int64(0)
	for {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			return total, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return total, err
		}
		if _, err := w.in.Discard(int(n) + 2); err != nil || n == 0 {
			return total, err
		}
		total += n
	}
}
