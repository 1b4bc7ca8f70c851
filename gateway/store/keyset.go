package store

import (
	"cmp"
	"strconv"
)

// keyset adds (k0,k1,...,rid) > position, each key in its own direction.
func (p *plan) keyset(b *statement, after *Position) {
	b.add("(")
	for i := 0; i <= len(p.order); i++ {
		if i > 0 {
			b.add(" OR ")
		}
		b.add("(")
		for j := range i {
			b.add("r.k"+strconv.Itoa(j)+"=? AND ", after.Keys[j])
		}
		column, sign, value := "r.rid", ">", any(after.Row)
		if i < len(p.order) {
			column, value = "r.k"+strconv.Itoa(i), after.Keys[i]
		}
		if p.descending(i) {
			sign = "<"
		}
		b.add(column+sign+"?)", value)
	}
	b.add(")")
}

// descending reports the direction of the i-th key; behind the last stands the row key, which follows it.
func (p *plan) descending(i int) bool {
	if i < len(p.order) {
		return p.order[i].desc
	}
	return len(p.order) > 0 && p.order[len(p.order)-1].desc
}

func (p *plan) orderText() string {
	out := ""
	for i := range p.order {
		out += "r.k" + strconv.Itoa(i)
		if p.descending(i) {
			out += " DESC"
		}
		out += ","
	}
	out += "r.rid"
	if p.descending(len(p.order)) {
		out += " DESC"
	}
	return out
}

// compare is the order of rows in Go: joins promise none.
func (p *plan) compare(a, b Row) int {
	for i := range p.order {
		c := 0
		switch x := a.sortKeys[i].(type) {
		case int64:
			y, _ := b.sortKeys[i].(int64)
			c = cmp.Compare(x, y)
		case string:
			y, _ := b.sortKeys[i].(string)
			c = cmp.Compare(x, y)
		}
		if c != 0 {
			return direction(c, p.descending(i))
		}
	}
	return direction(cmp.Compare(a.rid, b.rid), p.descending(len(p.order)))
}

func direction(c int, desc bool) int {
	if desc {
		return -c
	}
	return c
}
