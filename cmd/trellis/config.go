package main

import (
	"bytes"
	_ "embed" // the configuration's schema stands beside this file
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v5"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/mapping"
)

//go:embed config.schema.json
var configSchema []byte

// config is the configuration file. Its schema, config.schema.json, is the manual of the fields.
type config struct {
	PublicURL    string `json:"public_url"`
	Listen       string `json:"listen"`
	Data         string `json:"data"`
	PostgresFile string `json:"postgres_file"`
	AllowPrivate bool   `json:"allow_private_addresses"`
	Registration string `json:"registration"`
	// TrustedProxies stand in front of the gateway: their word is taken for where a request comes from.
	TrustedProxies []string              `json:"trusted_proxies"`
	UpstreamLogin  *upstreamLogin        `json:"upstream_login"`
	Posture        posture               `json:"posture"`
	Organizations  []access.Organization `json:"organizations"`
	Agreements     []agreementConfig     `json:"agreements"`
	Rules          ruleConfig            `json:"rules"`
	// MassExportRecords is from how many records on an export is drafted as an incident.
	MassExportRecords int  `json:"mass_export_records"`
	ProposeConcerns   bool `json:"propose_health_concerns"`
	// Packs is a folder of the deployment's own mapping packs; they stand beside those of the program.
	Packs    string          `json:"packs"`
	Lineage  bool            `json:"lineage"`
	Partners []partnerConfig `json:"partners"`
	// What this deployment changes about the rules of auth/label.
	LabelRulesOff []string `json:"label_rules_off"`
	LabelRulesOn  []string `json:"label_rules_on"`

	loaded []*mapping.Pack // all there are, when some are of the deployment's own
}

// packs are those of the program and of the deployment.
func (c config) packs() ([]*mapping.Pack, error) {
	if c.loaded != nil {
		return c.loaded, nil
	}
	return (&packsFolder{c.Packs}).all()
}

// ruleConfig is what counsel switched.
type ruleConfig struct {
	Off []string `json:"off"`
	On  []string `json:"on"`

	switches access.Switches
}

// upstreamLogin is the OpenID provider people may sign in with.
type upstreamLogin struct {
	Name       string `json:"name"`
	Issuer     string `json:"issuer"`
	ClientID   string `json:"client_id"`
	SecretFile string `json:"secret_file"`

	secret string
}

// registrationOpen lets apps register themselves (RFC 7591); without it the operator registers them.
const registrationOpen = "open"

// posture is what the deployment is under the law.
type posture struct {
	Part2Program        bool     `json:"part2_program"`
	CoveredEntity       bool     `json:"covered_entity"`
	BusinessAssociateOf []string `json:"business_associate_of"`
	QSOAWith            []string `json:"qsoa_with"`
	Intermediary        bool     `json:"intermediary"`
}

type partnerConfig struct {
	Organization  string   `json:"organization"`
	FHIRBase      string   `json:"fhir_base"`
	TokenEndpoint string   `json:"token_endpoint"`
	ClientID      string   `json:"client_id"`
	KeyFile       string   `json:"key_file"`
	Purpose       string   `json:"purpose"`
	Types         []string `json:"types"`

	key []byte
}

// readConfig reads the file strictly. All faults are reported at once.
func readConfig(file string) (config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return config{}, err
	}
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return config{}, fmt.Errorf("%s is not YAML: %s", file, yaml.FormatError(err, false, false))
	}
	faults, err := checkSchema(asJSON)
	if err != nil {
		return config{}, err
	}
	var c config
	if len(faults) == 0 {
		if err := json.Unmarshal(asJSON, &c); err != nil {
			return config{}, fmt.Errorf("%s: %w", file, err)
		}
		faults = c.settle()
	}
	if len(faults) > 0 {
		return config{}, fmt.Errorf("%s has %d faults:\n  %s", file, len(faults), strings.Join(faults, "\n  "))
	}
	return c, nil
}

func checkSchema(doc []byte) ([]string, error) {
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.schema.json", bytes.NewReader(configSchema)); err != nil {
		return nil, fmt.Errorf("the configuration's schema: %w", err)
	}
	schema, err := compiler.Compile("config.schema.json")
	if err != nil {
		return nil, fmt.Errorf("the configuration's schema: %w", err)
	}
	var value any
	if err := json.Unmarshal(doc, &value); err != nil {
		return nil, err
	}
	var invalid *jsonschema.ValidationError
	if err := schema.Validate(value); !errors.As(err, &invalid) {
		return nil, err
	}
	var faults []string
	var leaves func(e *jsonschema.ValidationError)
	leaves = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			where := strings.TrimPrefix(e.InstanceLocation, "/")
			if where == "" {
				where = "the file"
			}
			faults = append(faults, where+": "+e.Message)
		}
		for _, c := range e.Causes {
			leaves(c)
		}
	}
	leaves(invalid)
	return faults, nil
}

// settle fills defaults, reads secret files and checks what a schema cannot say.
func (c *config) settle() []string {
	var faults []string
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8080"
	}
	if c.MassExportRecords == 0 {
		c.MassExportRecords = 50_000
	}
	if c.Data == "" {
		c.Data = "./trellis-data"
	}
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	if u, err := url.Parse(c.PublicURL); err == nil && u.Scheme == "http" && !onLoopback(net.JoinHostPort(u.Hostname(), "80")) {
		faults = append(faults, "public_url: http is for loopback addresses; sessions and tokens of people go over https")
	}
	if c.TrustedProxies == nil && strings.HasPrefix(c.PublicURL, "https://") && onLoopback(c.Listen) {
		// Whoever reaches us came through a proxy on this machine; without its word everybody would share one address.
		c.TrustedProxies = []string{"127.0.0.1", "::1"}
	}
	if c.Packs != "" {
		var err error
		if c.loaded, err = (&packsFolder{c.Packs}).all(); err != nil {
			faults = append(faults, fmt.Sprintf("packs: %v", err))
		}
	}
	known := map[string]bool{}
	for i, o := range c.Organizations {
		if known[o.ID] {
			faults = append(faults, fmt.Sprintf("organizations/%d: the id is used twice", i))
		}
		known[o.ID] = true
	}
	for _, list := range [][]string{c.Posture.BusinessAssociateOf, c.Posture.QSOAWith} {
		for _, id := range list {
			if !known[id] {
				faults = append(faults, fmt.Sprintf("posture: %q is none of the organizations", id))
			}
		}
	}
	if _, err := label.Load(label.Config{Off: c.LabelRulesOff, On: c.LabelRulesOn}); err != nil {
		faults = append(faults, fmt.Sprintf("label_rules: %v", err))
	}
	if up := c.UpstreamLogin; up != nil {
		secret, err := os.ReadFile(up.SecretFile)
		if err != nil {
			faults = append(faults, fmt.Sprintf("upstream_login/secret_file: %v", err))
		}
		up.secret = strings.TrimSpace(string(secret))
	}
	for i, a := range c.Agreements {
		if fault := a.fault(); fault != "" {
			faults = append(faults, fmt.Sprintf("agreements/%d: %s", i, fault))
		}
		for _, id := range []string{a.Of, a.With} {
			if !known[id] && id != access.OperatorID {
				faults = append(faults, fmt.Sprintf("agreements/%d: %q is none of the organizations", i, id))
			}
		}
	}
	var err error
	if c.Rules.switches, err = access.NewSwitches(c.Rules.Off, c.Rules.On); err != nil {
		faults = append(faults, "rules: "+err.Error()+"; `trellis rules` lists them")
	}
	for i := range c.Partners {
		p := &c.Partners[i]
		if p.Purpose == "" {
			p.Purpose = "TREAT"
		}
		if !known[p.Organization] {
			faults = append(faults, fmt.Sprintf("partners/%d: %q is none of the organizations", i, p.Organization))
		}
		var err error
		if p.key, err = os.ReadFile(p.KeyFile); err != nil {
			faults = append(faults, fmt.Sprintf("partners/%d/key_file: %v", i, err))
		}
	}
	return faults
}

// onLoopback reports whether an address to listen on is reached from this machine only.
func onLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// location is where the configured installation keeps its data.
func (c config) location() (location, error) {
	l := location{data: c.Data}
	if c.PostgresFile == "" {
		return l, nil
	}
	dsn, err := os.ReadFile(c.PostgresFile)
	l.postgres = strings.TrimSpace(string(dsn))
	return l, err
}
