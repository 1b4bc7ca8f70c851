package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// measurement is one row of the benchmark: a comparison of two sides under load, or a single figure.
type measurement struct {
	Store    string  `json:"store"`
	Name     string  `json:"name"`
	Trellis  *figure `json:"trellis,omitempty"`
	Baseline *figure `json:"baseline,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"` // of throughput
	Low      float64 `json:"ratio_low,omitempty"`
	High     float64 `json:"ratio_high,omitempty"`
	Value    string  `json:"value,omitempty"`
	Target   string  `json:"target,omitempty"`
}

// figure is throughput with latencies in milliseconds.
type figure struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Bytes     float64 `json:"bytes_per_answer,omitempty"`
	Count     int     `json:"count"`
}

func newFigure(t tally) *figure {
	ms := func(d time.Duration) float64 { return math.Round(float64(d.Microseconds())) / 1000 }
	return &figure{PerSecond: t.rate(), P50: ms(t.quantile(0.50)), P99: ms(t.quantile(0.99)), Bytes: float64(t.bytes) / float64(max(1, t.n)), Count: t.n}
}

// compared is the row of a comparison. Its ratio is of what both sides did in the same rounds.
func compared(storeName, name, target string, c comparison) measurement {
	return measurement{Store: storeName, Name: name, Target: target, Trellis: newFigure(c.a), Baseline: newFigure(c.b),
		Ratio: c.a.rate() / c.b.rate(), Low: slices.Min(c.ratios), High: slices.Max(c.ratios)}
}

// writeReport writes all rows as two tables, or as JSON.
func writeReport(w io.Writer, head string, rows []measurement, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		out.SetIndent("", "  ")
		return out.Encode(map[string]any{"machine": head, "rows": rows})
	}
	var b strings.Builder
	b.WriteString(head + "\n\n")
	table := [][]string{{"store", "measured", "Trellis /s", "p50 ms", "p99 ms", "baseline /s", "p50 ms", "p99 ms", "ratio (rounds)", "target"}}
	single := [][]string{{"store", "measured", "figure", "target"}}
	for _, r := range rows {
		if r.Trellis == nil {
			single = append(single, []string{r.Store, r.Name, r.Value, r.Target})
			continue
		}
		table = append(table, []string{r.Store, r.Name, count(r.Trellis.PerSecond), millis(r.Trellis.P50), millis(r.Trellis.P99),
			count(r.Baseline.PerSecond), millis(r.Baseline.P50), millis(r.Baseline.P99), fmt.Sprintf("%.2f (%.2f-%.2f)", r.Ratio, r.Low, r.High), r.Target})
	}
	writeTable(&b, table)
	b.WriteString("\n")
	writeTable(&b, single)
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n float64) string { return fmt.Sprintf("%.0f", n) }

func millis(n float64) string { return fmt.Sprintf("%.2f", n) }

// writeTable writes a Markdown table with its columns in line.
func writeTable(b *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for n, r := range rows {
		for i, cell := range r {
			fmt.Fprintf(b, "| %-*s ", widths[i], cell)
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, width := range widths {
				b.WriteString("|" + strings.Repeat("-", width+2))
			}
			b.WriteString("|\n")
		}
	}
}
