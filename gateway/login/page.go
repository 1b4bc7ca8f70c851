package login

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

//go:embed pages/*.html style.css mark.svg messages/*.json
var files embed.FS

// pages are the templates in every language.
type pages struct {
	byLanguage map[string]map[string]*template.Template // language, page
	style      []byte
	styleURL   string
}

// page is what a template shows.
type page struct {
	Key    string // of the heading and the title: messages "<key>.title"
	Name   string // goes into them
	Faults []fault
	Wide   bool
	Data   any

	// What every page has; show fills it in.
	Lang    string
	Other   string // the other language
	Switch  string // address of this page in it
	Style   string
	User    string
	Staff   bool
	Action  string // of the page's form
	Token   string
	Flow    string
	Public  string
	Request string
}

// fault is what is wrong with a field: its id, and a message, into which may go another that names the field.
type fault struct{ Field, Key, Of, Name string }

// Wrong is the fault of a field, nil when it has none.
func (p page) Wrong(field string) *fault {
	for i := range p.Faults {
		if p.Faults[i].Field == field {
			return &p.Faults[i]
		}
	}
	return nil
}

// readPages parses the templates once for each language: the words are part of the template.
func readPages() (*pages, error) {
	p := &pages{byLanguage: map[string]map[string]*template.Template{}}
	var err error
	if p.style, err = files.ReadFile("style.css"); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(p.style)
	p.styleURL = pathStyle + "?v=" + hex.EncodeToString(sum[:6])
	names, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		return nil, err
	}
	for _, lang := range languages() {
		words, err := readMessages(lang)
		if err != nil {
			return nil, err
		}
		p.byLanguage[lang] = map[string]*template.Template{}
		for _, name := range names {
			base := strings.TrimSuffix(path.Base(name), ".html")
			if base == "layout" || base == "parts" {
				continue
			}
			t, err := template.New("layout.html").Funcs(functions(lang, words)).ParseFS(files, "pages/layout.html", "pages/parts.html", name)
			if err != nil {
				return nil, fmt.Errorf("login: page %s: %w", base, err)
			}
			p.byLanguage[lang][base] = t
		}
	}
	return p, nil
}

func functions(lang string, words messages) template.FuncMap {
	return template.FuncMap{
		"t":    words.say,
		"has":  func(key string) bool { return words[key] != "" },
		"day":  func(t time.Time) string { return words.day(t) },
		"date": words.date,
		"dict": dict,
		"lang": func() string { return lang },
		"join": func(list []string, sep string) string { return strings.Join(list, sep) },
		"word": func(key string) string { // a message, or what is none
			if words[key] != "" {
				return words[key]
			}
			return key
		},
	}
}

// dict hands several values to a template.
func dict(pairs ...any) (map[string]any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("login: dict wants names")
		}
		out[key] = pairs[i+1]
	}
	return out, nil
}

// showForm shows a page whose form goes to an address of ours, with a fresh token.
func (v *visit) showForm(status int, name, action string, p page) error {
	token, err := v.newForm(action)
	if err != nil {
		return err
	}
	p.Action, p.Token, p.Flow = action, token, v.flow.name
	v.show(status, name, p)
	return nil
}

// show writes a page.
func (v *visit) show(status int, name string, p page) {
	p.Lang, p.Public, p.Request = v.lang, v.s.PublicURL, v.request()
	p.Style, p.User, p.Staff = v.s.pages.styleURL, v.user.Name, len(v.positions()) > 0
	p.Other, p.Switch = otherLanguage(v.lang), v.inLanguage(otherLanguage(v.lang))
	var out bytes.Buffer
	if err := v.s.pages.byLanguage[v.lang][name].Execute(&out, p); err != nil {
		v.s.Logger.ErrorContext(v.ctx, "page not shown", "request", v.request(), "error_type", err)
		v.c.String(http.StatusInternalServerError, "Internal error. Request "+v.request())
		return
	}
	v.c.Data(status, "text/html; charset=utf-8", out.Bytes())
}

// inLanguage is this page's address in another language. A page that came from a form is asked for anew.
func (v *visit) inLanguage(lang string) string {
	q := url.Values{"lang": {lang}}
	if v.flow.name != "" {
		q.Set(fieldFlow, v.flow.name)
	}
	p := v.c.Request.URL.Path
	switch {
	case v.s.isPage(p):
	case v.flow.name != "":
		p = pathLogin
	default:
		p = pathHome
	}
	return p + "?" + q.Encode()
}

// isPage reports whether a path can be asked for again without what it came with.
func (s *Server) isPage(p string) bool {
	for _, r := range s.routes() {
		if r.path == p && r.method == http.MethodGet {
			return !slices.Contains([]string{pathAuthorize, pathStart, pathStyle, pathMark, pathEnrollPNG, pathUpstream, pathCallback}, p)
		}
	}
	return false
}

// style serves the style sheet. Its address changes with it.
func (v *visit) style() error {
	return v.asset("text/css; charset=utf-8", v.s.pages.style)
}

// mark serves the sign browsers put on a page's tab.
func (v *visit) mark() error {
	svg, err := files.ReadFile("mark.svg")
	if err != nil {
		return err
	}
	return v.asset("image/svg+xml", svg)
}

func (v *visit) asset(contentType string, body []byte) error {
	v.c.Header("Cache-Control", "public, max-age=31536000, immutable")
	v.c.Data(http.StatusOK, contentType, body)
	return nil
}
