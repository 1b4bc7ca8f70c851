package store

import (
	"fmt"
	"math"
	"strconv"

	"trellis/auth/label"
	"trellis/fhir/search"
)

// element holds when one row of a composite parameter matches both halves.
func (w where) element(c search.Element) error {
	params, err := w.params(w.typ, c.Params)
	if err != nil {
		return err
	}
	if c.A.Kind == search.KindReference || c.B.Kind == search.KindReference {
		if w.filter.walled() {
			w.b.add("1=0")
			return nil
		}
		// Release may cut the reference: only who holds the record finds it by that.
		w.b.inNumbers(w.s.dialect, w.row+".seg", w.filter.own)
		w.b.add(" AND ")
	}
	x, end := w.rows("idx_element", params, false)
	for _, half := range []struct {
		name string
		c    search.Component
	}{{"a", c.A}, {"b", c.B}} {
		w.b.add(" AND ")
		if err := w.component(half.c, x+"."+half.name); err != nil {
			return err
		}
	}
	w.b.add(end)
	return nil
}

// earthRadius is the mean one, in metres.
const earthRadius = 6_371_008.8

// near holds when a position is within a distance, by the haversine of the angle between the two. The latitudes that come
// into question narrow the rows first.
func (w where) near(c search.Near) error {
	params, err := w.params(w.typ, c.Params)
	if err != nil {
		return err
	}
	const radians = math.Pi / 180
	angle := math.Min(c.Metres/earthRadius, math.Pi)
	x, end := w.rows("idx_element", params, false)
	w.b.add(" AND "+x+".blo>=? AND "+x+".blo<=?",
		int64(math.Floor((c.Latitude-angle/radians)*1e6))-1, int64(math.Ceil((c.Latitude+angle/radians)*1e6))+1) // stored in millionths
	const number = "CAST(? AS DOUBLE PRECISION)"
	haversine := func(column string) string {
		half := "SIN(" + x + "." + column + "*" + number + "-" + number + ")"
		return half + "*" + half
	}
	north, east := c.Latitude*radians/2, c.Longitude*radians/2
	const step = 1e-6 * radians
	w.b.add(" AND "+haversine("blo")+"+"+number+"*COS("+x+".blo*"+number+")*"+haversine("alo")+"<="+number,
		step/2, north, step/2, north, math.Cos(c.Latitude*radians), step, step/2, east, step/2, east, math.Pow(math.Sin(angle/2), 2)+1e-15)
	w.b.add(end)
	return nil
}

// component compares one half of an element row, whose columns begin with prefix.
func (w where) component(c search.Component, prefix string) error {
	switch c.Kind {
	case search.KindToken:
		return w.tokens(c.Values, prefix+"code", prefix+"sys")
	case search.KindDate, search.KindNumber:
		w.b.alternatives(len(c.Values), func(i int) {
			rng := c.Values[i].Range
			if c.Kind == search.KindNumber {
				rng, _ = c.Values[i].In(search.Unit{})
			}
			ordered(w.b, c.Values[i].Prefix, rng, prefix+"lo", prefix+"hi")
		})
		return nil
	case search.KindQuantity:
		return w.elementQuantities(c.Values, prefix)
	case search.KindReference:
		w.b.alternatives(len(c.Values), func(i int) { w.b.add(prefix+"code=?", c.Values[i].RefID) })
		return nil
	case search.KindURI, search.KindString:
		w.texts(c.Mode, c.Values, prefix+"code", prefix+"code")
		return nil
	}
	return fmt.Errorf("store: no index for a component of kind %s", c.Kind)
}

// elementQuantities is quantities for element rows, which spell units out: system number and code.
func (w where) elementQuantities(values []search.Value, prefix string) error {
	units := w.s.units()
	var failed error
	w.b.alternatives(len(values), func(i int) {
		v := values[i]
		if v.Unit == (search.Unit{}) {
			rng, _ := v.In(search.Unit{})
			ordered(w.b, v.Prefix, rng, prefix+"lo", prefix+"hi")
			return
		}
		w.b.add("(1=0")
		for _, u := range units {
			rng, ok := v.In(u)
			if !ok {
				continue
			}
			sys := int64(0)
			if u.System != "" {
				var err error
				if sys, err = w.s.lookup(w.ctx, w.tx, dictSystem, u.System); err != nil {
					failed = err
				}
			}
			w.b.add(" OR ("+prefix+"sys=? AND "+prefix+"code=? AND ", sys, u.Code)
			ordered(w.b, v.Prefix, rng, prefix+"lo", prefix+"hi")
			w.b.add(")")
		}
		w.b.add(")")
	})
	return failed
}

// another is the same walk over the rows of a sub-select, outside any compartment.
func (w where) another(typ, row string) where {
	w.typ, w.row, w.inside, w.depth = typ, row, false, w.depth+1
	return w
}

// chain holds when a reference leads to a visible resource that meets the conditions. A reference the caller
// cannot follow leads nowhere.
func (w where) chain(c search.Chain) error {
	params, err := w.params(w.typ, c.Params)
	if err != nil {
		return err
	}
	typeNo, err := w.s.lookup(w.ctx, w.tx, dictType, c.Target)
	if err != nil {
		return err
	}
	x, end := w.rows("idx_ref", params, false)
	rc := "c" + strconv.Itoa(w.depth)
	if w.list {
		w.b.add(" AND " + x + ".target IN (SELECT " + rc + ".rid FROM res " + rc + " WHERE ")
	} else {
		w.b.add(" AND EXISTS (SELECT 1 FROM res " + rc + " WHERE " + rc + ".rid=" + x + ".target AND ")
	}
	w.b.add(rc+".part=0 AND "+rc+".type_no=? AND "+rc+".del=0 AND ", typeNo)
	if err := w.another(c.Target, rc).add(c.Where); err != nil {
		return err
	}
	w.b.add(" AND ")
	if err := w.s.visibleRow(w.b, w.filter, rc, c.Target); err != nil {
		return err
	}
	w.b.add(")")
	if label.Directory(c.Target) {
		if err := w.unnamedTarget(x); err != nil {
			return err
		}
	}
	w.b.add(end)
	return nil
}

// has holds when a visible resource of another type refers to this one and meets the conditions.
func (w where) has(c search.Has) error {
	params, err := w.params(c.Type, c.Params)
	if err != nil {
		return err
	}
	typeNo, err := w.s.lookup(w.ctx, w.tx, dictType, c.Type)
	if err != nil {
		return err
	}
	x, rh := w.alias(), "h"+strconv.Itoa(w.depth)
	if w.list {
		w.b.add(w.row + ".rid IN (SELECT " + x + ".target")
	} else {
		w.b.add("EXISTS (SELECT 1")
	}
	w.b.add(" FROM idx_ref " + x + " JOIN res " + rh + " ON " + rh + ".part=0 AND " + rh + ".rid=" + x + ".rid WHERE " + x + ".part=0 AND ")
	if !w.list {
		w.b.add(x + ".target=" + w.row + ".rid AND ")
	}
	w.equalTo(x+".param", params)
	w.b.add(" AND "+rh+".type_no=? AND "+rh+".del=0 AND ", typeNo)
	if err := w.another(c.Type, rh).add(c.Where); err != nil {
		return err
	}
	w.b.add(" AND ")
	if err := w.s.visibleRow(w.b, w.filter, rh, c.Type); err != nil {
		return err
	}
	if w.typ == "" || label.Directory(w.typ) {
		if err := w.unnamedTarget(x); err != nil {
			return err
		}
	}
	w.b.add(")")
	return nil
}
