package logfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxLine bounds a line, and so the memory a reader needs.
const MaxLine = 16 << 20

// Writer writes an export line by line. After the first error every call returns it.
type Writer struct {
	w   *bufio.Writer
	err error
}

// NewWriter returns a Writer onto w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// Write appends one line.
func (w *Writer) Write(l *Line) error {
	if w.err != nil {
		return w.err
	}
	data, err := l.encode()
	if err == nil && len(data) >= MaxLine {
		err = fmt.Errorf("%w: line exceeds %d bytes", ErrMalformed, MaxLine)
	}
	if err == nil {
		_, err = w.w.Write(append(data, '\n'))
	}
	w.err = err
	return err
}

// Flush hands everything written to the underlying writer.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	w.err = w.w.Flush()
	return w.err
}

// Reader reads an export line by line in constant memory.
type Reader struct {
	r    *bufio.Reader
	line int
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// LineNumber is the number, from 1, of the line Next returned last.
func (r *Reader) LineNumber() int { return r.line }

// Next returns the next line; io.EOF after the last. An error that wraps ErrMalformed concerns this line only, and
// reading may go on; any other error ends the reading.
func (r *Reader) Next() (Line, error) {
	r.line++
	var data []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if len(data)+len(part) > MaxLine {
			return Line{}, errors.New("audit export: line too long")
		}
		data = append(data, part...)
		switch {
		case err == nil:
			return decode(bytes.TrimSuffix(data, []byte("\n")))
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(data) > 0:
			return Line{}, fmt.Errorf("%w: the last line is cut", ErrMalformed)
		default:
			return Line{}, err
		}
	}
}
