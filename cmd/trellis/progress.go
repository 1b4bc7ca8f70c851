package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress shows how far long work is: a bar on a terminal, a line per tenth elsewhere.
type progress struct {
	w        io.Writer
	what     string
	total    int
	done     int
	tenth    int
	terminal bool
}

func newProgress(w io.Writer, what string, total int) *progress {
	p := &progress{w: w, what: what, total: total}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			p.terminal = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return p
}

// step counts one more piece of work as done.
func (p *progress) step() {
	p.done++
	if p.total == 0 {
		return
	}
	const width = 30
	switch {
	case p.terminal:
		full := width * p.done / p.total
		fmt.Fprintf(p.w, "\r%s [%s%s] %d/%d", p.what, strings.Repeat("#", full), strings.Repeat(".", width-full), p.done, p.total)
		if p.done == p.total {
			fmt.Fprintln(p.w)
		}
	case 10*p.done/p.total > p.tenth || p.done == p.total:
		p.tenth = 10 * p.done / p.total
		fmt.Fprintf(p.w, "%s %d/%d\n", p.what, p.done, p.total)
	}
}
