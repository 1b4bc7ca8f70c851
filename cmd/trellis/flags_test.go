package main

import (
	"bytes"
	"strings"
	"testing"
)

// Help that was asked for is printed once, for a pipe; wrong flags are answered on standard error.
func TestHelpIsPrintedOnce(t *testing.T) {
	for _, args := range [][]string{{"map", "run", "--help"}, {"ingest", "--help"}, {"serve", "-h"}} {
		var stdout, stderr bytes.Buffer
		if code := run(args, &stdout, &stderr); code != 0 || stdout.Len() == 0 || stderr.Len() > 0 {
			t.Errorf("%v: exit %d, %d bytes of help, and %q", args, code, stdout.Len(), stderr.String())
		}
		stdout.Reset()
		if code := run(append(args[:len(args)-1:len(args)-1], "--no-such-flag"), &stdout, &stderr); code != 2 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "Usage:") {
			t.Errorf("%v with a wrong flag: exit %d, %q", args, code, stderr.String())
		}
	}
}
