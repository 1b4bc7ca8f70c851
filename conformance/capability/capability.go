// Package capability writes what the server says about itself: the CapabilityStatement and the SMART
// configuration. Both are made from what is really served, handed in by the caller, so that neither can
// promise more. It serves nothing itself.
package capability

import (
	"encoding/json"
	"slices"

	"trellis/fhir"
)

// Parameter is a search parameter as advertised.
type Parameter struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Operation is an operation with the canonical URL of its definition.
type Operation struct {
	Name       string `json:"name"` // without its $
	Definition string `json:"definition"`
}

// Resource is one resource type as served.
type Resource struct {
	Type         string
	Profiles     []string // canonical URLs of those it is held to
	Interactions []string
	Parameters   []Parameter
	RevIncludes  []string
	Includes     []string
	UpdateCreate bool
	Conditional  []string // interactions that take a condition
	Operations   []Operation
}

// Server is what the statement is made from.
type Server struct {
	Base      string
	Authorize string // absolute URLs of the authorization server
	Token     string
	Version   string
	Date      string // when the software was released, a FHIR dateTime
	Resources []Resource
	System    []string // system interactions
	// Operations are those of the system as a whole.
	Operations []Operation

	Parameters   []Parameter // of searches across types
	PatchFormats []string
}

// Statement is the CapabilityStatement (https://hl7.org/fhir/R4/capabilitystatement.html).
func Statement(s Server) ([]byte, error) {
	type code struct {
		Code string `json:"code"`
	}
	codes := func(list []string) []code {
		out := make([]code, 0, len(list))
		for _, c := range list {
			out = append(out, code{c})
		}
		return out
	}
	type resource struct {
		Type             string      `json:"type"`
		Profiles         []string    `json:"supportedProfile,omitempty"`
		Interaction      []code      `json:"interaction"`
		Versioning       string      `json:"versioning"`
		ReadHistory      bool        `json:"readHistory"`
		UpdateCreate     bool        `json:"updateCreate"`
		CreateIf         bool        `json:"conditionalCreate"`
		ReadIf           string      `json:"conditionalRead"`
		UpdateIf         bool        `json:"conditionalUpdate"`
		DeleteIf         string      `json:"conditionalDelete"`
		ReferencePolicy  []string    `json:"referencePolicy"`
		SearchInclude    []string    `json:"searchInclude,omitempty"`
		SearchRevInclude []string    `json:"searchRevInclude,omitempty"`
		SearchParam      []Parameter `json:"searchParam,omitempty"`
		Operation        []Operation `json:"operation,omitempty"`
	}
	resources := make([]resource, 0, len(s.Resources))
	for _, r := range s.Resources {
		deleteIf := "not-supported"
		if slices.Contains(r.Conditional, "delete") {
			deleteIf = "single"
		}
		readIf := "not-supported"
		if slices.Contains(r.Conditional, "read") {
			readIf = "full-support"
		}
		resources = append(resources, resource{Type: r.Type, Profiles: r.Profiles, Interaction: codes(r.Interactions), Versioning: "versioned-update", ReadHistory: true,
			CreateIf: slices.Contains(r.Conditional, "create"), UpdateIf: slices.Contains(r.Conditional, "update"), DeleteIf: deleteIf, ReadIf: readIf,
			ReferencePolicy: []string{"literal", "local"}, UpdateCreate: r.UpdateCreate, SearchInclude: r.Includes, SearchRevInclude: r.RevIncludes, SearchParam: r.Parameters, Operation: r.Operations})
	}
	return json.Marshal(map[string]any{
		"resourceType": "CapabilityStatement", "status": "active", "date": s.Date, "kind": "instance", "fhirVersion": "4.0.1", "instantiates": []string{"http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"},
		"format": []string{"json", fhir.ContentType}, "patchFormat": s.PatchFormats, "software": map[string]string{"name": "Trellis", "version": s.Version},
		"implementation": map[string]string{"description": "Trellis, a FHIR gateway for recovery support", "url": s.Base},
		"rest": []any{map[string]any{
			"mode": "server",
			"security": map[string]any{
				"service":     []any{map[string]any{"coding": []any{map[string]string{"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}}}},
				"description": "SMART App Launch and Backend Services. Every answer is limited to what 42 CFR Part 2, HIPAA and the patient's consent allow for the client's organisation and purpose of use.",
				"extension": []any{map[string]any{"url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
					"extension": []any{map[string]string{"url": "authorize", "valueUri": s.Authorize}, map[string]string{"url": "token", "valueUri": s.Token}}}},
			},
			"resource": resources, "interaction": codes(s.System), "searchParam": s.Parameters, "operation": s.Operations,
		}},
	})
}
