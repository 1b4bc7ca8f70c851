// Package subscription reads and writes what Subscriptions R5 Backport for R4 (https://hl7.org/fhir/uv/subscriptions-backport/)
// says in resources: a Subscription as this gateway serves it, and the status that goes out with notifications.
//
//	requested --handshake--> active --endpoint fails too often--> error --client writes it anew--> requested
//	    |                      |
//	    +--> error             +--> off (its end is reached, or its client says so)
//
// A Subscription here is a search on one type, delivered by rest-hook, that names records or not even those: what it finds
// is fetched by a read, with consent asked again and the notice beside the record. The package sends nothing, keeps nothing
// and decides nothing: package store has the lane of each Subscription, package exchange sends. It is entered through Rules.Read and
// Status.Parameters.
package subscription
