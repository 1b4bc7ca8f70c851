// Package fhir holds what Trellis knows about FHIR R4 resources as such: parsing
// with structural truth (google/fhir), a span-preserving view of a resource's JSON,
// references, Bundles, OperationOutcomes and the code system URIs we use.
//
// It does not know stores, requests, consent or mapping, and it never logs.
// Bytes from outside enter through Parse; everything else works on what Parse returned.
package fhir
