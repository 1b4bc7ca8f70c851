package postgres

import "testing"

func TestWithSearchPath(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u@h:5/d?sslmode=disable": "postgres://u@h:5/d?options=-csearch_path%3Ds&sslmode=disable",
		"host=h dbname=d":                    "host=h dbname=d options=-csearch_path=s",
	} {
		if got, err := withSearchPath(dsn, "s"); err != nil || got != want {
			t.Errorf("%s: got %s, %v", dsn, got, err)
		}
	}
}
