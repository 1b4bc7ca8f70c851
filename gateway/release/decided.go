package release

import (
	"encoding/json"
	"sync"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/gateway/store"
)

// decided is a decision with what follows from it for every record it holds for.
type decided struct {
	decision access.Decision
	consents []consent.Consent
	carry    carried
	failed   error           // obligations that cannot be honoured: nothing may go out
	encoded  json.RawMessage // the decision as the log keeps it
	labels   [2][]byte       // meta.security, inside a Bundle and alone
	until    time.Time       // nothing it rests on changes before
}

// decisionLife is how long a decision may be used again while the facts it rests on stand.
const decisionLife = time.Second

// question is what a decision depends on: who asks, and which facts, by the epoch they were read at.
type question struct {
	principal access.Principal
	ground    store.Ground
}

// decisions keeps decisions for decisionLife. It is dropped whole when full.
type decisions struct {
	mu sync.RWMutex
	m  map[question]*decided
}

// maxDecisions bounds the cache.
const maxDecisions = 20_000

func (c *decisions) get(q question, now time.Time) (*decided, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d, ok := c.m[q]
	return d, ok && !now.Before(d.decision.EvaluatedAt) && now.Before(d.until)
}

func (c *decisions) put(q question, d *decided) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxDecisions {
		c.m = map[question]*decided{}
	}
	c.m[q] = d
}

// decided is the decision about a row, made anew or not longer ago than a second on the same facts.
func (g *Gate) decided(p access.Principal, subject store.Subject, row *store.Row, now time.Time) *decided {
	ground, ok := subject.Ground(row)
	q := question{p, ground}
	if ok {
		if d, found := g.cache.get(q, now); found {
			return d
		}
	}
	d := g.conclude(p, subject, row.Segment, now)
	if ok {
		g.cache.put(q, d)
	}
	return d
}

func (g *Gate) conclude(p access.Principal, subject store.Subject, segment int64, now time.Time) *decided {
	d := &decided{until: now.Add(decisionLife)}
	seg := g.Records.Segment(segment)
	d.decision, d.consents = Decide(p, subject, seg, now)
	for _, patient := range subject.Patients {
		if at := access.NextChange(patient.Facts, subject.Terms, now); !at.IsZero() && at.Before(d.until) {
			d.until = at
		}
	}
	d.encoded = encode(d.decision)
	if d.decision.Effect != access.Permit {
		return d
	}
	if d.carry, d.failed = obligations(d.decision, d.consents); d.failed == nil {
		d.labels = [2][]byte{security(seg, d.carry, false), security(seg, d.carry, true)}
	}
	return d
}
