// Package login is the pages people see: signing in, choosing who they act as and whose record, letting an app have
// what it asks for, and taking that back. Plain HTML and one style sheet; no script.
//
// An app sends a browser to /oauth/authorize. What it asked for is kept as a flow, bound to the browser's session, and
// from then on one function, next, says which page the flow is at; pages never lead to one another:
//
//	/oauth/authorize ──> flow ──> next ─┬─> /account/login      nobody signed in, or not lately enough
//	                              ^     ├─> /account/factor     password given, code awaited
//	                              │     ├─> /account/enroll     staff without a second factor
//	                              │     ├─> /account/capacity   several ways to act
//	                              │     ├─> /account/patient    several records
//	                              │     └─> /account/consent ──> the app
//	                              └─────────── each page
//
// A signed-in person also gets at /account/apps (what apps may do, and taking it back), /account/launch (staff: start an
// app for a patient) and /account/logout.
//
// Every page is sent with the same headers (frame), every form carries a token that can be used once (form), every sign-in
// and every decision is in the audit log before it holds (record). The package issues no token, keeps no account and reads
// no record: those are asked for through the interfaces of Server.
//
// Entered through Server.Handler.
//
// Sources: SMART App Launch 2.2.0; OpenID Connect Core 3.1.2.1 (prompt, max_age); OWASP session and forms guidance.
package login
