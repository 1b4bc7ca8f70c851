package main

import (
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A person without a mouse signs in and narrows what an app gets: every control is reached by Tab, shows that it is, and
// does its work; what is hidden is not in the way. The browser finds nothing against the policy, and at 320 pixels, or twice
// the size of type, nothing has to be scrolled sideways.
func TestBrowserByKeyboard(t *testing.T) {
	b := newChromium(t, location{data: t.TempDir()})
	var mu sync.Mutex
	var complaints []string
	chromedp.ListenTarget(b.ctx, func(ev any) {
		if e, ok := ev.(*log.EventEntryAdded); ok && strings.Contains(e.Entry.Text, "Content Security Policy") {
			mu.Lock()
			complaints = append(complaints, e.Entry.Text)
			mu.Unlock()
		}
	})
	b.standalone("launch/patient openid offline_access patient/Patient.rs patient/Condition.rs patient/Goal.rs")
	b.narrow("sign-in")
	if first := b.tab(); first.Text != "Skip to the page" {
		t.Errorf("the first stop is %+v", first)
	}
	b.tabTo("login")
	b.run(chromedp.KeyEvent("maya"))
	b.tabTo("password")
	b.run(chromedp.KeyEvent(rightPassword), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(`.decide`))
	b.narrow("consent")
	b.tabTo("f-patient_read_Patient")
	b.run(chromedp.KeyEvent(" "))
	b.tabTo("f-patient_read_Condition-whole") // one stop for the group; arrows choose within it
	b.run(chromedp.KeyEvent(kb.ArrowRight), chromedp.WaitVisible(`#f-patient_read_Condition-0`))
	b.tabTo("f-patient_read_Condition-0")
	b.run(chromedp.KeyEvent(" "))
	b.narrow("consent with parts")
	b.tabTo("f-offline_access")
	b.run(chromedp.KeyEvent(" "))
	b.tabTo("refuse")
	b.tabTo("allow")
	b.run(chromedp.KeyEvent(kb.Enter))
	b.outcome() // the app got its answer
	list, err := b.gateway.store.OAuth().Authorizations(t.Context(), "u-maya", b.clock.now())
	want := "launch/patient openid patient/Condition.rs?" + problemList + " patient/Goal.rs"
	if err != nil || len(list) != 1 || strings.Join(list[0].Scopes, " ") != want {
		t.Errorf("granted %v, want %q; %v", list, want, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(complaints) > 0 {
		t.Errorf("%q", complaints)
	}
}

// stop is what has the focus.
type stop struct {
	ID, Value, Text string
	Outline         string
}

func (b *chromium) tab() stop {
	b.t.Helper()
	var s stop
	b.run(chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(`(e => ({ID: e.id, Value: e.value || "", Text: e.textContent.trim(), Outline: getComputedStyle(e).outlineStyle + " " + getComputedStyle(e).outlineWidth}))(document.activeElement)`, &s))
	return s
}

// tabTo goes on to a control, by its id or, of a button, its value. Each stop on the way shows that it has the focus.
func (b *chromium) tabTo(name string) {
	b.t.Helper()
	for range 40 {
		s := b.tab()
		if s.Outline != "solid 3px" {
			b.t.Errorf("on %+v the focus cannot be seen", s)
		}
		if s.ID == name || (s.ID == "" && s.Value == name) {
			return
		}
	}
	b.t.Fatalf("%s is not reached", name)
}

// narrow checks that nothing is wider than the window, however narrow, and with type twice as large.
func (b *chromium) narrow(page string) {
	b.t.Helper()
	for _, width := range []int64{320, 640} {
		for _, size := range []string{"100%", "200%"} {
			var wide bool
			b.run(emulation.SetDeviceMetricsOverride(width, 800, 1, false),
				chromedp.Evaluate(`document.documentElement.style.fontSize = "`+size+`"; document.documentElement.scrollWidth > document.documentElement.clientWidth`, &wide),
				chromedp.Evaluate(`document.documentElement.style.fontSize = ""`, nil))
			if wide {
				b.t.Errorf("%s scrolls sideways at %d pixels with type at %s", page, width, size)
			}
		}
	}
}
