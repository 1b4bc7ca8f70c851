package rest

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"trellis/conformance/capability"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/subscription"
)

// Version is the software version the CapabilityStatement names.
const Version = "0.1.0"

// metadata serves GET [base]/metadata (https://hl7.org/fhir/R4/http.html#capabilities) from the route table.
func (s *Server) metadata(c *gin.Context) {
	if err := acceptable(c); err != nil {
		s.fail(c, err)
		return
	}
	out, err := s.statement.of(s)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.send(c, http.StatusOK, fhir.ContentType+"; charset=utf-8", out)
}

// statement keeps the CapabilityStatement: it changes only with the search parameters.
type statement struct {
	mu    sync.Mutex
	state search.State
	body  []byte
}

func (m *statement) of(s *Server) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := s.Registry.State()
	if m.body != nil && m.state == state {
		return m.body, nil
	}
	body, err := s.capabilities()
	if err == nil {
		m.state, m.body = state, body
	}
	return body, err
}

// capabilities is the CapabilityStatement of what the route table and the registry offer.
func (s *Server) capabilities() ([]byte, error) {
	var interactions, system, conditional []string
	for _, r := range s.routes() {
		switch {
		case r.public != nil || r.on != nil: // operations have a list of their own
		case strings.HasPrefix(r.path, "/fhir/:type"):
			if !slices.Contains(interactions, r.interaction) {
				interactions = append(interactions, r.interaction)
			}
			if r.conditional && !slices.Contains(conditional, r.interaction) {
				conditional = append(conditional, r.interaction)
			}
		case strings.HasPrefix(r.path, "/fhir"):
			if !slices.Contains(system, r.interaction) {
				system = append(system, r.interaction)
			}
		}
	}
	system = append(system, "batch")
	doc := capability.Server{Base: s.Base, Authorize: s.Authorization.Authorize, Token: s.Authorization.Token, Version: Version, Date: "2026-11-22", System: system,
		Parameters: append(commonParameters(), capability.Parameter{Name: "_type", Type: "token"})}
	if slices.Contains(interactions, "patch") {
		doc.PatchFormats = []string{jsonPatch, fhir.ContentType}
	}
	elsewhere := s.definedElsewhere()
	doc.Operations = elsewhere[""]
	reverse := s.revIncludes()
	for _, typ := range fhir.Types() {
		r := s.capability(typ, interactions, conditional)
		r.Operations = append(r.Operations, elsewhere[typ]...)
		if r.RevIncludes = reverse[typ]; len(r.RevIncludes) == 0 { // nothing refers to it
			r.Parameters = slices.DeleteFunc(r.Parameters, func(p capability.Parameter) bool { return p.Name == "_has" })
		}
		doc.Resources = append(doc.Resources, r)
	}
	return capability.Statement(doc)
}

// definedElsewhere lists the operations that are not in the table of operations, by type; those of the system under "".
func (s *Server) definedElsewhere() map[string][]capability.Operation {
	out := map[string][]capability.Operation{}
	for _, r := range s.routes() {
		if r.definition == "" {
			continue
		}
		types := r.on
		if len(types) == 0 {
			types = []string{""}
		}
		op := capability.Operation{Name: r.path[strings.LastIndex(r.path, "$")+1:], Definition: r.definition}
		for _, typ := range types {
			if !slices.Contains(out[typ], op) {
				out[typ] = append(out[typ], op)
			}
		}
	}
	return out
}

// commonParameters are the search parameters every type has.
func commonParameters() []capability.Parameter {
	return []capability.Parameter{{Name: "_id", Type: "token"}, {Name: "_lastUpdated", Type: "date"}, {Name: "_tag", Type: "token"}, {Name: "_profile", Type: "uri"},
		{Name: "_security", Type: "token"}, {Name: "_source", Type: "uri"}, {Name: "_text", Type: "string"}, {Name: "_content", Type: "string"},
		{Name: "_list", Type: "string"}, {Name: "_has", Type: "string"}, {Name: "_filter", Type: "special"}}
}

func (s *Server) capability(typ string, interactions, conditional []string) capability.Resource {
	// updateCreate: a client registered for it may choose ids.
	r := capability.Resource{Type: typ, Interactions: interactions, Conditional: conditional, UpdateCreate: true, Parameters: commonParameters(), Includes: []string{typ + ":*"}}
	if typ == "Subscription" {
		r.Profiles = []string{subscription.Profile}
	}
	for _, p := range s.Registry.Parameters(typ) {
		if !p.Ready() { // its rows are still being made: it would be refused
			continue
		}
		r.Parameters = append(r.Parameters, capability.Parameter{Name: p.Code, Type: string(p.Kind)})
		if p.Kind == search.KindReference {
			r.Includes = append(r.Includes, typ+":"+p.Code)
		}
	}
	for _, o := range operations() {
		if slices.Contains(o.types(), typ) {
			r.Operations = append(r.Operations, capability.Operation{Name: strings.TrimPrefix(o.name, "$"), Definition: o.definition(typ)})
		}
	}
	return r
}

// revIncludes lists for each type the references that lead to it.
func (s *Server) revIncludes() map[string][]string {
	out := map[string][]string{}
	for _, source := range fhir.Types() {
		for _, p := range s.Registry.Parameters(source) {
			if p.Kind != search.KindReference || !p.Ready() {
				continue
			}
			targets := p.Targets
			if p.Target != "" {
				targets = []string{p.Target}
			}
			for _, typ := range targets {
				out[typ] = append(out[typ], source+":"+p.Code)
			}
		}
	}
	for typ := range out {
		out[typ] = append([]string{"*"}, out[typ]...)
	}
	return out
}

// health answers a load balancer.
func (s *Server) health(c *gin.Context) {
	if _, _, err := s.Store.Setting(c.Request.Context(), "base"); err != nil {
		s.fail(c, err)
		return
	}
	c.String(http.StatusOK, "ok\n")
}
