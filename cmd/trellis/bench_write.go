package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"

	"trellis/fhir"
)

// benchTables are the tables a created Observation has rows in, apart from the audit log's.
var benchTables = [...]string{"res", "body", "idx_token", "idx_ref", "idx_uri", "idx_date", "idx_number", "idx_string", "idx_element"}

// prepared is how many different bodies a write phase sends in turn.
const prepared = 256

// writes measures creating against inserting the rows the store wrote for the same resources.
func (b *storeBench) writes(ctx context.Context) error {
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	for _, phase := range []struct {
		name, path string
		body       func(int, *rand.Rand) ([]byte, error)
		resources  int
		status     int
	}{
		{"create", "/fhir/Observation", b.data.newObservation, 1, http.StatusCreated},
		{fmt.Sprintf("transaction of %d", benchEntries), "/fhir", b.data.newTransaction, benchEntries, http.StatusOK},
	} {
		requests := make([][]byte, prepared)
		random := rand.New(rand.NewPCG(1, 2))
		for i := range requests {
			body, err := phase.body(b.patients, random)
			if err != nil {
				return err
			}
			requests[i] = b.post(phase.path, body)
		}
		sample, err := b.sample(ctx, phase.resources)
		if err != nil {
			return err
		}
		trellis := httpSide(b.site.address, b.clients, phase.status, func(random *rand.Rand) []byte { return requests[random.IntN(len(requests))] })
		if err := b.compare(ctx, phase.name, ">= 0.35", trellis, sample.side(b.db, b.clients)); err != nil {
			return err
		}
		if err := b.cpuOf(ctx, "a "+phase.name, trellis); err != nil {
			return err
		}
	}
	return nil
}

// post is a POST request as the writing client.
func (b *storeBench) post(path string, body []byte) []byte {
	head := "POST " + path + " HTTP/1.1\r\nHost: bench\r\nContent-Type: " + fhir.ContentType + "\r\nAuthorization: Bearer " + b.site.tokens[benchHospital] +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...)
}

// sampleRows are statements that insert the rows of some resources, and where in their arguments a new
// row key, sequence and id go.
type sampleRows struct {
	statements []string
	args       [][]any
	own        []ownColumn
	next       *atomic.Int64
	resources  int
}

// ownColumn is an argument each insertion makes anew.
type ownColumn struct {
	statement, arg, resource int
	isID                     bool
}

// sample creates resources through the gateway and turns the rows it wrote into statements.
func (b *storeBench) sample(ctx context.Context, resources int) (*sampleRows, error) {
	ids := make([]string, resources)
	for i := range ids {
		body, err := b.data.newObservation(b.patients, rand.New(rand.NewPCG(uint64(i), 3)))
		if err != nil {
			return nil, err
		}
		if ids[i], err = b.create(ctx, body); err != nil {
			return nil, err
		}
	}
	out := &sampleRows{resources: resources, next: new(atomic.Int64)}
	out.next.Store(1<<62 + int64(resources)<<40) // no key of the store's is as high
	for _, table := range benchTables {
		if err := out.table(ctx, b.db, table, ids); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// create posts an Observation and returns its id.
func (b *storeBench) create(ctx context.Context, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.site.base+"/Observation", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+b.site.tokens[benchHospital])
	req.Header.Set("Content-Type", fhir.ContentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("a create was answered %d: %s", resp.StatusCode, outcomeText(answer))
	}
	res, err := fhir.ReadTrusted(answer)
	if err != nil {
		return "", err
	}
	return res.ID, nil
}

// table adds the statement for the rows of one table.
func (s *sampleRows) table(ctx context.Context, db bareDatabase, table string, ids []string) error {
	var columns []string
	var values []string
	var args []any
	for resource, id := range ids {
		names, rows, err := db.Rows(ctx, table, id)
		if err != nil {
			return err
		}
		columns = names
		for _, row := range rows {
			marks := make([]string, len(row))
			for i, v := range row {
				if own := slices.Index([]string{"rid", "seq", "id"}, names[i]); own >= 0 {
					s.own = append(s.own, ownColumn{len(s.statements), len(args), resource, names[i] == "id"})
				}
				args = append(args, v)
				marks[i] = db.Placeholder(len(args))
			}
			values = append(values, "("+strings.Join(marks, ",")+")")
		}
	}
	if len(values) == 0 {
		return nil // this kind of resource has no such index value
	}
	s.statements = append(s.statements, "INSERT INTO "+table+" ("+strings.Join(columns, ",")+") VALUES "+strings.Join(values, ","))
	s.args = append(s.args, args)
	return nil
}

// side inserts the rows again and again under new keys, each time in one transaction.
func (s *sampleRows) side(db bareDatabase, clients int) side {
	return side{clients: clients, open: func() (operation, func() error, error) {
		op := func(ctx context.Context, _ *rand.Rand) (int64, error) {
			key := s.next.Add(int64(s.resources)) - int64(s.resources)
			ids := make([]string, s.resources)
			for i := range ids {
				ids[i] = uuid.NewString()
			}
			args := make([][]any, len(s.args))
			for i := range args {
				args[i] = slices.Clone(s.args[i])
			}
			for _, o := range s.own {
				if args[o.statement][o.arg] = any(key + int64(o.resource)); o.isID {
					args[o.statement][o.arg] = ids[o.resource]
				}
			}
			return 0, db.Insert(ctx, s.statements, args)
		}
		return op, func() error { return nil }, nil
	}}
}
