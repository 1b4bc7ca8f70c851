package fhir

import "github.com/go-json-experiment/json"

// Outcome is the OperationOutcome for issues; severity is that of issues without their own.
func Outcome(severity string, issues []Issue) []byte {
	type text struct {
		Text string `json:"text"`
	}
	type issue struct {
		Severity   string   `json:"severity"`
		Code       string   `json:"code"`
		Details    text     `json:"details"`
		Expression []string `json:"expression,omitempty"`
	}
	out := struct {
		ResourceType string  `json:"resourceType"`
		Issue        []issue `json:"issue"`
	}{ResourceType: "OperationOutcome"}
	for _, i := range issues {
		row := issue{Severity: severity, Code: i.Code, Details: text{i.Text}}
		if i.Severity != "" {
			row.Severity = i.Severity
		}
		if i.Expression != "" {
			row.Expression = []string{i.Expression}
		}
		out.Issue = append(out.Issue, row)
	}
	doc, err := json.Marshal(out)
	if err != nil { // strings only: cannot fail, and a client must still get an outcome
		return []byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception"}]}`)
	}
	return doc
}
