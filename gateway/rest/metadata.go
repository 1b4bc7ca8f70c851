package rest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"trellis/conformance/capability"
	"trellis/fhir"
	"trellis/fhir/search"
)

// Version is the software version the CapabilityStatement names.
const Version = "0.1.0"

// metadata serves GET [base]/metadata (https://hl7.org/fhir/R4/http.html#capabilities) from the route table.
func (s *Server) metadata(c *gin.Context) {
	if err := acceptable(c); err != nil {
		s.fail(c, err)
		return
	}
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
	doc := capability.Server{Base: s.Base, TokenURL: s.TokenURL, Version: Version, Date: "2026-11-22", System: system}
	if slices.Contains(interactions, "patch") {
		doc.PatchFormats = []string{jsonPatch, fhir.ContentType}
	}
	for _, typ := range fhir.Types() {
		doc.Resources = append(doc.Resources, s.capability(typ, interactions, conditional))
	}
	out, err := capability.Statement(doc)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.send(c, http.StatusOK, fhir.ContentType+"; charset=utf-8", out)
}

func (s *Server) capability(typ string, interactions, conditional []string) capability.Resource {
	// updateCreate: a client registered for it may choose ids.
	r := capability.Resource{Type: typ, Interactions: interactions, Conditional: conditional, UpdateCreate: true,
		Parameters: []capability.Parameter{{Name: "_id", Type: "token"}, {Name: "_lastUpdated", Type: "date"}}}
	for _, p := range s.Registry.Parameters(typ) {
		r.Parameters = append(r.Parameters, capability.Parameter{Name: p.Code, Type: string(p.Kind)})
		if p.Kind == search.KindReference {
			r.Includes = append(r.Includes, typ+":"+p.Code)
		}
	}
	return r
}

// smartConfiguration serves the SMART configuration.
func (s *Server) smartConfiguration(c *gin.Context) {
	out, err := capability.SMART(s.TokenURL, []string{"system/*.rs", "system/*.cruds", "system/Patient.rs"})
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Writer.Header().Set("Access-Control-Allow-Origin", "*")
	c.Data(http.StatusOK, "application/json", out)
}

// health answers a load balancer.
func (s *Server) health(c *gin.Context) {
	if _, _, err := s.Store.Setting(c.Request.Context(), "base"); err != nil {
		s.fail(c, err)
		return
	}
	c.String(http.StatusOK, "ok\n")
}

// token hands the request to the authorisation server.
func (s *Server) token(c *gin.Context) { s.OAuth.Token(c.Writer, c.Request) }
