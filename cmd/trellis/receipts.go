package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
)

// openReceipts reads from a file of receipts, a JSON line each, what is in already, and opens it for more; in gives of a
// line the hash it stands for and whether that is in. With "-" there is no file, and kept is nil.
func openReceipts[L any](file string, in func(L) (hash string, ok bool)) (done map[string]bool, kept *os.File, err error) {
	done = map[string]bool{}
	if file == "-" {
		return done, nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	for _, text := range bytes.Split(data, []byte("\n")) {
		var line L
		if json.Unmarshal(text, &line) != nil {
			continue // cut short when a run was killed: what it stands for is sent again
		}
		if hash, ok := in(line); ok {
			done[hash] = true
		}
	}
	kept, err = os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return done, kept, err
}

// keepReceipt shows a receipt and, where there is a file, adds it.
func keepReceipt(line any, stdout io.Writer, kept *os.File) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if _, err := stdout.Write(text); err != nil {
		return err
	}
	if kept == nil {
		return nil
	}
	_, err = kept.Write(text)
	return err
}
