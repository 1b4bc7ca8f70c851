package capability

import (
	"encoding/json"
	"fmt"
)

// Authorization is what the authorization server offers; endpoints are absolute URLs, and one that is empty is not there.
type Authorization struct {
	Issuer        string
	Authorize     string
	Token         string
	Keys          string // JWKS
	UserInfo      string
	Introspection string
	Revocation    string
	Pushed        string // RFC 9126
	Registration  string // RFC 7591
	Management    string // where people see what apps may do
}

// scopes are those worth asking for: any other combination of the grammar is taken too.
func scopes() []string {
	out := []string{"openid", "fhirUser", "profile", "launch", "launch/patient", "offline_access", "online_access",
		"patient/*.rs", "user/*.rs", "system/*.rs", "patient/*.read", "user/*.read"}
	for _, typ := range []string{"AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "Consent", "Coverage", "DiagnosticReport", "DocumentReference", "Encounter",
		"Goal", "Immunization", "Location", "Medication", "MedicationDispense", "MedicationRequest", "Observation", "Organization", "Patient", "Practitioner",
		"PractitionerRole", "Procedure", "Provenance", "QuestionnaireResponse", "RelatedPerson", "ServiceRequest", "Specimen", "Task"} {
		out = append(out, "patient/"+typ+".rs", "user/"+typ+".rs", "system/"+typ+".rs")
	}
	const condition, observation = "http://terminology.hl7.org/CodeSystem/condition-category|", "http://terminology.hl7.org/CodeSystem/observation-category|"
	for _, level := range []string{"patient", "user"} {
		out = append(out,
			level+"/Condition.rs?category="+condition+"encounter-diagnosis", level+"/Condition.rs?category="+condition+"problem-list-item",
			level+"/Condition.rs?category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern",
			level+"/Observation.rs?category="+observation+"laboratory", level+"/Observation.rs?category="+observation+"social-history",
			level+"/Observation.rs?category="+observation+"vital-signs", level+"/Observation.rs?category="+observation+"survey",
			level+"/Observation.rs?category=http://hl7.org/fhir/us/core/CodeSystem/us-core-category|sdoh")
	}
	return out
}

// common is what the SMART configuration and the OpenID Provider configuration both say.
func (a Authorization) common() map[string]any {
	out := map[string]any{
		"issuer":                                           a.Issuer,
		"jwks_uri":                                         a.Keys,
		"authorization_endpoint":                           a.Authorize,
		"token_endpoint":                                   a.Token,
		"introspection_endpoint":                           a.Introspection,
		"revocation_endpoint":                              a.Revocation,
		"response_types_supported":                         []string{"code"},
		"response_modes_supported":                         []string{"query"},
		"grant_types_supported":                            []string{"authorization_code", "refresh_token", "client_credentials"},
		"scopes_supported":                                 scopes(),
		"code_challenge_methods_supported":                 []string{"S256"},
		"token_endpoint_auth_methods_supported":            []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"},
		"token_endpoint_auth_signing_alg_values_supported": []string{"ES384", "RS384"},
		"authorization_response_iss_parameter_supported":   true,
		"pushed_authorization_request_endpoint":            a.Pushed,
	}
	if a.Registration != "" {
		out["registration_endpoint"] = a.Registration
	}
	return out
}

// SMART is the SMART configuration (https://hl7.org/fhir/smart-app-launch/conformance.html).
func SMART(a Authorization) ([]byte, error) {
	doc := a.common()
	doc["management_endpoint"] = a.Management
	doc["capabilities"] = []string{"launch-ehr", "launch-standalone", "authorize-post", "client-public", "client-confidential-symmetric",
		"client-confidential-asymmetric", "sso-openid-connect", "context-banner", "context-style", "context-ehr-patient", "context-ehr-encounter",
		"context-standalone-patient", "permission-offline", "permission-online", "permission-patient", "permission-user", "permission-v1", "permission-v2"}
	return encode(doc)
}

// OpenID is the OpenID Provider configuration (OpenID Connect Discovery section 3), which is also the authorization server
// metadata of RFC 8414.
func OpenID(a Authorization) ([]byte, error) {
	doc := a.common()
	doc["userinfo_endpoint"] = a.UserInfo
	doc["subject_types_supported"] = []string{"public"}
	doc["id_token_signing_alg_values_supported"] = []string{"RS256"}
	doc["claims_supported"] = []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "fhirUser", "name"}
	doc["prompt_values_supported"] = []string{"none", "login", "consent", "select_account"}
	doc["ui_locales_supported"] = []string{"en", "es"}
	doc["request_parameter_supported"], doc["request_uri_parameter_supported"] = false, false
	return encode(doc)
}

func encode(doc map[string]any) ([]byte, error) {
	out, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("capability: %w", err)
	}
	return out, nil
}
