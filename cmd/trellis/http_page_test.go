package main

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// checkHeaders holds an answer to what every page, redirect and picture must come with.
func checkHeaders(t testing.TB, in *installation, resp *http.Response) {
	t.Helper()
	h := resp.Header
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
		if name == "Cache-Control" && (strings.HasPrefix(h.Get("Content-Type"), "text/css") || h.Get("Content-Type") == "image/svg+xml") {
			continue
		}
		if h.Get(name) != want {
			t.Errorf("%s: %s is %q", resp.Request.URL.Path, name, h.Get(name))
		}
	}
	policy := strings.Split(h.Get("Content-Security-Policy"), "; ")
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "img-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !slices.Contains(policy, want) {
			t.Errorf("%s: the policy lacks %s: %q", resp.Request.URL.Path, want, policy)
		}
	}
	if !slices.ContainsFunc(policy, func(p string) bool { return strings.HasPrefix(p, "form-action 'self'") && !strings.Contains(p, "*") }) {
		t.Errorf("%s: form-action is missing or open: %q", resp.Request.URL.Path, policy)
	}
	for _, c := range resp.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Secure != strings.HasPrefix(in.gateway.public, "https") {
			t.Errorf("cookie %s is not kept from others", c.Name)
		}
	}
}

// checkPage parses a page and holds it to what every page must be: well formed, one heading, a language, a label for
// everything that can be filled in, nothing that runs, and no reference to what is not there.
func checkPage(t testing.TB, path string, body []byte) *html.Node {
	t.Helper()
	balanced(t, path, body)
	doc, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	p := pageCheck{t: t, path: path, ids: map[string]bool{}, count: map[string]int{}}
	walk(doc, p.collect)
	walk(doc, p.check)
	for _, once := range []string{"h1", "main", "title", "html"} {
		if p.count[once] != 1 {
			t.Errorf("%s: %d %s", path, p.count[once], once)
		}
	}
	if p.lang != "en" && p.lang != "es" {
		t.Errorf("%s: in language %q", path, p.lang)
	}
	return doc
}

type pageCheck struct {
	t      testing.TB
	path   string
	lang   string
	ids    map[string]bool
	labels []string
	count  map[string]int
}

func (p *pageCheck) collect(n *html.Node) {
	p.count[n.Data]++
	if id := attribute(n, "id"); id != "" {
		if p.ids[id] {
			p.t.Errorf("%s: two things called %s", p.path, id)
		}
		p.ids[id] = true
	}
	switch n.Data {
	case "html":
		p.lang = attribute(n, "lang")
	case "label":
		p.labels = append(p.labels, attribute(n, "for"))
		if said(n) == "" {
			p.t.Errorf("%s: an empty label", p.path)
		}
	}
}

func (p *pageCheck) check(n *html.Node) {
	for _, a := range n.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
			p.t.Errorf("%s: %s has %s", p.path, n.Data, a.Key)
		}
		for _, ref := range strings.Fields(a.Val) {
			if strings.HasPrefix(a.Key, "aria-describedby") || a.Key == "aria-labelledby" || a.Key == "for" {
				if !p.ids[ref] {
					p.t.Errorf("%s: %s refers to %s, which is not there", p.path, n.Data, ref)
				}
			}
		}
		if a.Key == "href" && strings.HasPrefix(a.Val, "#") && !p.ids[a.Val[1:]] {
			p.t.Errorf("%s: a link to %s, which is not there", p.path, a.Val)
		}
	}
	switch n.Data {
	case "script", "style", "iframe", "object", "font", "center":
		p.t.Errorf("%s: %s", p.path, n.Data)
	case "input", "select", "textarea":
		p.field(n)
	case "img":
		if attribute(n, "alt") == "" {
			p.t.Errorf("%s: a picture without words", p.path)
		}
	case "fieldset":
		if n.FirstChild == nil || !slices.ContainsFunc(children(n), func(c *html.Node) bool { return c.Data == "legend" && said(c) != "" }) {
			p.t.Errorf("%s: a group without legend", p.path)
		}
	case "button", "a", "h1", "h2":
		if said(n) == "" {
			p.t.Errorf("%s: an empty %s", p.path, n.Data)
		}
	case "form":
		if attribute(n, "method") != "post" || !strings.HasPrefix(attribute(n, "action"), "/account/") {
			p.t.Errorf("%s: a form to %s", p.path, attribute(n, "action"))
		}
	}
}

func (p *pageCheck) field(n *html.Node) {
	kind := attribute(n, "type")
	if kind == "hidden" {
		return
	}
	if !slices.Contains(p.labels, attribute(n, "id")) {
		p.t.Errorf("%s: %s %s has no label", p.path, kind, attribute(n, "name"))
	}
	if kind == "radio" || kind == "checkbox" {
		for up := n.Parent; ; up = up.Parent {
			if up == nil {
				p.t.Errorf("%s: %s %s is in no group", p.path, kind, attribute(n, "id"))
			}
			if up == nil || up.Data == "fieldset" {
				break
			}
		}
	}
}

// balanced checks that what is opened is closed, in order: a parser mends what is not.
func balanced(t testing.TB, path string, body []byte) {
	t.Helper()
	void := []string{"meta", "link", "input", "img", "br", "hr", "path"}
	var open []string
	z := html.NewTokenizer(bytes.NewReader(body))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF || len(open) > 0 {
				t.Errorf("%s: ends within %v: %v", path, open, z.Err())
			}
			return
		case html.StartTagToken:
			if name, _ := z.TagName(); !slices.Contains(void, string(name)) {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if len(open) == 0 || open[len(open)-1] != string(name) {
				t.Errorf("%s: </%s> within %v", path, name, open)
				return
			}
			open = open[:len(open)-1]
		}
	}
}

func walk(n *html.Node, visit func(*html.Node)) {
	if n == nil {
		return
	}
	if n.Type == html.ElementNode {
		visit(n)
	}
	for _, c := range children(n) {
		walk(c, visit)
	}
}

func children(n *html.Node) (out []*html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		out = append(out, c)
	}
	return out
}

func find(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func attribute(n *html.Node, name string) string { v, _ := find(n, name); return v }

// said is what a part of a page says, blanks made one.
func said(n *html.Node) string {
	if n == nil {
		return ""
	}
	var out strings.Builder
	var add func(*html.Node)
	add = func(n *html.Node) {
		if n.Type == html.TextNode {
			out.WriteString(n.Data + " ")
		}
		for _, c := range children(n) {
			add(c)
		}
	}
	add(n)
	return strings.Join(strings.Fields(out.String()), " ")
}

// heading is the page's.
func heading(n *html.Node) (out string) {
	walk(n, func(n *html.Node) {
		if n.Data == "h1" {
			out = said(n)
		}
	})
	return out
}
