package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrate brings the schema forward: numbered files, each in a transaction of its own, recorded with
// a hash. A released file that changed is refused.
func migrate(ctx context.Context, e Engine) error {
	d := e.Dialect()
	var err error
	for range maxConflicts { // PostgreSQL's IF NOT EXISTS conflicts with another replica's that has not committed yet
		err = e.Write(ctx, func(tx Tx) error {
			_, err := tx.Exec(ctx, expand("CREATE TABLE IF NOT EXISTS migration (no BIGINT NOT NULL PRIMARY KEY, name {{text}} NOT NULL, hash {{text}} NOT NULL)", d))
			return err
		})
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("store: preparing migrations: %w", err)
	}
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".sqlite.sql") && d.Name != "sqlite" {
			continue
		}
		data, err := migrationFiles.ReadFile(name)
		if err != nil {
			return err
		}
		if err := e.Write(ctx, func(tx Tx) error { return apply(ctx, tx, d, name, data) }); err != nil {
			return fmt.Errorf("store: migration %s: %w", name, err)
		}
	}
	return nil
}

func apply(ctx context.Context, tx Tx, d Dialect, name string, data []byte) error {
	no, err := strconv.ParseInt(strings.SplitN(strings.TrimPrefix(name, "migrations/"), "_", 2)[0], 10, 64)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	if d.Name == "postgres" { // two replicas starting together must not both create tables
		if _, err := tx.Exec(ctx, "LOCK TABLE migration IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
	}
	var applied string
	found, err := one(ctx, tx, "SELECT hash FROM migration WHERE no=?", []any{no}, &applied)
	if err != nil {
		return err
	}
	if found {
		if applied != hash {
			return fmt.Errorf("this database ran another version of it")
		}
		return nil
	}
	for _, statement := range statements(expand(string(data), d)) {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if no == 1 { // a new database: what comes into its index is made by this version
		if err := putSetting(ctx, tx, settingIndexVersion, []byte(indexVersion)); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, "INSERT INTO migration (no,name,hash) VALUES (?,?,?)", no, name, hash)
	return err
}

func expand(sql string, d Dialect) string {
	return strings.NewReplacer("{{text}}", d.Text, "{{blob}}", d.Blob, "{{norowid}}", d.NoRowID, "{{rowkey}}", d.RowKey, "{{rowkeys}}", d.RowKeys).Replace(sql)
}

// statements splits a migration at semicolons; comments are whole lines.
func statements(sql string) []string {
	var code strings.Builder
	for _, line := range strings.Split(sql, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			code.WriteString(line + "\n")
		}
	}
	var out []string
	for _, s := range strings.Split(code.String(), ";") {
		if strings.TrimSpace(s) != "" {
			out = append(out, s)
		}
	}
	return out
}

// Drop removes every table the migrations made. It is for demonstrations and tests.
func Drop(ctx context.Context, e Engine) error {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return err
	}
	tables := []string{"migration"}
	for _, name := range names {
		data, err := migrationFiles.ReadFile(name)
		if err != nil {
			return err
		}
		for _, s := range statements(string(data)) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(s), "CREATE TABLE "); ok {
				tables = append(tables, strings.Fields(rest)[0])
			}
		}
	}
	return e.Write(ctx, func(tx Tx) error {
		for _, t := range tables {
			if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+t); err != nil {
				return err
			}
		}
		return nil
	})
}
