package mapping

// A checkRule looks at the record before anything is made of it: per item of a list or once. What it finds is
// reported; an item, or the whole record, may be dropped for it. Checks run in the order of the file, and an item
// that is gone is not looked at again.
type checkRule struct {
	leaf
	loops []loop
	test  *predicate
	code  string
	say   string
	at    *path
	drop  bool
}

func (r *run) runChecks() {
	for i := range r.m.checks {
		r.check(&r.m.checks[i], 0)
		if r.reject {
			return
		}
	}
}

func (r *run) check(c *checkRule, depth int) {
	if depth < len(c.loops) {
		l := &c.loops[depth]
		for _, b := range r.items(l) {
			r.vars[l.slot] = b
			r.check(c, depth+1)
		}
		r.vars[l.slot] = binding{}
		return
	}
	if !r.test(c.test) {
		return
	}
	item := ""
	if depth > 0 {
		item = r.vars[c.loops[depth-1].slot].ptr
	}
	at := item
	if c.at != nil {
		at = r.pointer(c.at)
	}
	r.report(at, c.rule, c.code, c.say, c.drop)
	if !c.drop {
		return
	}
	if depth == 0 {
		r.reject = true
		return
	}
	if r.drops == nil {
		r.drops = map[string]bool{}
	}
	r.drops[item] = true
}
