// Package telemetry makes the process's logger. Only attribute keys on its list are written, so that a
// patient's value cannot reach a log by a careless call; messages are constants in the code.
//
// It is entered through NewLogger; *slog.Logger is passed everywhere.
package telemetry

import (
	"io"
	"log/slog"
	"slices"
)

// allowed lists the attribute keys a log line may carry: identifiers of requests, clients and
// processes, codes, sizes and durations; never content, names, resource ids or query strings.
func allowed() []string {
	return []string{
		slog.TimeKey, slog.LevelKey, slog.MessageKey,
		"request", "client", "organization", "interaction", "status", "code", "error_type", "ms", "bytes",
		"address", "url", "count", "size", "pack", "state", "partner", "version", "attempt",
		"remote", "type", "fence", "leaves", "duration", "kind",
	}
}

// NewLogger writes one text line per record to w.
func NewLogger(w io.Writer) *slog.Logger {
	keys := allowed()
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if !slices.Contains(keys, a.Key) {
				return slog.Attr{}
			}
			if err, ok := a.Value.Any().(error); ok {
				return slog.String(a.Key, errorType(err))
			}
			return a
		},
	}))
}
