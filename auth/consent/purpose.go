package consent

import "slices"

// Purposes of use (v3-ActReason) a TPO consent reaches. These are allow-lists, never subsumption:
// HLEGAL, HDIRECT, MLTRAINING and others sit under HOPERAT in the code system and must not ride on it,
// and BTG and ETREAT sit under TREAT and need facts of their own (2.51).

// TreatmentPurposes is what "treatment" covers.
func TreatmentPurposes() []string { return []string{"TREAT", "COC", "TREATDS"} }

// PaymentPurposes is what "payment" covers.
func PaymentPurposes() []string {
	return []string{"HPAYMT", "CLMATTCH", "COVAUTH", "COVERAGE", "REMITADV"}
}

// OperationsPurposes is what "health care operations" covers.
func OperationsPurposes() []string {
	return []string{"HOPERAT", "CAREMGT", "HQUALIMP", "HCOMPL", "HACCRED", "PATSFTY", "RECORDMGT"}
}

// OtherPurposes is what only its own consent or authority reaches.
func OtherPurposes() []string {
	return []string{"HLEGAL", "HMARKT", "HRESCH", "PUBHLTH", "PATRQT", "FAMRQT", "PWATRNY", "SUPNWK", "HSYSADMIN", "ETREAT", "BTG",
		"HDIRECT", "MLTRAINING", "GOV", "MILCDM", "DONAT", "FRAUD", "CLINTRL", "POPHLTH", "ERTREAT", "DISASTER", "THREAT"}
}

// KnownPurpose reports whether the code is a purpose this release decides about.
func KnownPurpose(code string) bool {
	return slices.Contains(TreatmentPurposes(), code) || slices.Contains(PaymentPurposes(), code) ||
		slices.Contains(OperationsPurposes(), code) || slices.Contains(OtherPurposes(), code)
}

// covers reports whether a purpose written in a consent reaches the requested one.
func covers(written, requested string) bool {
	if written == requested {
		return true
	}
	switch written {
	case "TREAT":
		return slices.Contains(TreatmentPurposes(), requested)
	case "HPAYMT":
		return slices.Contains(PaymentPurposes(), requested)
	case "HOPERAT":
		return slices.Contains(OperationsPurposes(), requested)
	}
	return false
}
