package login

import (
	"slices"
	"strings"
)

// need is what a request must bring.
type need int

const (
	needNothing need = iota
	needFlow         // a flow of this browser's session
	needAccount      // somebody signed in
)

// route is one row of the table: what it needs and what serves it.
type route struct {
	method, path string
	need         need
	serve        func(*visit) error
}

// The pages' paths.
const (
	pathAuthorize = "/oauth/authorize"
	pathStart     = "/account/start"
	pathLogin     = "/account/login"
	pathUpstream  = "/account/upstream"
	pathCallback  = "/account/upstream/callback"
	pathFactor    = "/account/factor"
	pathEnroll    = "/account/enroll"
	pathEnrollPNG = "/account/enroll/code.png"
	pathCapacity  = "/account/capacity"
	pathPatient   = "/account/patient"
	pathConsent   = "/account/consent"
	pathApps      = "/account/apps"
	pathLaunch    = "/account/launch"
	pathLogout    = "/account/logout"
	pathHome      = "/account"
	pathStyle     = "/account/style.css"
	pathMark      = "/account/mark.svg"
)

// routes is the whole surface.
func (s *Server) routes() []route {
	return []route{
		{"GET", pathStyle, needNothing, (*visit).style},
		{"GET", pathMark, needNothing, (*visit).mark},
		{"GET", pathAuthorize, needNothing, (*visit).authorize},
		{"POST", pathAuthorize, needNothing, (*visit).authorize},
		{"GET", pathStart, needNothing, (*visit).start},

		{"GET", pathLogin, needFlow, (*visit).loginPage},
		{"POST", pathLogin, needFlow, (*visit).login},
		{"GET", pathUpstream, needFlow, (*visit).toUpstream},
		{"GET", pathCallback, needNothing, (*visit).fromUpstream},
		{"GET", pathFactor, needFlow, (*visit).factorPage},
		{"POST", pathFactor, needFlow, (*visit).factor},
		{"GET", pathEnroll, needFlow, (*visit).enrollPage},
		{"POST", pathEnroll, needFlow, (*visit).enroll},
		{"GET", pathEnrollPNG, needFlow, (*visit).enrollImage},
		{"GET", pathCapacity, needFlow, (*visit).capacityPage},
		{"POST", pathCapacity, needFlow, (*visit).capacity},
		{"GET", pathPatient, needFlow, (*visit).patientPage},
		{"POST", pathPatient, needFlow, (*visit).patient},
		{"GET", pathConsent, needFlow, (*visit).consentPage},
		{"POST", pathConsent, needFlow, (*visit).consent},

		{"GET", pathHome, needAccount, (*visit).home},
		{"GET", pathApps, needAccount, (*visit).appsPage},
		{"POST", pathApps, needAccount, (*visit).apps},
		{"GET", pathLaunch, needAccount, (*visit).launchPage},
		{"POST", pathLaunch, needAccount, (*visit).launch},
		{"GET", pathLogout, needNothing, (*visit).logoutPage},
		{"POST", pathLogout, needNothing, (*visit).logout},
	}
}

// CallbackURL is where an OpenID provider sends browsers back to.
func CallbackURL(publicURL string) string { return publicURL + pathCallback }

// RouteInfo is one route as an inventory shows it.
type RouteInfo struct {
	Method, Path string
	Public       bool // answers to anybody, and carries nothing of anybody
}

// Routes lists every route of the handler.
func (s *Server) Routes() []RouteInfo {
	var out []RouteInfo
	for _, r := range s.routes() {
		out = append(out, RouteInfo{Method: r.method, Path: r.path, Public: r.need == needNothing})
	}
	return out
}

// Owns reports whether a path is one of the pages'.
func Owns(path string) bool {
	return path == pathAuthorize || path == pathHome || strings.HasPrefix(path, pathHome+"/")
}

// isGoal reports whether a page is one that somebody can be on the way to while signing in.
func isGoal(path string) bool { return slices.Contains([]string{pathApps, pathLaunch}, path) }
