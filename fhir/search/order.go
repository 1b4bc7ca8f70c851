package search

// Clinical is the one date parameter of a type that says when care happened, where there is exactly one: what
// Values.Clinical spans is then that parameter's values, and nothing else.
func (r *Registry) Clinical(typ string) (code string, ok bool) {
	ps := r.current.Load().byType[typ]
	if ps == nil || len(ps.clinical) != 1 {
		return "", false
	}
	for c := range ps.clinical {
		return c, true
	}
	return "", false
}
