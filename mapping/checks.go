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

func (r *run) check(c *checkRule, depth int) bool {
	if depth == len(c.loops) {
		return r.checkItem(c, depth)
	}
	l := &c.loops[depth]
	var gone map[int]bool
	for i, b := range r.items(l) {
		r.vars[l.slot] = b
		if r.test(l.where) && r.check(c, depth+1) {
			if gone == nil {
				gone = map[int]bool{}
			}
			gone[i] = true
		}
	}
	r.vars[l.slot] = binding{}
	if len(gone) > 0 {
		r.remove(l, gone)
	}
	return false
}

// checkItem tests one item, or the record; true when it is to be dropped.
func (r *run) checkItem(c *checkRule, depth int) bool {
	if !r.test(c.test) {
		return false
	}
	at := ""
	if depth > 0 {
		at = r.vars[c.loops[depth-1].slot].ptr
	}
	if c.at != nil {
		at = r.pointer(c.at)
	}
	r.report(at, c.rule, c.code, c.say, c.drop)
	if c.drop && depth == 0 {
		r.reject = true
	}
	return c.drop
}

// remove takes items out of a list of the record, so that nothing later sees them, and keeps the pointers of the
// others. The record is the run's own copy.
func (r *run) remove(l *loop, gone map[int]bool) {
	last := len(l.from.segs) - 1
	if last < 0 || l.group != "" {
		return // compileMap refuses these
	}
	parent, ok := r.value(&path{slot: l.from.slot, segs: l.from.segs[:last]}).(map[string]any)
	if !ok {
		return
	}
	list, _ := parent[l.from.segs[last]].([]any)
	origins := make([]string, 0, len(list))
	kept := make([]any, 0, len(list))
	for i, b := range r.items(l) {
		if !gone[i] {
			kept = append(kept, b.value)
			origins = append(origins, b.ptr)
		}
	}
	parent[l.from.segs[last]] = kept
	if r.moved == nil {
		r.moved = map[string][]string{}
	}
	r.moved[r.pointer(l.from)] = origins
	r.forgetAll()
}
