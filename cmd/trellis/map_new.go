package main

import "io"

func mapNew(args []string, stdout, stderr io.Writer) int    { return 2 }
func mapExport(args []string, stdout, stderr io.Writer) int { return 2 }
