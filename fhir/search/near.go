package search

import (
	"errors"
	"math"
	"strconv"

	"trellis/fhir"
)

// nearby is how far, in metres, a search by position looks when it does not say (R4 location.html#positional leaves it to the server);
// farthest is the most it may ask for: nothing is farther away.
const (
	nearby   = 50_000
	farthest = 21_000_000
)

// near reads latitude|longitude|distance|units (R4 location.html#positional). Units are UCUM's, kilometres when there are none.
func (p *parser) near(a ask, par *Parameter, modifier string, alternatives []string) (Condition, error) {
	if modifier != "" {
		return nil, bad(a.name, "this modifier is not offered")
	}
	var out Or
	for _, alt := range alternatives {
		n, err := nearValue(alt)
		if err != nil {
			return nil, invalid(a.name, err.Error())
		}
		n.Params = par.Reads
		out = append(out, n)
	}
	if len(out) == 1 {
		return out[0], nil
	}
	return out, nil
}

func nearValue(s string) (Near, error) {
	parts := splitEscaped(s, '|')
	if len(parts) < 2 || len(parts) > 4 {
		return Near{}, errors.New("must be latitude|longitude|distance|units")
	}
	n := Near{Metres: nearby}
	var ok1, ok2 bool
	n.Latitude, ok1 = degrees(parts[0], 90)
	n.Longitude, ok2 = degrees(parts[1], 180)
	if !ok1 || !ok2 {
		return Near{}, errors.New("needs a latitude from -90 to 90 and a longitude from -180 to 180, in decimal degrees")
	}
	if len(parts) > 2 && parts[2] != "" {
		distance, _, err := parseDecimal(parts[2])
		if err != nil || distance < 0 {
			return Near{}, errors.New("needs a distance that is a number and not negative")
		}
		unit := "km"
		if len(parts) == 4 && parts[3] != "" {
			unit = unescape(parts[3])
		}
		metres, ok := convertible(unit, "m")
		if !ok {
			return Near{}, errors.New("needs a UCUM unit of length, such as km, m or [mi_i]")
		}
		n.Metres = math.Min(metres.apply(distance), farthest)
	}
	return n, nil
}

func degrees(s string, limit float64) (float64, bool) {
	d, err := strconv.ParseFloat(s, 64)
	return d, err == nil && d >= -limit && d <= limit
}

// position is where an element with longitude and latitude lies.
func position(n *fhir.Node) (longitude, latitude Half, ok bool) {
	lon, ok1 := degrees(n.Get("longitude").Text(), 180)
	lat, ok2 := degrees(n.Get("latitude").Text(), 90)
	return micro(lon), micro(lat), ok1 && ok2
}

func micro(degrees float64) Half {
	m := int64(math.Round(degrees * 1e6))
	return Half{Lo: m, Hi: m + 1}
}
