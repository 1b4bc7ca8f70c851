package scaffold

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"trellis/mapping"
)

// Values that stand for what must never reach a pack are marked.
const secret = "canary"

func sessions(n int) []byte {
	var b strings.Builder
	b.WriteString("Session ID,Client ID,First Name,Last Name,DOB,Gender,Phone,Street Address,City,State,Zip,Session Date,Minutes,Contact Type,Status,Peer Name,Notes,House,Bus Passes\n")
	for i := range n {
		fmt.Fprintf(&b, "S-canary%d,C-canary%d,Canaria%d,Canarysson,0%d/1%d/1987,%s,555canary%d,%d Canary Road,Canaryville,CN,99%d,03/1%d/2026,%d,%s,%s,Coach Canary,\"canary, said in confidence\",Canary House,%d\n",
			i, i%5, i, 1+i%9, i%9, []string{"F", "M"}[i%2], i, i, i, i%9, 30+i, []string{"phone", "in person"}[i%2],
			[]string{"Completed", "No show", "Cancelled"}[i%3], i)
	}
	return []byte(b.String())
}

const screeningsJSON = `{"screening_id":"canary1","client":{"id":"canary2","name":{"first":"Canaria","last":"Canarysson"},"date_of_birth":"1987-03-04","sex":"female"},"status":"done","screened_at":"2026-03-02T10:00:00-05:00","answers":[{"question":"food_worry","answer":"often"},{"question":"transport","answer":"no"}],"score":7,"consented":true,"free.dots":"canary","remarks":"canary words"}
{"screening_id":"canary3","client":{"id":"canary4","name":{"first":"Canarina","last":"Canarysson"},"date_of_birth":"1988-03-04","sex":"male"},"status":"done","screened_at":"2026-03-03T10:00:00-05:00","answers":[{"question":"food_worry","answer":"never"}],"score":8.5,"consented":false,"remarks":"canary words"}
`

func TestNew(t *testing.T) {
	tests := []struct {
		name, sample string
		data         []byte
		mapping      []string // lines of the mapping
		pack, schema []string
		tables       []string
		notes        []string
	}{
		{
			name: "sessions", sample: "x.csv", data: sessions(30),
			mapping: []string{
				"key: [sheet.SessionID]", "- resource: Patient", "key: sheet.ClientID", "profile: us-core-patient", "family: {$copy: sheet.LastName}",
				"- {$copy: sheet.FirstName}", "gender: {$code: sheet.Gender, via: sex, as: code, else: unknown}", "birthDate: {$date: sheet.DOB, as: date}",
				"value: {$copy: sheet.Phone}", "postalCode: {$copy: sheet.Zip}", "- resource: Encounter", "status: {$code: sheet.Status, via: status, as: code, else: unknown}",
				"start: {$date: sheet.SessionDate}", "length: {$unit: sheet.Minutes, code: min, unit: minutes}", "- individual: {display: {$copy: sheet.PeerName}}",
				"type: [{$code: sheet.ContactType, via: mode, text: sheet.ContactType}]",
				"{field: sheet.Notes, reason: narrative-private}", `{field: sheet.House, reason: "TODO: decide"}`, `{field: sheet.BusPasses, reason: "TODO: decide"}`,
			},
			pack:   []string{"format: csv", `- "01/02/2006"`, "group: [SessionID]", `separator: ","`},
			schema: []string{`"SessionID"`, `"Cancelled"`, `"required": [`},
			tables: []string{"sex F,M", "status Cancelled,Completed,No show", "mode in person,phone"},
			notes:  []string{"key: SessionID", "Gender (2)", "wait for your decision"},
		},
		{
			name: "screenings", sample: "x.json", data: []byte(screeningsJSON),
			mapping: []string{
				"key: [screening_id]", "key: client.id", "family: {$copy: client.name.last}", "- resource: Observation",
				"each: {from: answers, as: answered, key: answered.question}", "code: {$code: answered.question, via: question, else: {text: Question}}",
				"valueCodeableConcept: {$code: answered.answer, via: answer}", "effectiveDateTime: {$date: screened_at}",
				"{field: remarks, reason: narrative-private}", `{field: score, reason: "TODO: decide"}`,
			},
			pack:   []string{"format: json", "schema: screenings.schema.json"},
			schema: []string{`"format": "date-time"`, `"type": "number"`, `"type": "boolean"`, `"often"`},
			tables: []string{"question food_worry,transport", "answer never,no,often"},
			notes:  []string{"key: screening_id", "answers mean something only together with their question"},
		},
		{
			name: "unknown", sample: "x.csv", data: []byte("alpha|beta\n1|canary\n2|canary\n"),
			mapping: []string{"key: [sheet.alpha]", "- resource: Basic", `{field: sheet.beta, reason: "TODO: decide"}`},
			pack:    []string{`separator: "|"`}, notes: []string{"the first field that is unique"},
		},
		{
			name: "people", sample: "x.csv", data: []byte("mpi,client id,last name\ncanary1,canary2,Canarysson\ncanary3,canary4,Canarysson\n"),
			mapping: []string{"key: sheet.clientid", "family: {$copy: sheet.lastname}", `{field: sheet.mpi, reason: "TODO: decide"}`},
		},
		{
			name: "times", sample: "x.csv", data: []byte("id;client id;when seen;start\n1;a;x;3/4/26 14:05\n2;b;y;5/6/26 9:05\n"),
			mapping: []string{"start: {$date: sheet.start}"}, pack: []string{`- "1/2/06 15:04"`, "century: 1930", "# zone:"},
			notes: []string{"no zone", "two digits", "do not tell day and month apart"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := New(tt.name, tt.sample, tt.data)
			if err != nil {
				t.Fatal(err)
			}
			text := map[string]string{}
			for name, data := range d.Files {
				text[name] = string(data)
				if strings.Contains(strings.ToLower(string(data)), secret) {
					t.Errorf("%s betrays the sample:\n%s", name, data)
				}
			}
			notes := strings.Join(d.Notes, "\n")
			if strings.Contains(strings.ToLower(notes), secret) {
				t.Errorf("the notes betray the sample:\n%s", notes)
			}
			for what, wants := range map[string][]string{
				tt.name + ".map.yaml": tt.mapping, "pack.yaml": tt.pack, tt.name + ".schema.json": tt.schema,
			} {
				for _, want := range wants {
					if !strings.Contains(text[what], want) {
						t.Errorf("%s lacks %s", what, want)
					}
				}
			}
			for _, want := range tt.tables {
				name, values, _ := strings.Cut(want, " ")
				for _, v := range strings.Split(values, ",") {
					if p, ok := propose(name, v); ok {
						v += "," + p.system + "," + p.code + "," + p.display + ",both"
						if strings.HasPrefix(v, "No show,") {
							v = strings.Replace(v, ",both", ",in", 1) // as Cancelled, which stands before it
						}
					} else {
						v += ",,,,todo"
					}
					if !strings.Contains(text["codes/"+name+".csv"], "\n"+v+"\n") {
						t.Errorf("codes/%s.csv lacks %s", name, v)
					}
				}
			}
			for _, want := range tt.notes {
				if !strings.Contains(notes, want) {
					t.Errorf("notes lack %q", want)
				}
			}
			if t.Failed() {
				t.Log(text[tt.name+".map.yaml"], text["pack.yaml"], text[tt.name+".schema.json"], notes)
			}
			loads(t, tt.name, d)
		})
	}
}

// loads checks that the draft has no faults and that lint names what is left.
func loads(t *testing.T, name string, d *Draft) {
	t.Helper()
	folder := fstest.MapFS{}
	for file, data := range d.Files {
		folder[name+"/"+file] = &fstest.MapFile{Data: data}
	}
	found, err := mapping.Lint(mapping.Beside(folder), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Faults) > 0 {
		t.Errorf("faults: %v", found.Faults)
	}
	todo := strings.Count(string(d.Files[name+".map.yaml"]), "TODO: decide")
	for file, data := range d.Files {
		if strings.HasPrefix(file, "codes/") {
			todo += strings.Count(string(data), ",todo\n")
		}
	}
	if len(found.Todos) != todo {
		t.Errorf("lint lists %d to decide, the draft has %d", len(found.Todos), todo)
	}
}

// A log of residents, week by week: who it is about is known by their number, what no rule carries is not required, and a column
// that cannot be named is named to the author.
func TestNewOfAWeeklyLog(t *testing.T) {
	var b strings.Builder
	b.WriteString("LogID,Resident,First,Last,Week Of,House,Curfew Viol.\n")
	for i := range 24 {
		fmt.Fprintf(&b, "W-%d,R%d,Ana,Stone,11/%d/2026,Maple House,0\n", i, i%6, i+1)
	}
	d, err := New("weekly-log", "log.csv", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	for file, wants := range map[string][]string{
		"weekly-log.map.yaml": {"key: sheet.Resident", "family: {$copy: sheet.Last}", `{field: sheet.House, reason: "TODO: decide"}`},
		"weekly-log.schema.json": {`"required": [
    "LogID",
    "Resident",
    "First",
    "Last"
  ]`},
	} {
		for _, want := range wants {
			if !strings.Contains(string(d.Files[file]), want) {
				t.Errorf("%s lacks %s:\n%s", file, want, d.Files[file])
			}
		}
	}
	if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, "column 7 (CurfewViol.)") {
		t.Errorf("notes: %s", notes)
	}
	// Names are no numbers: without one, every record is said to make a person anew.
	d, err = New("weekly-log", "log.csv", []byte(strings.NewReplacer("R0", "Ana", "R1", "Bo", "R2", "Cy", "R3", "Di", "R4", "Ed", "R5", "Fay").Replace(b.String())))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(d.Files["weekly-log.map.yaml"]), "key: sheet.Resident") || !strings.Contains(strings.Join(d.Notes, "\n"), "a person anew of every record") {
		t.Errorf("a name became the person's number: %v", d.Notes)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct{ name, sample, data, want string }{
		{"Bad Name", "x.csv", "a\n1\n", "small letters"},
		{"shared", "x.csv", "a\n1\n", "small letters"},
		{"p2", "x.csv", "", "empty"},
		{"p2", "x.csv", "a,b\n", "no records"},
		{"p2", "x.json", `{"a": `, "not JSON"},
		{"p2", "x.json", `[1]`, "each an object"},
		{"p2", "x.json", `{}`, "no fields"},
		{"p2", "x.csv", "a\n\xff\n", "UTF-8"},
		{"p2", "x.csv", "17,Maria,Lopez,03/04/1987\n18,John,Doe,03/05/1987\n", "header row"},
		{"p2", "x.csv", "maria@example.org,x\nb,c\n", "header row"},
	}
	for _, tt := range tests {
		_, err := New(tt.name, tt.sample, []byte(tt.data))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %q", tt.data, err, tt.want)
		}
	}
}

func TestKinds(t *testing.T) {
	tests := []struct{ name, want string }{
		{"ClientID", "client-id"}, {"PAT_MRN_ID", "client-id"}, {"client_first_name", "first-name"}, {"DOB", "birth-date"},
		{"DateOfBirth", "birth-date"}, {"E-mail", "email"}, {"ADDRESS1", "street"}, {"ADDRESS2", "unit"}, {"Session ID", "record-id"},
		{"SCREENING_STATUS_CODE_DESCRIPTION", ""}, {"Housing status", ""}, {"Goal status", ""}, {"visit_status", "status"}, {"STATUS_CODE", "status"}, {"Where", "place"}, {"QUESTION_CODE", "question"}, {"ANSWER_CODE", "answer"}, {"case notes", "note"},
		{"counselor", "worker-name"}, {"house name", ""}, {"frobs", ""}, {"LAST_NAME", "last-name"}, {"name", "full-name"},
	}
	for _, tt := range tests {
		s := &sample{records: 1}
		f := &field{name: tt.name, path: strings.ReplaceAll(tt.name, " ", "_"), values: map[string]int{}, types: map[string]bool{}}
		if f.name == "DOB" || f.name == "DateOfBirth" {
			f.add("1980-01-01", "string")
		}
		s.name(f, knownNames())
		if f.kind != tt.want {
			t.Errorf("%s: %q, want %q (%v)", tt.name, f.kind, tt.want, words(tt.name))
		}
	}
}

// A sheet of contacts: the day in one column and the time in another, several contacts of a person on a day, and names of columns
// with blanks, which come back as they were.
func TestNewOfASheet(t *testing.T) {
	var b strings.Builder
	b.WriteString("Client No,First Name,Last Name,Contact date,Start,End Time,Entered,Housing status\n")
	for i := range 24 {
		fmt.Fprintf(&b, "c%d,Ana,Stone,03/%02d/2026,%d:00 PM,%d:30 PM,2026-03-%02d 09:00:00-05,stable\n", i%4, 1+i/8, 1+i%8/4, 1+i%8/4, 1+i/8)
	}
	d, err := New("contacts", "x.csv", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	loads(t, "contacts", d)
	for file, wants := range map[string][]string{
		"contacts.map.yaml": {"key: [sheet.ClientNo, sheet.Contactdate, sheet.Start]", "start: {$date: [sheet.Contactdate, sheet.Start]}",
			"end: {$date: [sheet.Contactdate, sheet.EndTime]}", `{field: sheet.Housingstatus, reason: "TODO: decide"}`, "status: unknown", "add: [42CFRPart2, SUD]"},
		"pack.yaml":            {`- "01/02/2006 3:04 PM"`, "# zone: America/New_York"},
		"contacts.schema.json": {`"title": "Client No"`},
	} {
		for _, want := range wants {
			if !strings.Contains(string(d.Files[file]), want) {
				t.Errorf("%s lacks %s:\n%s", file, want, d.Files[file])
			}
		}
	}
	d.Files["pack.yaml"] = []byte(strings.Replace(string(d.Files["pack.yaml"]), "# zone", "zone", 1))
	pack, err := mapping.Load(mapping.Beside(Folder("contacts", d.Files)), "contacts")
	if err != nil {
		t.Fatal(err)
	}
	env, sheet := mapping.CaseEnv(), []mapping.File{{Name: "x.csv", Data: []byte(b.String())}}
	trip, err := pack.GoRound(env, sheet)
	if err != nil {
		t.Fatal(err)
	}
	if !trip.Whole() {
		t.Errorf("it does not come back: %+v", trip)
	}
	res, err := pack.MapFiles(env, sheet)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Report.Problems) > 0 || len(res.Records) != 24 {
		t.Errorf("%d records, %+v", len(res.Records), res.Report.Problems)
	}
	var bodies [][]byte
	for _, r := range res.Records {
		for _, made := range r.Resources {
			bodies = append(bodies, made.JSON)
		}
	}
	natives, _, err := pack.Back(env, bodies)
	if err != nil {
		t.Fatal(err)
	}
	back, err := pack.Rows(natives)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(b.String(), "\n")
	if got, rows, _ := strings.Cut(string(back[0].Data), "\n"); got != head || !strings.Contains(rows, ",03/01/2026,1:00 PM,1:30 PM,") {
		t.Errorf("came back as %s\n%s", got, rows)
	}
}

// What everybody writes alike has its code in the draft, where people come from stands as US Core has it, and further words wait.
func TestNewProposesCodes(t *testing.T) {
	var b strings.Builder
	b.WriteString("client id,first name,last name,sex,race,ethnicity,preferred language,visit date,visit type\n")
	for i := range 30 {
		fmt.Fprintf(&b, "c%d,Ana,Stone,%s,%s,%s,%s,2026-03-%02d,%s\n", i, []string{"F", "Female", "other words"}[i%3], []string{"Black or African American", "Declined"}[i%2],
			[]string{"Hispanic or Latino", "Not Hispanic or Latino", ""}[i%3], []string{"English", "Klingon"}[i%2], 1+i%28, []string{"phone", "canoe"}[i%2])
	}
	d, err := New("visits", "x.csv", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	loads(t, "visits", d)
	for file, wants := range map[string][]string{
		"codes/sex.csv":       {"F,http://hl7.org/fhir/administrative-gender,female,Female,both", "Female,http://hl7.org/fhir/administrative-gender,female,Female,in", "other words,,,,todo"},
		"codes/race.csv":      {"Black or African American,urn:oid:2.16.840.1.113883.6.238,2054-5,", "Declined,,,,todo"},
		"codes/ethnicity.csv": {"2135-2,", "2186-5,"},
		"codes/language.csv":  {"English,urn:ietf:bcp:47,en,English,both", "Klingon,,,,todo"},
		"codes/mode.csv":      {"phone,http://snomed.info/sct,185317003,", "canoe,,,,todo"},
	} {
		for _, want := range wants {
			if !strings.Contains(string(d.Files[file]), want) {
				t.Errorf("%s lacks %s:\n%s", file, want, d.Files[file])
			}
		}
	}
	pack, err := mapping.Load(mapping.Beside(Folder("visits", d.Files)), "visits")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pack.RunCase(mapping.Case{Input: "== sheet.csv\nclientid,firstname,lastname,sex,race,ethnicity,preferredlanguage,visitdate,visittype\nc1,Ana,Stone,F,Black or African American,Hispanic or Latino,English,2026-03-01,phone\nc2,Ana,Stone,F,Declined,,Klingon,2026-03-01,canoe\n"})
	if err != nil {
		t.Fatal(err)
	}
	text := string(mapping.Case{}.Text(got))
	for want, times := range map[string]int{"2054-5": 1, "2135-2": 1, "us-core-race": 2, "us-core-ethnicity": 1, "ombCategory": 2, `"Declined"`: 2} {
		if n := strings.Count(text, want); n != times {
			t.Errorf("%s stands %d times, want %d", want, n, times)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// Names of people in columns that nothing is known of are no closed list, however few they are.
func TestNamesOfPeopleAreNoChoices(t *testing.T) {
	for _, values := range [][]string{{"Maria", "John"}, {"maria", "john"}, {"MARIA", "JOHN"}, {"Maria Lopez", "John Doe"}} {
		var b strings.Builder
		b.WriteString("id,helper\n")
		for i := range 40 {
			fmt.Fprintf(&b, "%d,%s\n", i, values[i%2])
		}
		d, err := New("people", "x.csv", []byte(b.String()))
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range d.Files {
			if strings.Contains(strings.ToLower(string(data)), "maria") {
				t.Errorf("%v: %s holds a name", values, name)
			}
		}
	}
}

func FuzzNew(f *testing.F) {
	f.Add("x.csv", sessions(3))
	f.Add("x.json", []byte(screeningsJSON))
	f.Add("x.csv", []byte("a;b\n1;2\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		d, err := New("fuzzed", name, data)
		if err != nil {
			if strings.Contains(err.Error(), "mistake of this program") {
				t.Fatal(err)
			}
			return
		}
		loads(t, "fuzzed", d)
	})
}
