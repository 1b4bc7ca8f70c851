// Package rest serves FHIR R4 over HTTP. A request goes one way:
//
//	limits -> request id -> authenticate -> bind -> decide -> act -> release -> respond
//
// Routes are one table (routes.go); the CapabilityStatement is generated from it. Each FHIR
// interaction has a file of its own. What a request may see is an access.Filter made once, before any
// data is touched, out of who bears the token and what its scopes leave (reach.go); what it gets back is a release.Released. This package decides nothing about
// patients and writes nothing to a client that did not come out of the release gate, apart from
// outcomes and metadata.
//
// A write, alone or in a Bundle, is an operation (operation.go): read and held to its scope without data, then planned
// and made in one transaction of the store, where its condition, its patch and its links are settled.
package rest
