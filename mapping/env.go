package mapping

import (
	"crypto/sha1"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Env is what a deployment lends to a mapping run.
type Env struct {
	// Namespace is a secret of the deployment: all ids are UUIDv5 under it, so that an id made from a medical record
	// number cannot be guessed.
	Namespace uuid.UUID
	// Organization is the custodian that sends the records.
	Organization Organization
	// Base is the canonical base of our own code systems, e.g. https://trellis.example/fhir.
	Base string
	// Now is the time of the run. It never reaches a resource; checks may compare with it.
	Now time.Time
	// ProposeConcerns lets packs make unconfirmed Conditions of needs that a screening shows, for a person to review. Off
	// unless the deployment turns it on.
	ProposeConcerns bool
	// Lineage asks for the origin of every element: Resource.Lineage, and targetPath entries in the record's Provenance.
	Lineage bool
	// Digest is the digest of the record as its keeper sent it (Record.Digest), where what is mapped was merged from it and
	// from changes made elsewhere: the Provenance names the record as its keeper has it. Empty: that of what is mapped.
	Digest string
}

// Organization is the sending organisation, whose FHIR resource the gateway keeps.
type Organization struct {
	ID     string // logical id of its Organization resource
	Name   string
	System string // URI of the organisation's id space
	Part2  bool   // its records are those of a 42 CFR Part 2 program
}

// envState is an Env prepared for one call: the namespace of the source and the tallies of the report.
type envState struct {
	Env
	source string // id space: organisation system + "/" + source
	ns     uuid.UUID
	org    map[string]any
	now    string // for checks only
	tally  *tally
}

func (p *Pack) prepare(env Env) *envState {
	source := strings.TrimSuffix(env.Organization.System, "/") + "/" + p.source
	return &envState{
		Env: env, source: source, ns: uuid.NewSHA1(env.Namespace, []byte(source)),
		org: map[string]any{
			"id": env.Organization.ID, "name": env.Organization.Name, "system": env.Organization.System,
			"part2": env.Organization.Part2,
		},
		now: env.Now.UTC().Format(instantLayout), tally: newTally(p),
	}
}

// id is the logical id of a resource: UUIDv5 of type, record kind, record key and slot, joined by U+001F.
func (e *envState) id(resource, record, key, slot string) string {
	const sep = "\x1f"
	var buf [256]byte
	name := append(buf[:0], e.ns[:]...)
	name = append(append(name, resource...), sep...)
	name = append(append(name, record...), sep...)
	name = append(append(name, key...), sep...)
	name = append(name, slot...)
	sum := sha1.Sum(name) // as RFC 4122 makes version 5; uuid.NewSHA1 does the same with four allocations
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x50, id[8]&0x3f|0x80
	return id.String()
}

// idSystem is the identifier system of a kind of record: never one system for two id spaces.
func (e *envState) idSystem(record string) string { return e.source + "/" + record }

// sourceURI is meta.source: the record in its source, as a URI.
func (e *envState) sourceURI(key string) string { return e.source + "#" + url.PathEscape(key) }
