package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHistoryInTime asks what was there when, on an instance, a type and the system, page by page.
func TestHistoryInTime(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		hour := func(version string) {
			body := strings.Replace(about("Patient/P1"), `"Condition",`, `"Condition","id":"V","recordedDate":"2026-01-0`+version+`",`, 1)
			if a := in.as("hospital-loader", "").ask(request{method: "PUT", path: "Condition/V", body: []byte(body)}); a.status/100 != 2 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			in.clock.advance(time.Hour)
		}
		for _, v := range []string{"1", "2", "3"} { // at 9, 10 and 11
			hour(v)
		}
		if a := in.remove("Condition/V", "hospital"); a.status != 204 { // at 12
			t.Fatal(a.status)
		}
		in.clock.advance(time.Hour)
		for path, want := range map[string]string{
			"Condition/V/_history":                                    "DELETE PUT PUT POST",
			"Condition/V/_history?_since=2026-06-01T11:00:00Z":        "DELETE PUT",
			"Condition/V/_history?_since=2026-06-01T13:00:00%2B02:00": "DELETE PUT",
			"Condition/V/_history?_since=2026-06-01T13:00:00+02:00":   "DELETE PUT",
			"Condition/_history?_since=2026-06-01T11:30:00Z":          "DELETE",
			"_history?_since=2026-06-01T11:30:00Z":                    "DELETE",
			"Condition/V/_history?_since=2026-06-02":                  "",
			"Condition/V/_history?_at=2026-06-01T09:30:00Z":           "POST",
			"Condition/V/_history?_at=2026-06-01T10:30:00Z":           "PUT",
			"Condition/V/_history?_at=2026-06-01T12:30:00Z":           "DELETE",
			"Condition/_history?_at=2026-06-01":                       "DELETE PUT PUT POST",
			"Condition/V/_history?_at=2026-05-31":                     "",
		} {
			a := in.as("hospital", "TREAT").get(path)
			b := a.bundle(t)
			var got []string
			for _, e := range b.Entry {
				got = append(got, e.Request.Method)
			}
			if strings.Join(got, " ") != want || b.Total != nil {
				t.Errorf("%s: %v, want %s", path, got, want)
			}
		}
		for path, status := range map[string]int{"Condition/V/_history?_at=zqcanary": 400, "Condition/V/_history?_since=yesterday": 400, "Condition/V/_history?_sort=-_lastUpdated": 400, "Condition/W/_history?_at=2026-06-01": 404, "Condition/W/_history": 404} {
			if a := in.as("hospital", "TREAT").get(path); a.status != status {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		if a := in.as("plan", "HPAYMT").get("Condition/V/_history?_since=2026-06-02"); a.status != 404 {
			t.Errorf("a hidden record has a history: %d", a.status)
		}
		in.pages(t)
	})
}

// pages walks the system's history two entries at a time and tries to carry a cursor to another question.
func (in *installation) pages(t *testing.T) {
	v := in.as("hospital", "TREAT")
	whole := v.get("_history?_since=2026-06-01T08:00:00Z&_count=1000").bundle(t)
	var all, paged []string
	for _, e := range whole.Entry {
		all = append(all, e.FullURL+e.Request.Method)
	}
	next := "_history?_since=2026-06-01T08:00:00Z&_count=2"
	for next != "" {
		b := v.get(next).bundle(t)
		for _, e := range b.Entry {
			paged = append(paged, e.FullURL+e.Request.Method)
		}
		if next = b.next(); next != "" {
			moved := strings.Replace(next, "_since=2026-06-01T08%3A00%3A00Z", "_since=2026-06-01T09%3A00%3A00Z", 1)
			if a := v.get(moved); a.status != 400 || moved == next {
				t.Errorf("a cursor works for another question: %d", a.status)
			}
		}
	}
	if len(all) < 4 || !slices.Equal(all, paged) {
		t.Errorf("pages hold %v, not %v", paged, all)
	}
}
