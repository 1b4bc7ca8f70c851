// Package oauth is the one door to ory/fosite and go-jose: it issues and checks access tokens.
//
// Issued now is the SMART Backend Services grant: client_credentials, authenticated by private_key_jwt with ES384 or
// RS384, answered with an opaque token of 300 seconds and no refresh token. A token has exactly one purpose of use.
//
//	POST /token                                 GET /fhir/... Authorization: Bearer ...
//	  limits, one value per parameter             header only, HMAC first
//	  assertion: client, key, signature,          then, at most 1 s old: token row, client row
//	             claims, then the jti is burned   revoked, disabled, narrowed, expired -> ErrBadToken
//	  scopes within the registration              Grant{client, organisation, purpose, scopes}
//	  one purpose within the registration
//	  token stored by signature, OnToken, reply
//
// fosite v0.49.0 supplies the grant and the token strategy. Where it departs from SMART (client authentication, scope
// strategy, key fetching, bearer extraction, clock, error bodies) this package puts its own part in the seam fosite
// offers; each such part names the fact it answers in a test called after it.
//
// It keeps no state: the caller implements Store (storetest is the contract). It renders no pages, decides nothing
// about data, and logs no secret and no value of a request.
//
// Entered through New, Server.Token and Server.Authenticate; from the other side through TokenSource.
//
// Sources: RFC 6749, 6750, 7517, 7521, 7523; SMART App Launch 2.2.0 "Backend Services" and "Asymmetric Authentication".
package oauth
