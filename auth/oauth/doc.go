// Package oauth is the one door to ory/fosite and go-jose: the authorization server without its pages. It issues and checks
// tokens, for clients acting for themselves and for people through apps.
//
//	GET|POST /oauth/authorize              POST /oauth/token                    GET /fhir/... Authorization: Bearer ...
//	  Begin: aud, client, redirect,          limits, one value a parameter        header only, HMAC first
//	    PKCE, scopes within registration,    client: key, secret or public        then, at most 1 s old: token row,
//	    launch handle used up                code | refresh | client creds          client row, the person's standing
//	  (gateway/login asks the person)        code burned at its first try         revoked, disabled, narrowed, expired
//	  Approve: granted within asked          one transaction: code or refresh       -> ErrBadToken
//	    -> code, state, iss                    token taken, tokens kept           Grant{client, organisation, context,
//	  Refuse -> error, state, iss            OnToken, reply                             purpose, scopes}
//
// A client acting for itself (SMART Backend Services) proves itself by private_key_jwt and gets a token of 300 seconds with
// exactly one purpose of use. A person's token belongs to an Authorization: what one person let one app do, in one launch
// context. Its tokens are revoked together; a refresh token is exchanged once, and a second use ends the authorization.
//
// fosite v0.49.0 supplies the authorization code, PKCE and OpenID Connect handlers, the client credentials grant and the
// token strategy. Where it departs from SMART (client authentication, scope strategy, refresh, introspection, key fetching,
// bearer extraction, id_token, clock, error bodies) this package puts its own part in the seam fosite offers; what each
// such part answers is in its comment, and in a test.
//
// It keeps no state: the caller implements Store, Grants, Tickets and Registry (storetest is the contract). It renders no
// pages, knows no passwords, decides nothing about data, and logs no secret and no value of a request.
//
// Entered through New; then Server.Begin, Resume, Approve and Refuse for pages, Token, Introspect, Revocation, Push, Register,
// UserInfo and Keys for endpoints, Authenticate for resources; from the other side through TokenSource.
//
// Sources: RFC 6749, 6750, 7009, 7517, 7521, 7523, 7591, 7592, 7636, 7662, 8252, 9126, 9207, 9700; OpenID Connect Core and
// Discovery; SMART App Launch 2.2.0.
package oauth
