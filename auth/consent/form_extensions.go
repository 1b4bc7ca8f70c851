package consent

import (
	"maps"
	"slices"
)

// extensions are the elements of 42 CFR 2.31 no form has a field for. They say what was signed and narrow no rule, so that a
// reader who does not know them takes the instrument for nothing more.
func (w *projection) extensions() []any {
	c := w.c
	var out []any
	simple := func(url, member, value string) {
		if value != "" {
			out = append(out, map[string]any{"url": url, member: value})
		}
	}
	parts := func(url string, list ...map[string]any) {
		var nested []any
		for _, part := range list {
			for name, value := range part {
				if value != "" && name != "url" {
					nested = append(nested, part)
				}
			}
		}
		out = append(out, map[string]any{"url": url, "extension": nested})
	}
	simple(ExtDescription, "valueString", c.Description)
	switch {
	case c.Event != "":
		simple(ExtExpirationEvent, "valueString", c.Event)
	case c.Expires && c.End.IsZero():
		simple(ExtExpirationEvent, "valueString", "as the signed form says")
	}
	for _, typ := range slices.Sorted(maps.Keys(c.Statements)) {
		if !c.Statements[typ] {
			continue
		}
		text := c.Texts[typ]
		if text == "" {
			text = "As on the signed form."
		}
		parts(ExtStatement, map[string]any{"url": "type", "valueCode": typ}, map[string]any{"url": "text", "valueString": text})
	}
	if !c.Revoked.IsZero() {
		parts(ExtRevocation, map[string]any{"url": "receivedAt", "valueDateTime": instant(c.Revoked.UnixMicro())})
	}
	if !c.Ended.IsZero() {
		parts(ExtExpired, map[string]any{"url": "at", "valueDateTime": instant(c.Ended.UnixMicro())})
	}
	for _, s := range c.Signers {
		parts(ExtSigner, map[string]any{"url": "capacity", "valueCode": s.Capacity}, map[string]any{"url": "authority", "valueString": s.Authority})
	}
	for _, id := range c.Supersedes {
		out = append(out, map[string]any{"url": ExtSupersedes, "valueReference": reference("Consent", id)})
	}
	if c.Source.SHA256 != "" {
		parts(ExtDocument, map[string]any{"url": "sha256", "valueString": c.Source.SHA256})
	}
	if c.Kind == KindOrder {
		o := c.Order
		parts(ExtOrder, map[string]any{"url": "section", "valueCode": o.Section}, map[string]any{"url": "court", "valueString": o.Court},
			map[string]any{"url": "docket", "valueString": o.Docket}, map[string]any{"url": "subpoena", "valueString": o.Subpoena},
			map[string]any{"url": "findings", "valueBoolean": o.Findings}, map[string]any{"url": "notes", "valueBoolean": o.Notes})
	}
	return out
}
