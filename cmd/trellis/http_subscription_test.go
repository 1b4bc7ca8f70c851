package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/auth/oauth"
	"trellis/fhir"
	"trellis/gateway/release"
	"trellis/gateway/store"
	"trellis/gateway/subscription"
)

// subscribe puts a Subscription of the hospital's on file and makes its handshake.
func (in *installation) subscribe(r *receiver, id string, edit func(sub, channel map[string]any)) {
	in.t.Helper()
	a := in.putSubscription(id, subscriptionJSON(in.t, r.url(), edit))
	if a.status != 201 {
		in.t.Fatalf("subscribing: %d %s", a.status, a.body)
	}
	in.deliver()
	if got := r.texts(); !slices.Equal(got, []string{"handshake 0"}) {
		in.t.Fatalf("the handshake: %q", got)
	}
}

func (in *installation) putSubscription(id string, doc []byte) reply {
	in.t.Helper()
	return in.as("hospital-loader", "").ask(request{method: "PUT", path: "Subscription/" + id, body: bytes.Replace(doc, []byte(`{`), []byte(`{"id":"`+id+`",`), 1)})
}

// given is a record of the fixture by name.
func (in *installation) given(name string) {
	in.t.Helper()
	r, ok := fixture(in.t).Given(name)
	if !ok {
		in.t.Fatalf("no record %s", name)
	}
	in.put(r)
}

// status is the status of a Subscription, as "active 3", with its error after it.
func (in *installation) status(id string) string {
	in.t.Helper()
	a := in.as("hospital", "").get("Subscription/" + id + "/$status")
	var b struct {
		Entry []struct{ Resource statusParameters }
	}
	if err := json.Unmarshal(a.body, &b); err != nil || a.status != 200 || len(b.Entry) != 1 {
		in.t.Fatalf("$status: %d %s", a.status, a.body)
	}
	state, count := "", ""
	for _, p := range b.Entry[0].Resource.Parameter {
		switch p.Name {
		case "status":
			state = p.ValueCode
		case "events-since-subscription-start":
			count = p.ValueString
		}
	}
	return state + " " + count
}

// TestSubscriptionRefusals: what cannot be served as it is asked for is refused, by name and without repeating it.
func TestSubscriptionRefusals(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		payload := func(channel map[string]any, code string) {
			channel["_payload"] = map[string]any{"extension": []any{map[string]any{"url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content", "valueCode": code}}}
		}
		for name, c := range map[string]struct {
			edit func(sub, channel map[string]any)
			says string
		}{
			"whole records":            {func(_, ch map[string]any) { payload(ch, "full-resource") }, "id-only"},
			"no payload content":       {func(_, ch map[string]any) { delete(ch, "_payload") }, "backport-payload-content"},
			"XML":                      {func(_, ch map[string]any) { ch["payload"] = "application/fhir+xml" }, "payload"},
			"a websocket":              {func(_, ch map[string]any) { ch["type"] = "websocket" }, "rest-hook"},
			"e-mail":                   {func(_, ch map[string]any) { ch["type"] = "email" }, "rest-hook"},
			"http elsewhere":           {func(_, ch map[string]any) { ch["endpoint"] = "http://zqcanary.example/hook" }, "https"},
			"no URL":                   {func(_, ch map[string]any) { ch["endpoint"] = "zqcanary" }, "absolute URL"},
			"no endpoint":              {func(_, ch map[string]any) { delete(ch, "endpoint") }, "absolute URL"},
			"a user in the URL":        {func(_, ch map[string]any) { ch["endpoint"] = "https://zqcanary:zqcanary@a.example/" }, "absolute URL"},
			"a metadata service":       {func(_, ch map[string]any) { ch["endpoint"] = "https://169.254.169.254/" }, "address"},
			"a topic":                  {func(s, _ map[string]any) { s["criteria"] = "http://zqcanary.example/topic" }, "topics"},
			"an unknown type":          {func(s, _ map[string]any) { s["criteria"] = "Zqcanary?x=y" }, "one resource type"},
			"Subscriptions":            {func(s, _ map[string]any) { s["criteria"] = "Subscription?status=active" }, "not offered"},
			"an unknown parameter":     {func(s, _ map[string]any) { s["criteria"] = "Condition?nonsense=zqcanary" }, "nonsense"},
			"a parameter of results":   {func(s, _ map[string]any) { s["criteria"] = "Condition?_include=Condition:encounter" }, "_include"},
			"a value that is no date":  {func(s, _ map[string]any) { s["criteria"] = "Condition?recorded-date=zqcanary" }, "recorded-date"},
			"long criteria":            {func(s, _ map[string]any) { s["criteria"] = "Condition?code=" + strings.Repeat("zqcanary", 200) }, "longer"},
			"a status of the server's": {func(s, _ map[string]any) { s["status"] = "error" }, "status"},
			"filters beside it":        {func(s, _ map[string]any) { s["_criteria"] = ext("https://x.example/zqcanary") }, "filters"},
			"an R5 element": {func(s, _ map[string]any) {
				s["extension"] = ext("http://hl7.org/fhir/5.0/StructureDefinition/extension-Subscription.topic")["extension"]
			}, "R5"},
			"an unknown channel extension": {func(_, ch map[string]any) { ch["extension"] = ext("https://x.example/zqcanary")["extension"] }, "extension"},
			"a hasty heart":                {func(_, ch map[string]any) { ch["extension"] = heartbeat(1) }, "heartbeat"},
			"a header of ours":             {func(_, ch map[string]any) { ch["header"] = []string{"Host: zqcanary"} }, "header"},
			"no header":                    {func(_, ch map[string]any) { ch["header"] = []string{"zqcanary"} }, "header"},
			"two lines of headers":         {func(_, ch map[string]any) { ch["header"] = []string{"X: zqcanary\r\nHost: zqcanary"} }, "header"},
		} {
			for _, method := range []string{"POST", "PUT"} {
				r := request{method: method, path: "Subscription", body: subscriptionJSON(t, "https://a.example/hook", c.edit)}
				if method == "PUT" {
					r.path += "/S1"
					r.body = bytes.Replace(r.body, []byte(`{`), []byte(`{"id":"S1",`), 1)
				}
				a := in.as("hospital-loader", "").ask(r)
				if a.status != 422 || !strings.Contains(string(a.body), c.says) || bytes.Contains(bytes.ToLower(a.body), []byte(canary)) {
					t.Errorf("%s, %s: %d %s", method, name, a.status, a.body)
				}
			}
		}
		if a := in.as("hospital", "").ask(request{method: "POST", path: "", body: []byte(`{"resourceType":"Bundle","type":"transaction","entry":[{"resource":` +
			string(subscriptionJSON(t, "http://a.example/", nil)) + `,"request":{"method":"POST","url":"Subscription"}}]}`)}); a.status != 422 {
			t.Errorf("in a transaction: %d %s", a.status, a.body)
		}
	})
}

func ext(url string) map[string]any {
	return map[string]any{"extension": []any{map[string]any{"url": url, "valueString": "x"}}}
}

func heartbeat(seconds int) []any {
	return []any{map[string]any{"url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-heartbeat-period", "valueUnsignedInt": seconds}}
}

// TestSubscriptionScopes: a Subscription is for a client that acts for itself, about what its token lets it search and read
// as a whole; and it lasts no longer than its client's registration for that.
func TestSubscriptionScopes(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.registerApp("app")
		r := in.newReceiver()
		doc := subscriptionJSON(t, r.url(), nil)
		ask := func(client, scope string) int {
			in.t.Helper()
			token := in.token(client, "TREAT", scope)
			return in.send(request{method: "POST", path: "Subscription", body: doc, header: map[string]string{"Authorization": "Bearer " + token}}).status
		}
		register := func(scopes ...string) oauth.Client {
			return oauth.Client{ID: "feed", Organization: "hospital", Scopes: scopes, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}
		}
		for scope, status := range map[string]int{
			"system/Subscription.cruds": 403, "system/Subscription.cruds system/Condition.r": 403, "system/Subscription.r system/Condition.rs": 403,
			"system/Subscription.cruds system/Condition.rs?category=problem-list-item": 403, "system/Subscription.c system/Condition.rs": 201,
		} {
			in.register(register(strings.Fields(scope)...), false)
			delete(in.sources, "feed TREAT")
			if got := ask("feed", scope); got != status {
				t.Errorf("%s: %d, want %d", scope, got, status)
			}
		}
		for name, b := range map[string]bearer{"staff": in.staff("hospital", "", "user/*.cruds"), "a patient": in.self("P1", "patient/*.cruds")} {
			if a := b.ask(request{method: "POST", path: "Subscription", body: doc}); a.status != 403 {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		in.register(register("system/Subscription.c", "system/Condition.rs"), false)
		in.deliver()
		in.given("C2-edited")
		in.deliver()
		if got := r.texts(); !slices.Equal(got, []string{"handshake 0", "event 1 Condition/C2"}) {
			t.Errorf("told %q", got)
		}
		for name, c := range map[string]oauth.Client{
			"no scope for the type": register("system/Subscription.cruds", "system/Observation.rs"),
			"disabled":              {ID: "feed", Organization: "hospital", Scopes: []string{anyScope}, Purposes: []string{"TREAT"}, Disabled: true},
			"another organisation":  {ID: "feed", Organization: "clinic", Scopes: []string{anyScope}, Purposes: []string{"TREAT"}},
			"another purpose":       {ID: "feed", Organization: "hospital", Scopes: []string{anyScope}, Purposes: []string{"HPAYMT"}},
		} {
			in.register(c, false)
			in.given("C2-again")
			in.given("C2-edited")
			in.deliver()
			if got := r.texts(); len(got) != 0 {
				t.Errorf("%s: told %q", name, got)
			}
		}
	})
}

// TestSubscriberSecrets: the headers of a channel go to its endpoint and to its own client; apps that people of the
// organisation use, and everybody else, do not see them.
func TestSubscriberSecrets(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		r := in.newReceiver()
		in.subscribe(r, "S1", nil)
		in.registerApp("app")
		staff := in.staff("hospital", "", "user/*.cruds")
		for _, path := range []string{"Subscription/S1", "Subscription/S1/_history/1", "Subscription/S1/_history", "Subscription", "Subscription/_history", "_history", "Subscription/S1?_elements=channel", "?_type=Subscription"} {
			if a := in.as("hospital", "").get(path); a.status != 200 || !bytes.Contains(a.body, []byte(subscriberSecret)) {
				t.Errorf("%s, its own client: %d %s", path, a.status, a.body)
			}
			a := staff.get(path)
			if a.status != 200 || bytes.Contains(a.body, []byte(subscriberSecret)) || !bytes.Contains(a.body, []byte("rest-hook")) {
				t.Errorf("%s, staff: %d %s", path, a.status, a.body)
			}
			if !json.Valid(a.body) {
				t.Errorf("%s: not JSON: %s", path, a.body)
			}
			if a := in.as("operator", "").get(path); bytes.Contains(a.body, []byte(subscriberSecret)) {
				t.Errorf("%s, the operator: %s", path, a.body)
			}
		}
	})
}

// TestNotificationContents: a notification is R4, names its record and holds nothing of it, comes with the subscriber's
// header, and, of a Part 2 record, with labels, notice and scope of the consent.
func TestNotificationContents(t *testing.T) {
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		r := in.newReceiver()
		if a := in.putSubscription("S1", subscriptionJSON(t, r.url(), nil)); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		in.deliver()
		in.given("C9")
		in.given("C2-edited")
		in.deliver()
		got := r.take()
		if len(got) != 3 {
			t.Fatalf("%d notifications", len(got))
		}
		for i, n := range got {
			if _, err := parser.Parse(n.body); err != nil {
				t.Errorf("%s is not R4: %v", n.text, err)
			}
			if n.header.Get("Authorization") != "Bearer "+subscriberSecret || n.header.Get("Content-Type") != fhir.ContentType || bytes.Contains(n.body, []byte(subscriberSecret)) {
				t.Errorf("%s: %v %s", n.text, n.header, n.body)
			}
			if strings.Contains(string(n.body), "I10") || strings.Contains(string(n.body), "F11") {
				t.Errorf("%s holds something of the record: %s", n.text, n.body)
			}
			part2 := i == 1
			for _, text := range []string{part2Label, "NORDSCLCD", release.StatementLong, "Consent/K1 version 1"} {
				if strings.Contains(string(n.body), text) != part2 {
					t.Errorf("%s and %q: %s", n.text, text, n.body)
				}
			}
			if (n.header.Get("X-Part2-Notice") == release.StatementShort) != part2 {
				t.Errorf("%s: notice header %v", n.text, n.header)
			}
		}
		for _, e := range in.events() {
			if e.Interaction == "notification" && len(e.Resources) > 0 && e.Resources[0].ID == "C9" && (e.Patient != "Patient/P1" || e.Client != "hospital-loader" || e.NoticeVersion == "") {
				t.Errorf("the event of C9: %+v", e)
			}
		}
	})
}

// TestSubscriptionLife: a handshake that fails, an endpoint that fails too often, events that are counted meanwhile, a client
// that comes back and asks for them, and the end.
func TestSubscriptionLife(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		r := in.newReceiver()
		wait := func(d time.Duration) []string {
			in.clock.advance(d)
			in.deliver()
			return r.texts()
		}
		step := func(what string, got []string, status string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) && len(got)+len(want) > 0 || in.status("S1") != status {
				t.Errorf("%s: told %q, %s; want %q, %s", what, got, in.status("S1"), want, status)
			}
		}
		doc := subscriptionJSON(t, r.url(), nil)
		again := func(edit func(sub, channel map[string]any)) {
			t.Helper()
			if a := in.putSubscription("S1", subscriptionJSON(t, r.url(), edit)); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}

		r.answers = []int{500, 302, 404}
		if a := in.putSubscription("S1", doc); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		step("the first handshake", wait(0), "requested 0", "handshake 0")
		in.given("C2-edited") // waits behind it
		step("the second", wait(time.Minute), "requested 0", "handshake 0")
		step("the last; what waited is counted", wait(time.Minute), "error 1", "handshake 0")
		if a := in.as("hospital", "").get("Subscription/S1"); !strings.Contains(string(a.body), `"status":"error","error":"HTTP_404"`) {
			t.Errorf("in error: %s", a.body)
		}
		again(nil)
		step("the client comes back", wait(0), "active 1", "handshake 1")
		in.given("C2-again")
		step("an event", wait(0), "active 2", "event 2 Condition/C2")

		r.answers = []int{503, 503, 503, 503}
		in.given("C2-edited")
		for range 4 {
			wait(time.Minute)
		}
		again(nil) // at another endpoint perhaps: nothing waits for the next attempt at the old one
		step("the client mends it", wait(0), "active 3", "handshake 2", "event 3 Condition/C2")

		r.answers = slices.Repeat([]int{503}, 12)
		in.given("C2-again")
		for range 11 {
			wait(24 * time.Hour)
		}
		in.given("C2-edited")
		if got := in.status("S1"); got != "active 3" {
			t.Errorf("before it is given up: %s", got)
		}
		step("given up, and counted on", wait(24*time.Hour), "error 5", "event 4 Condition/C2")
		again(func(sub, _ map[string]any) { sub["status"] = "active" })
		step("the client comes back again", wait(0), "active 5", "handshake 5")
		a := in.as("hospital", "").get("Subscription/S1/$events?eventsSinceNumber=4&eventsUntilNumber=4")
		if got := notificationText(a.body); !strings.HasPrefix(got, "an event with another number") || !strings.Contains(got, `"event-number","valueString":"4"`) || strings.Contains(got, `"valueString":"3"`) {
			t.Errorf("the events missed: %s", got)
		}
		again(func(sub, _ map[string]any) { sub["status"] = "off" })
		in.given("C2-again")
		step("off", wait(0), "off 5")
		again(func(sub, _ map[string]any) { sub["end"] = in.clock.now().Add(time.Hour).Format(time.RFC3339) })
		step("with an end", wait(0), "active 5", "handshake 5")
		in.given("C2-edited")
		step("which is reached", wait(2*time.Hour), "off 5")
		again(func(sub, _ map[string]any) { sub["end"] = in.clock.now().Add(time.Hour).Format(time.RFC3339) })
		step("another end", wait(0), "active 5", "handshake 5")
		step("which is reached without an event", wait(2*time.Hour), "off 5")
		r.answers = []int{410}
		again(nil)
		step("an endpoint that is gone", wait(0), "error 5", "handshake 5")
	})
}

// TestNumbersOfFailedNotifications: a number that may have arrived is not given to another event, and one that did not
// arrive is.
func TestNumbersOfFailedNotifications(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		for name, c := range map[string]struct {
			fails func(in *installation, r *receiver) (back func())
			told  []string
			after []string
		}{
			"answered 503":    {func(_ *installation, r *receiver) func() { r.answers = []int{503}; return func() {} }, []string{"event 1 Condition/C9"}, []string{"event 2 Condition/C2"}},
			"never reached":   {func(_ *installation, r *receiver) func() { return r.away() }, []string{}, []string{"event 1 Condition/C2"}},
			"the worker died": {func(in *installation, _ *receiver) func() { in.claimAndDie(); return func() {} }, []string{}, []string{"event 2 Condition/C2"}},
		} {
			t.Run(name, func(t *testing.T) {
				in := newInstallation(t, where.fresh(t), "")
				in.load("K1")
				r := in.newReceiver()
				in.subscribe(r, "S1", nil)
				in.given("C9")
				back := c.fails(in, r)
				in.deliver()
				if got := r.texts(); !slices.Equal(got, c.told) {
					t.Fatalf("told %q, want %q", got, c.told)
				}
				in.clock.set(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
				in.given("K4")
				back()
				in.given("C2-edited")
				in.clock.advance(time.Hour)
				in.deliver()
				if got := r.texts(); !slices.Equal(got, c.after) {
					t.Errorf("told %q, want %q", got, c.after)
				}
			})
		}
	})
}

// TestSubscriptionLimit: a client has so many Subscriptions and no more, until it deletes one.
func TestSubscriptionLimit(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		doc := subscriptionJSON(t, "https://192.0.2.1.nowhere.example/", nil)
		ask := func(i, status int) {
			t.Helper()
			if a := in.putSubscription(fmt.Sprintf("S%d", i), doc); a.status != status {
				t.Errorf("Subscription %d: %d %s", i, a.status, a.body)
			}
		}
		for i := range subscription.PerClient {
			ask(i, 201)
		}
		ask(subscription.PerClient, 422)
		ask(0, 200) // one it has
		if a := in.remove("Subscription/S1", "hospital"); a.status != 204 {
			t.Errorf("%d %s", a.status, a.body)
		}
		ask(subscription.PerClient, 201)
		if rows := in.stored()["delivery"]; rows != int64(subscription.PerClient) {
			t.Errorf("%d rows are owed", rows)
		}
	})
}

// TestNotificationsRevokedIsNeverGranted: of a consent that was withdrawn before anything was sent a subscriber learns nothing:
// what arrives is, byte by byte, what arrives where there never was one. The order of writes and sendings does not matter.
func TestNotificationsRevokedIsNeverGranted(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	plans := [][]string{
		{"C9", "C2-edited", "revoke", "send"},
		{"C2-edited", "C9", "revoke", "send", "C9-edited", "send", "C2-again", "send"},
		{"C9", "CI1", "C9-edited", "revoke", "C1-edited", "send", "beat", "C2-edited", "send", "beat"},
		{"revoke", "C9", "send", "beat", "C2-edited", "C9-edited", "C2-again", "send"},
	}
	onEachStore(t, func(t *testing.T, where location) {
		for i, plan := range plans {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				var told [2][]string
				for j, granted := range []bool{true, false} {
					in := newInstallation(t, where.fresh(t), "")
					in.load()
					if granted {
						in.given("K1")
					}
					in.clock.set(noon.Add(-time.Hour))
					told[j] = in.carryOut(plan, granted, noon)
				}
				if len(told[0]) == 0 || !slices.Equal(told[0], told[1]) {
					t.Errorf("after a revocation:\n%s\nwithout a grant:\n%s", strings.Join(told[0], "\n"), strings.Join(told[1], "\n"))
				}
			})
		}
	})
}

// carryOut carries a plan out and returns what arrived, without what is random or the place.
func (in *installation) carryOut(plan []string, granted bool, noon time.Time) (told []string) {
	in.t.Helper()
	r := in.newReceiver()
	in.subscribe(r, "S1", func(_, channel map[string]any) { channel["extension"] = heartbeat(3600) })
	random := regexp.MustCompile(`urn:uuid:[0-9a-f-]{36}`)
	at := noon
	for _, what := range plan {
		at = at.Add(time.Second)
		in.clock.set(at)
		switch what {
		case "revoke":
			if granted {
				in.given("K4")
			}
		case "beat":
			at = at.Add(2 * time.Hour)
			in.clock.set(at)
			fallthrough
		case "send":
			for worked := true; worked; { // hidden rows take steps and no time
				var err error
				if worked, err = in.gateway.worker.Step(in.t.Context()); err != nil {
					in.t.Fatal(err)
				}
			}
			for _, n := range r.take() {
				told = append(told, strings.ReplaceAll(random.ReplaceAllString(string(n.body), "urn:uuid:"), in.gateway.base, "BASE"))
			}
		default:
			in.given(what)
		}
	}
	return told
}

// TestReplicasShareALane: of two workers at one database each notification is sent by one, in order.
func TestReplicasShareALane(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		r := in.newReceiver()
		in.subscribe(r, "S1", nil)
		want := []string{}
		for i := range 10 {
			in.given([]string{"C2-edited", "C2-again"}[i%2])
			want = append(want, fmt.Sprintf("event %d Condition/C2", i+1))
		}
		failed := make(chan error, 2)
		for range 2 {
			go func() {
				for {
					worked, err := in.gateway.worker.Step(t.Context())
					if err != nil || !worked && in.owed() == 0 {
						failed <- err
						return
					}
				}
			}()
		}
		for range 2 {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
		if got := r.texts(); !slices.Equal(got, want) {
			t.Errorf("told %q", got)
		}
	})
}

// owed is how many rows wait to be sent.
func (in *installation) owed() (n int64) {
	states, err := in.gateway.store.Deliveries(in.t.Context())
	if err != nil {
		return -1
	}
	return states[store.DeliveryWaiting] + states[store.DeliverySending]
}

// claimAndDie takes the next row as a worker that is never heard of again.
func (in *installation) claimAndDie() {
	in.t.Helper()
	if _, found, err := in.gateway.store.ClaimDelivery(in.t.Context(), time.Minute); err != nil || !found {
		in.t.Fatalf("nothing to take: %v", err)
	}
}

// away lets nothing through to the receiver until back is called: its port is closed.
func (r *receiver) away() (back func()) {
	r.in.t.Helper()
	address := r.server.Listener.Addr().String()
	r.in.gateway.worker.Notifier.HTTP.CloseIdleConnections()
	if err := r.server.Listener.Close(); err != nil {
		r.in.t.Fatal(err)
	}
	r.server.CloseClientConnections()
	return func() {
		r.in.t.Helper()
		l, err := net.Listen("tcp", address)
		if err != nil {
			r.in.t.Fatal(err)
		}
		r.server.Listener = l
		go func() {
			if err := r.server.Config.Serve(l); err == nil {
				r.in.t.Error("the receiver stopped without a reason")
			}
		}()
	}
}
