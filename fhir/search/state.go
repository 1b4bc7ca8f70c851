package search

// State stands for the search parameters there are: it is equal to another only while none was defined or became ready.
type State struct{ snapshot *snapshot }

// State is the registry's state now.
func (r *Registry) State() State { return State{r.current.Load()} }
