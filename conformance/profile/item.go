package profile

import (
	"context"
	"strconv"
	"strings"

	"trellis/fhir"
)

// item is one value of a resource.
type item struct {
	node   fhir.Node // absent for a primitive that has only extensions
	beside fhir.Node // what extends a primitive: its id and extensions
	typ    string    // data type or resource type; BackboneElement for a part
	at     string    // FHIRPath
	home   *home
}

// home is the resource an item belongs to.
type home struct {
	node  fhir.Node
	at    string
	outer *home // it is contained in, nil for none
}

// outermost is the resource that a home stands in, itself where it stands in none.
func (h *home) outermost() *home {
	for h.outer != nil {
		h = h.outer
	}
	return h
}

// run is one check.
type run struct {
	ctx      context.Context
	c        *Checker
	top      item
	byURL    map[string]fhir.Node // entries of a Bundle by fullUrl and by type and id
	findings []Finding
	said     map[string]bool
	kept     map[string]int // findings by severity
	done     map[place]bool // checked already
	types    map[string][]fhir.Element
	steps    int
	nesting  int
	ended    bool
}

func newRun(ctx context.Context, c *Checker, doc fhir.Node) *run {
	r := &run{ctx: ctx, c: c, byURL: map[string]fhir.Node{}, said: map[string]bool{}, kept: map[string]int{}, done: map[place]bool{}, types: map[string][]fhir.Element{}}
	typ := doc.Get("resourceType").Text()
	r.top = item{node: doc, typ: typ, at: typ, home: &home{node: doc, at: typ}}
	if typ == "Bundle" {
		for _, e := range doc.Get("entry").List() {
			res := e.Get("resource")
			if url := e.Get("fullUrl").Text(); url != "" {
				r.byURL[url] = res
			}
			if id := res.Get("id").Text(); id != "" {
				r.byURL[res.Get("resourceType").Text()+"/"+id] = res
			}
		}
	}
	return r
}

// place is where something is checked, and by what: a profile and its version, or a constraint's key and expression.
type place struct{ at, by, which string }

// silent is a run whose findings nobody sees: it asks whether an item fits a profile.
func (r *run) silent() *run {
	return &run{ctx: r.ctx, c: r.c, top: r.top, byURL: r.byURL, said: map[string]bool{}, kept: map[string]int{}, done: map[place]bool{}, types: r.types, steps: r.steps, nesting: r.nesting}
}

// claim is a profile that a resource of the document says it conforms to.
type claim struct {
	of          item
	profile, at string
}

// claims lists them: the resource's own, then those of what it contains and bundles.
func (r *run) claims() []claim {
	var out []claim
	var visit func(v item, depth int)
	visit = func(v item, depth int) {
		for i, p := range v.node.Path("meta", "profile").List() {
			out = append(out, claim{v, p.Text(), v.at + ".meta.profile[" + strconv.Itoa(i) + "]"})
		}
		if depth > 8 {
			return
		}
		for i, n := range v.node.Get("contained").List() {
			visit(v.inner(n, v.at+".contained["+strconv.Itoa(i)+"]", v.home), depth+1)
		}
		for _, e := range v.entries() {
			visit(e, depth+1)
		}
	}
	visit(r.top, 0)
	return out
}

// entries are the resources of a Bundle's entries, or of Parameters.
func (v item) entries() []item {
	list := map[string]string{"Bundle": "entry", "Parameters": "parameter"}[v.typ]
	var out []item
	for i, e := range v.node.Get(list).List() {
		if n := e.Get("resource"); n.Kind == '{' {
			out = append(out, v.inner(n, v.at+"."+list+"["+strconv.Itoa(i)+"].resource", nil))
		}
	}
	return out
}

// inner is a resource in another.
func (v item) inner(n fhir.Node, at string, outer *home) item {
	return item{node: n, typ: n.Get("resourceType").Text(), at: at, home: &home{n, at, outer}}
}

// primitive reports whether the item's value is a text, number or boolean.
func (v item) primitive() bool { return v.node.Kind != '{' }

// object is where the item's elements are.
func (v item) object() fhir.Node {
	if v.primitive() {
		return v.beside
	}
	return v.node
}

// reach lists the items of an element of an item, in the document's order.
func (v item) reach(name string, choice bool, types []typeRef) []item {
	object := v.object()
	if object.Kind != '{' {
		return nil
	}
	if !choice {
		typ := ""
		if len(types) > 0 {
			typ = types[0].code
		}
		return v.values(object.Get(name), object.Get("_"+name), v.at+"."+name, typ)
	}
	var out []item
	seen := ""
	for _, m := range object.Members {
		plain := strings.TrimPrefix(m.Name, "_")
		typ := choiceType(name, plain)
		if typ == "" || plain == seen {
			continue
		}
		seen = plain
		out = append(out, v.values(object.Get(plain), object.Get("_"+plain), v.at+"."+name, typ)...)
	}
	return out
}

// values are the items of one JSON member, with the one that extends it.
func (v item) values(n, beside fhir.Node, at, typ string) []item {
	if n.Kind != '[' && beside.Kind != '[' {
		if n.IsZero() && beside.IsZero() {
			return nil
		}
		return []item{v.make(n, beside, at, typ)}
	}
	var out []item
	for i := range max(len(n.Items), len(beside.Items)) {
		var value, extended fhir.Node
		if i < len(n.Items) {
			value = n.Items[i]
		}
		if i < len(beside.Items) {
			extended = beside.Items[i]
		}
		out = append(out, v.make(value, extended, at+"["+strconv.Itoa(i)+"]", typ))
	}
	return out
}

func (v item) make(n, beside fhir.Node, at, typ string) item {
	if n.Kind == 'n' { // null keeps a place in a list
		n = fhir.Node{}
	}
	if beside.Kind != '{' {
		beside = fhir.Node{}
	}
	if is := n.Get("resourceType").Text(); is != "" && (typ == "Resource" || typ == "" || fhir.KnownType(typ)) {
		outer := v.home
		if !strings.Contains(at[len(v.home.at):], ".contained[") {
			outer = nil
		}
		return v.inner(n, at, outer)
	}
	return item{node: n, beside: beside, typ: typ, at: at, home: v.home}
}
