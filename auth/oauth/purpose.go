package oauth

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// actReasonOID names v3-ActReason in the claim, `urn:oid:2.16.840.1.113883.5.8#TREAT` (UDAP Security, hl7-b2b).
const actReasonOID = "urn:oid:2.16.840.1.113883.5.8#"

// claimedPurpose is what the assertion's hl7-b2b extension says about the purpose of use.
type claimedPurpose struct {
	codes     []string
	malformed bool
}

// claimPurpose reads `extensions.hl7-b2b.purpose_of_use`: an array of codes, or a single one. Codes may be bare or
// prefixed by the OID of v3-ActReason. What is there and cannot be read is malformed, not absent.
func claimPurpose(extensions json.RawMessage) claimedPurpose {
	if len(extensions) == 0 || string(extensions) == "null" {
		return claimedPurpose{}
	}
	var outer map[string]json.RawMessage
	if json.Unmarshal(extensions, &outer) != nil {
		return claimedPurpose{malformed: true}
	}
	b2b, ok := outer["hl7-b2b"]
	if !ok {
		return claimedPurpose{}
	}
	var inner map[string]json.RawMessage
	if json.Unmarshal(b2b, &inner) != nil {
		return claimedPurpose{malformed: true}
	}
	raw, ok := inner["purpose_of_use"]
	if !ok {
		return claimedPurpose{}
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		var one string
		if json.Unmarshal(raw, &one) != nil {
			return claimedPurpose{malformed: true}
		}
		list = []string{one}
	}
	var p claimedPurpose
	for _, text := range list {
		code, ok := purposeCode(text)
		if !ok {
			return claimedPurpose{malformed: true}
		}
		if !slices.Contains(p.codes, code) {
			p.codes = append(p.codes, code)
		}
	}
	return p
}

func purposeCode(text string) (string, bool) {
	code := strings.TrimPrefix(text, actReasonOID)
	for _, r := range code {
		if (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return "", false
		}
	}
	return code, code != "" && len(code) <= 32
}

// choosePurpose settles the one purpose of the token: the claim or the form parameter, which must agree when both are
// there, within the client's registered list; else the client's default.
func choosePurpose(c Client, claim claimedPurpose, form url.Values) (string, *problem) {
	if claim.malformed {
		return "", invalidRequest("purpose of use is malformed")
	}
	codes := slices.Clone(claim.codes)
	if text := form.Get("purpose_of_use"); text != "" {
		code, ok := purposeCode(text)
		if !ok {
			return "", invalidRequest("purpose of use is malformed; give one code")
		}
		if !slices.Contains(codes, code) {
			codes = append(codes, code)
		}
	}
	switch {
	case len(codes) > 1:
		return "", invalidRequest("several purposes; a token has exactly one")
	case len(codes) == 0 && c.DefaultPurpose == "":
		return "", invalidRequest("no purpose: name one purpose of use")
	case len(codes) == 0:
		return c.DefaultPurpose, nil
	case !registeredPurpose(c, codes[0]):
		return "", invalidRequest("purpose of use is outside the client's registration")
	}
	return codes[0], nil
}

func registeredPurpose(c Client, code string) bool {
	return code != "" && (code == c.DefaultPurpose || slices.Contains(c.Purposes, code))
}

// mayClaim reports whether a token may have its purpose: one of the client's registration, or, for patients and who acts for
// them, their own (PATRQT, FAMRQT). Staff work for treatment when the app registered nothing.
func mayClaim(c Client, who Context, purpose string) bool {
	switch {
	case who.User != "" && who.Organization == "":
		return purpose == "PATRQT" || purpose == "FAMRQT"
	case registeredPurpose(c, purpose):
		return true
	}
	return who.User != "" && purpose == "TREAT" && len(c.Purposes) == 0 && c.DefaultPurpose == ""
}
