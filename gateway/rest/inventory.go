package rest

// RouteInfo is one route as an inventory shows it.
type RouteInfo struct {
	Method, Path string // Path with :parameters
	Interaction  string
	Public       bool // answers without a token, and carries no patient data
}

// Routes lists every route of the handler: an inventory for whoever must see that each one asks for a token.
func (s *Server) Routes() []RouteInfo {
	var out []RouteInfo
	for _, r := range s.routes() {
		out = append(out, RouteInfo{Method: r.method, Path: r.path, Interaction: r.interaction, Public: r.public != nil})
	}
	return out
}
