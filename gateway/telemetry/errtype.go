package telemetry

import (
	"errors"
	"fmt"
)

// errorType names the innermost cause by its type: an error's text may quote what caused it.
func errorType(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return fmt.Sprintf("%T", err)
		}
		err = next
	}
}
