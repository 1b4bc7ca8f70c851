// Package smart is the one parser and the one subset algebra of SMART App Launch scopes.
//
// It reads version 1 scopes (`patient/Observation.read`) and version 2 scopes (`patient/Observation.rs`, optionally
// narrowed by `?category=...`) into one form, answers what a set of them allows, and whether one set lies inside
// another. Both questions are asked wherever authority is handed on: registration -> request -> grant -> operation.
//
// It does not decide who gets which scope, knows no tokens and no resource compartments, and evaluates no granular
// constraint: it keeps the constraint and hands it to whoever compiles it into a query.
//
// Entered through Parse. The zero Set allows nothing.
//
// Grammar: SMART App Launch 2.2.0, "Scopes and Launch Context"; scope characters: RFC 6749 appendix A.4.
package smart
