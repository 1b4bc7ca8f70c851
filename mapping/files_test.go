package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func cleanFiles(t *testing.T) []File {
	return caseFiles(t, "ny-1115-ahc-hrsn/cases/clean.case")
}

func TestFilesAreRecognisedByColumns(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	plain, err := p.MapFiles(testEnv(false), cleanFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	want, err := plain.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	files := cleanFiles(t)
	files[0], files[2] = files[2], files[0]
	for i := range files {
		files[i].Name = "upload-" + itoa(i)
		files[i].Data = append([]byte("\xef\xbb\xbf"), bytes.ReplaceAll(files[i].Data, []byte("\n"), []byte("\r\n"))...)
	}
	other, err := p.MapFiles(testEnv(false), files)
	if err != nil {
		t.Fatal(err)
	}
	got, err := other.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Error("names, order, byte order mark or line ends changed the result")
	}
}

func TestFileProblems(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	tests := []struct {
		name   string
		change func([]File) []File
		code   string
	}{
		{"unknown file", func(f []File) []File {
			return append(f, File{Name: "x.csv", Data: []byte("A|" + canary + "\n1|2\n")})
		}, "unknown-file"},
		{"empty file", func(f []File) []File { return append(f, File{Name: "x.csv"}) }, "unknown-file"},
		{"unknown column", func(f []File) []File {
			f[1].Data = bytes.Replace(f[1].Data, []byte("VISIT_OPWDD_FLAG"), []byte(canary), 1)
			return f
		}, "unknown-column"},
		{"not UTF-8", func(f []File) []File {
			f[0].Data = bytes.Replace(f[0].Data, []byte("Ada"), []byte("\xff"+canary), 1)
			return f
		}, "not-utf8"},
		{"too many cells", func(f []File) []File {
			f[2].Data = append(bytes.TrimRight(f[2].Data, "\n"), "|"+canary+"\n"...)
			return f
		}, "bad-row"},
		{"no demographics", func(f []File) []File { return f[1:] }, "no-demographics"},
		{"no visit flags", func(f []File) []File { return []File{f[0], f[2]} }, "part-2-unknown"},
		{"unknown question", func(f []File) []File {
			f[2].Data = bytes.Replace(f[2].Data, []byte("|71802-3|"), []byte("|"+canary+"|"), 1)
			return f
		}, "question-not-in-instrument"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := p.MapFiles(testEnv(false), tt.change(cleanFiles(t)))
			if err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			if err := res.Report.WriteText(&said); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(said.String(), tt.code) {
				t.Errorf("report lacks %s:\n%s", tt.code, said.String())
			}
			if strings.Contains(said.String(), canary) {
				t.Error("report repeats a value")
			}
		})
	}
}

func TestNoFileRecognised(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	_, err := p.MapFiles(testEnv(false), []File{{Name: "x", Data: []byte("a,b\n1,2\n")}})
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	if _, err := p.MapJSON(testEnv(false), []byte("{}")); !errors.As(err, &invalid) {
		t.Fatalf("a CSV pack took JSON: %v", err)
	}
}

// labelsOf gathers the label codes per slot (without item keys) over all records whose key begins with prefix.
func labelsOf(res *Result, prefix string) map[string]string {
	out := map[string]string{}
	for _, rec := range res.Records {
		if !strings.HasPrefix(rec.Key, prefix) {
			continue
		}
		for _, r := range rec.Resources {
			var codes []string
			for _, l := range r.Labels {
				codes = append(codes, l.Code)
			}
			out[r.Slot] = strings.Join(codes, " ")
		}
	}
	return out
}

func TestVisitFlagsBecomeLabels(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	res, err := p.MapFiles(testEnv(false), caseFiles(t, "ny-1115-ahc-hrsn/cases/flags-yes.case"))
	if err != nil {
		t.Fatal(err)
	}
	yes := labelsOf(res, "M2|F2|E2")
	for _, slot := range []string{"patient", "encounter", "response:96777-8", "answer:96777-8/93030-5", "panel:96777-8", "provenance"} {
		if yes[slot] != "42CFRPart2 SUD MH DVD" {
			t.Errorf("%s of the flagged visit has labels %q", slot, yes[slot])
		}
	}
	if got := labelsOf(res, "M3|F2|E3")["encounter"]; got != "42CFRPart2 SUD" {
		t.Errorf("a visit without Part 2 flag has labels %q", got)
	}
	if got := labelsOf(res, "F2")["facility"]; got != "" {
		t.Errorf("the facility has labels %q", got)
	}
}

func TestAnswersBecomeLabels(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	res, err := p.MapFiles(testEnv(false), cleanFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	got := labelsOf(res, "M1|F1|E1")
	want := map[string]string{
		"answer:96777-8/71802-3": "LIVARG", "answer:96777-8/96778-6%2FLA28580-1": "LIVARG", "answer:96777-8/95614-4": "SDV VIO",
		"answer:97023-6/68524-8": "ETH SUD", "answer:97023-6/44250-9": "MH", "panel:96777-8": "LIVARG SDV VIO",
		"response:97023-6": "ETH SUD MH", "provenance": "LIVARG SDV VIO ETH SUD MH", "encounter": "", "patient": "",
	}
	for slot, codes := range want {
		if have, ok := got[slot]; !ok || have != codes {
			t.Errorf("%s has labels %q (there: %v), want %q", slot, have, ok, codes)
		}
	}
}

func TestBundleIsATransaction(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	res, err := p.MapFiles(testEnv(false), cleanFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	data, err := res.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		Type  string
		Entry []struct {
			FullURL  string
			Request  struct{ Method, URL string }
			Resource struct{ ResourceType, ID string }
		}
	}
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range b.Entry {
		ref := e.Resource.ResourceType + "/" + e.Resource.ID
		if e.Request.Method != "PUT" || e.Request.URL != ref || !strings.HasSuffix(e.FullURL, "/"+ref) || seen[ref] {
			t.Errorf("bad entry %+v", e)
		}
		seen[ref] = true
	}
	if b.Type != "transaction" || len(b.Entry) == 0 {
		t.Errorf("type %s with %d entries", b.Type, len(b.Entry))
	}
	empty, err := (&Result{}).Bundle()
	if err != nil || string(empty) != `{"resourceType":"Bundle","type":"transaction"}` {
		t.Errorf("empty bundle %s %v", empty, err)
	}
}

func TestFewerFilesNeverFewerLabels(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	files := cleanFiles(t)
	res, err := p.MapFiles(testEnv(false), []File{files[0], files[2]})
	if err != nil {
		t.Fatal(err)
	}
	if got := labelsOf(res, "M1|F1|E1")["encounter"]; got != "42CFRPart2 SUD MH" {
		t.Errorf("without visit flags the encounter has labels %q", got)
	}
}
