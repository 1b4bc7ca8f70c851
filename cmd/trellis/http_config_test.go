package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestServeRefusesAFaultyConfiguration starts serve from files with faults: all faults are named at once, nothing is
// listened on, no database is made, and the exit status is 1.
func TestServeRefusesAFaultyConfiguration(t *testing.T) {
	const posture = "posture: {part2_program: false, covered_entity: true, business_associate_of: [], qsoa_with: [], intermediary: false}\n"
	for _, c := range []struct {
		name, file string
		says       []string
	}{
		{"no posture", "public_url: https://gateway.example\norganizations: [{id: otp, name: OTP, class: part2_program_ce}]\n", []string{"posture"}},
		{"everything at once", "public_url: ftp://gateway.example\nlisten: 7\nposture: {part2_program: perhaps, covered_entity: true}\norganizations: [{id: otp, name: OTP, class: clinic}]\nspeed: fast\n",
			[]string{"public_url", "listen", "posture", "posture/part2_program", "organizations/0/class", "speed", "faults"}},
		{"what a schema cannot say", "public_url: https://gateway.example\n" + strings.Replace(posture, "qsoa_with: []", "qsoa_with: [nobody]", 1) +
			"organizations: [{id: otp, name: OTP, class: part2_program_ce}, {id: otp, name: Again, class: covered_entity}]\n" +
			"partners: [{organization: stranger, fhir_base: 'https://ehr.example/fhir', token_endpoint: 'https://ehr.example/token', client_id: us, key_file: /nonexistent/key.jwk, types: [CarePlan]}]\n",
			[]string{"organizations/1", `"nobody"`, `"stranger"`, "key_file", "4 faults"}},
		{"no organisation", "public_url: https://gateway.example\n" + posture + "organizations: []\n", []string{"organizations"}},
		{"people's tokens in the clear", "public_url: http://gateway.example\n" + posture + "organizations: [{id: otp, name: OTP, class: part2_program_ce}]\n", []string{"public_url", "https"}},
		{"no YAML", "public_url: [\n", []string{"not YAML"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			data := filepath.Join(dir, "data")
			file := filepath.Join(dir, "trellis.yaml")
			if err := os.WriteFile(file, []byte("data: "+data+"\n"+c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := readConfig(file); err == nil {
				t.Error("the file was taken")
			}
			var stdout, stderr bytes.Buffer
			if code := runServe([]string{"--config", file}, &stdout, &stderr); code != 1 || stdout.Len() > 0 {
				t.Errorf("exit status %d, printed %q", code, stdout.String())
			}
			for _, text := range c.says {
				if !strings.Contains(stderr.String(), text) {
					t.Errorf("the faults lack %q:\n%s", text, stderr.String())
				}
			}
			if _, err := os.Stat(data); !os.IsNotExist(err) {
				t.Error("a database was made")
			}
		})
	}
}

// A server that only a proxy on its own machine can reach believes that proxy; no other one it was not told of.
func TestProxiesBelieved(t *testing.T) {
	for file, want := range map[string][]string{
		"public_url: https://gateway.example\n":                                                    {"127.0.0.1", "::1"},
		"public_url: https://gateway.example\nlisten: 0.0.0.0:8080\n":                              nil,
		"public_url: http://127.0.0.1:8080\n":                                                      nil,
		"public_url: https://gateway.example\ntrusted_proxies: []\n":                               {},
		"public_url: https://gateway.example\nlisten: 0.0.0.0:80\ntrusted_proxies: [10.0.0.0/8]\n": {"10.0.0.0/8"},
	} {
		name := filepath.Join(t.TempDir(), "trellis.yaml")
		doc := file + "posture: {part2_program: false, covered_entity: true, business_associate_of: [], qsoa_with: [], intermediary: false}\norganizations: [{id: otp, name: OTP, class: part2_program_ce}]\n"
		if err := os.WriteFile(name, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(name)
		if err != nil || !slices.Equal(c.TrustedProxies, want) {
			t.Errorf("%s: %v %v", file, c.TrustedProxies, err)
		}
	}
}

// TestServeWithoutConfiguration is a wrong use, not a fault of a file.
func TestServeWithoutConfiguration(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := runServe(nil, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "--config") {
		t.Errorf("exit status %d: %s", code, stderr.String())
	}
	stderr.Reset()
	if code := runServe([]string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, &stdout, &stderr); code != 1 {
		t.Errorf("exit status %d: %s", code, stderr.String())
	}
}
