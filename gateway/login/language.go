package login

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// languages lists what the pages are written in, the first for whoever asks for none of them.
func languages() []string { return []string{"en", "es"} }

func otherLanguage(lang string) string {
	if lang == "es" {
		return "en"
	}
	return "es"
}

// chooseLanguage takes what the person switched to, else the account's, else what the app asked for, else the browser's.
func (v *visit) chooseLanguage() {
	wishes := []string{v.switched(), v.user.Language, v.pending.Language, strings.ReplaceAll(v.flow.Locales, " ", ","), v.c.GetHeader("Accept-Language")}
	v.lang = languages()[0]
	matcher := language.NewMatcher([]language.Tag{language.English, language.Spanish})
	for _, wish := range wishes {
		if wish == "" || len(wish) > 1000 {
			continue
		}
		tags, _, err := language.ParseAcceptLanguage(wish)
		if err != nil {
			continue
		}
		if _, i, confidence := matcher.Match(tags...); confidence > language.Low {
			v.lang = languages()[i]
			return
		}
	}
}

func (s *Server) languageCookie() string { return s.cookieName() + "-lang" }

// switched is the language the person asked for on a page.
func (v *visit) switched() string {
	if lang := v.c.Query("lang"); isLanguage(lang) {
		return lang
	}
	if c, err := v.c.Request.Cookie(v.s.languageCookie()); err == nil && isLanguage(c.Value) {
		return c.Value
	}
	return ""
}

func isLanguage(lang string) bool { return lang == "en" || lang == "es" }

// switchLanguage remembers the language a link asked for.
func (v *visit) switchLanguage() {
	if lang := v.c.Query("lang"); isLanguage(lang) {
		v.s.setCookie(v.c.Writer, v.s.languageCookie(), lang, 365*24*3600)
	}
}

// messages are the words of one language by their key.
type messages map[string]string

func readMessages(lang string) (messages, error) {
	data, err := files.ReadFile("messages/" + lang + ".json")
	if err != nil {
		return nil, err
	}
	var m messages
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("login: messages %s: %w", lang, err)
	}
	return m, nil
}

// say is a message with its values put in. An unknown one fails the page: tests find it before anybody does.
func (m messages) say(key string, values ...any) (string, error) {
	text, ok := m[key]
	if !ok {
		return "", fmt.Errorf("login: no message %q", key)
	}
	parts := strings.Split(text, "%s")
	if len(parts)-1 > len(values) {
		return "", fmt.Errorf("login: message %q wants more values", key)
	}
	out := parts[0]
	for i, part := range parts[1:] {
		out += fmt.Sprint(values[i]) + part
	}
	return out, nil
}

// day is a date in words.
func (m messages) day(t time.Time) string {
	if t.IsZero() {
		return m["date.never"]
	}
	return m.date(t.UTC().Format("2006-01-02"))
}

// date is a FHIR date in words; a part of one as it is.
func (m messages) date(text string) string {
	t, err := time.Parse("2006-01-02", text)
	if err != nil {
		return text
	}
	months := strings.Fields(m["date.months"])
	if len(months) != 12 {
		return text
	}
	out, err := m.say("date.form", t.Day(), months[t.Month()-1], t.Year())
	if err != nil {
		return text
	}
	return out
}
