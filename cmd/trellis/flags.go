package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// parseFlags parses a command's flags, which may stand before or after its arguments. done reports that
// the command is over: help was asked for, or the flags are wrong.
func parseFlags(fs *flag.FlagSet, args []string, stdout io.Writer, help string) (code int, done bool) {
	var positional []string
	usage := fs.Usage
	fs.Usage = func() {} // help that was asked for goes to standard output, once
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, help)
			return 0, true
		}
		if err != nil {
			usage()
			return 2, true
		}
		args = fs.Args()
		if len(args) == 0 {
			break
		}
		positional, args = append(positional, args[0]), args[1:]
	}
	if len(positional) == 0 {
		return 0, false
	}
	// Everything left is positional: hand it back through the flag set.
	if err := fs.Parse(append([]string{"--"}, positional...)); err != nil {
		return 2, true
	}
	return 0, false
}
