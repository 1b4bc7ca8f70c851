package search

// unitAtom is one UCUM unit symbol in terms of the base units m, s, g, rad, K, C, cd and mol, and
// whether it takes metric prefixes. UCUM counts mol as a number; here it is its own dimension, because
// an amount compared with a bare number would be a mistake of the sender. Arbitrary units (UCUM 3.2)
// are dimensions of their own: they convert to nothing else.
func unitAtom(symbol string) (m measure, metric, ok bool) {
	for _, find := range []func(string) (float64, string, bool, bool){baseUnit, derivedUnit, clinicalUnit, customaryUnit} {
		if factor, dims, metric, ok := find(symbol); ok {
			return measure{factor: factor, dim: dimension(dims)}, metric, true
		}
	}
	switch symbol {
	case "Cel":
		return measure{factor: 1, offset: 273.15, dim: dimension("K")}, true, true
	case "[degF]":
		return measure{factor: 5.0 / 9, offset: 459.67 * 5 / 9, dim: dimension("K")}, false, true
	case "[degRe]":
		return measure{factor: 1.25, offset: 273.15, dim: dimension("K")}, false, true
	case "[degR]":
		return measure{factor: 5.0 / 9, dim: dimension("K")}, false, true
	}
	if metric, ok := arbitraryUnit(symbol); ok {
		if symbol == "[IU]" {
			symbol = "[iU]"
		}
		return measure{factor: 1, dim: map[string]int{symbol: 1}}, metric, true
	}
	return measure{}, false, false
}

// dimension reads "m2 s-1" like text from this file's tables.
func dimension(s string) map[string]int {
	out := map[string]int{}
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && (s[j] >= 'a' && s[j] <= 'z' || s[j] >= 'A' && s[j] <= 'Z') {
			j++
		}
		name, sign, e := s[i:j], 1, 0
		if j < len(s) && s[j] == '-' {
			sign = -1
			j++
		}
		for j < len(s) && s[j] >= '0' && s[j] <= '9' {
			e = e*10 + int(s[j]-'0')
			j++
		}
		if e == 0 {
			e = 1
		}
		out[name] = sign * e
		i = j + 1
	}
	return out
}

func baseUnit(s string) (float64, string, bool, bool) {
	switch s {
	case "m", "s", "g", "rad", "K", "C", "cd", "mol":
		return 1, s, true, true
	case "10*":
		return 10, "", false, true
	case "%":
		return 1e-2, "", false, true
	case "[ppth]":
		return 1e-3, "", false, true
	case "[ppm]":
		return 1e-6, "", false, true
	case "[ppb]":
		return 1e-9, "", false, true
	case "[pptr]":
		return 1e-12, "", false, true
	case "[pi]":
		return 3.14159265358979323846, "", false, true
	}
	return 0, "", false, false
}

func derivedUnit(s string) (float64, string, bool, bool) {
	switch s {
	case "sr":
		return 1, "rad2", true, true
	case "Hz", "Bq":
		return 1, "s-1", true, true
	case "N":
		return 1e3, "g m s-2", true, true
	case "Pa":
		return 1e3, "g m-1 s-2", true, true
	case "J":
		return 1e3, "g m2 s-2", true, true
	case "W":
		return 1e3, "g m2 s-3", true, true
	case "A":
		return 1, "C s-1", true, true
	case "V":
		return 1e3, "g m2 s-2 C-1", true, true
	case "F":
		return 1e-3, "g-1 m-2 s2 C2", true, true
	case "Ohm":
		return 1e3, "g m2 s-1 C-2", true, true
	case "S":
		return 1e-3, "g-1 m-2 s C2", true, true
	case "Wb":
		return 1e3, "g m2 s-1 C-1", true, true
	case "T":
		return 1e3, "g s-1 C-1", true, true
	case "H":
		return 1e3, "g m2 C-2", true, true
	case "lm":
		return 1, "cd rad2", true, true
	case "lx":
		return 1, "cd rad2 m-2", true, true
	case "Gy", "Sv":
		return 1, "m2 s-2", true, true
	case "l", "L":
		return 1e-3, "m3", true, true
	case "ar":
		return 100, "m2", true, true
	case "t":
		return 1e6, "g", true, true
	case "bar":
		return 1e8, "g m-1 s-2", true, true
	case "u":
		return 1.6605402e-24, "g", true, true
	case "eV":
		return 1.60217733e-16, "g m2 s-2", true, true
	case "pc":
		return 3.085678e16, "m", true, true
	}
	return 0, "", false, false
}

func clinicalUnit(s string) (float64, string, bool, bool) {
	switch s {
	case "min":
		return 60, "s", false, true
	case "h":
		return 3600, "s", false, true
	case "d":
		return 86400, "s", false, true
	case "wk":
		return 604800, "s", false, true
	case "mo", "mo_j":
		return 2629800, "s", false, true
	case "mo_s":
		return 2551442.976, "s", false, true
	case "mo_g":
		return 2629746, "s", false, true
	case "a", "a_j":
		return 31557600, "s", false, true
	case "a_t":
		return 31556925.216, "s", false, true
	case "a_g":
		return 31556952, "s", false, true
	case "eq", "osm":
		return 1, "mol", true, true
	case "kat":
		return 1, "mol s-1", true, true
	case "U":
		return 1e-6 / 60, "mol s-1", true, true
	case "g%":
		return 1e4, "g m-3", true, true
	case "cal", "cal_th":
		return 4184, "g m2 s-2", true, true
	case "cal_IT":
		return 4186.8, "g m2 s-2", true, true
	case "[Cal]":
		return 4184000, "g m2 s-2", false, true
	case "m[Hg]":
		return 133322000, "g m-1 s-2", true, true
	case "m[H2O]":
		return 9806650, "g m-1 s-2", true, true
	case "atm":
		return 101325000, "g m-1 s-2", false, true
	case "P":
		return 100, "g m-1 s-1", true, true
	case "dyn":
		return 1e-2, "g m s-2", true, true
	case "erg":
		return 1e-4, "g m2 s-2", true, true
	case "deg":
		return 0.017453292519943295, "rad", false, true
	case "'":
		return 0.017453292519943295 / 60, "rad", false, true
	case "''":
		return 0.017453292519943295 / 3600, "rad", false, true
	case "Ci":
		return 3.7e10, "s-1", true, true
	case "R":
		return 2.58e-7, "C g-1", true, true
	case "RAD", "REM":
		return 1e-2, "m2 s-2", true, true
	case "Ao":
		return 1e-10, "m", false, true
	case "[drp]":
		return 5e-8, "m3", false, true
	case "st":
		return 1, "m3", true, true
	case "[car_m]":
		return 0.2, "g", false, true
	case "[diop]":
		return 1, "m-1", false, true
	case "[MET]":
		return 3.5e-6 / 60 / 1e3, "m3 g-1 s-1", false, true
	}
	return 0, "", false, false
}

func customaryUnit(s string) (float64, string, bool, bool) {
	switch s {
	case "[in_i]", "[in_us]":
		return 0.0254, "m", false, true
	case "[ft_i]", "[ft_us]":
		return 0.3048, "m", false, true
	case "[yd_i]":
		return 0.9144, "m", false, true
	case "[mi_i]":
		return 1609.344, "m", false, true
	case "[nmi_i]":
		return 1852, "m", false, true
	case "[kn_i]":
		return 1852.0 / 3600, "m s-1", false, true
	case "[sin_i]":
		return 0.00064516, "m2", false, true
	case "[sft_i]":
		return 0.09290304, "m2", false, true
	case "[cin_i]":
		return 1.6387064e-5, "m3", false, true
	case "[cft_i]":
		return 0.028316846592, "m3", false, true
	case "[gr]":
		return 0.06479891, "g", false, true
	case "[lb_av]":
		return 453.59237, "g", false, true
	case "[oz_av]":
		return 28.349523125, "g", false, true
	case "[dr_av]":
		return 1.7718451953125, "g", false, true
	case "[stone_av]":
		return 6350.29318, "g", false, true
	case "[scwt_av]":
		return 45359.237, "g", false, true
	case "[ston_av]":
		return 907184.74, "g", false, true
	case "[oz_tr]":
		return 31.1034768, "g", false, true
	case "[lb_ap]":
		return 373.2417216, "g", false, true
	case "[oz_ap]":
		return 31.1034768, "g", false, true
	case "[lbf_av]":
		return 4448.2216152605, "g m s-2", false, true
	case "[psi]":
		return 6894757.293168361, "g m-1 s-2", false, true
	case "[gal_us]":
		return 0.003785411784, "m3", false, true
	case "[qt_us]":
		return 0.000946352946, "m3", false, true
	case "[pt_us]":
		return 0.000473176473, "m3", false, true
	case "[cup_us]":
		return 0.0002365882365, "m3", false, true
	case "[foz_us]":
		return 2.95735295625e-5, "m3", false, true
	case "[tbs_us]":
		return 1.478676478125e-5, "m3", false, true
	case "[tsp_us]":
		return 4.92892159375e-6, "m3", false, true
	case "[cup_m]":
		return 2.4e-4, "m3", false, true
	case "[tsp_m]":
		return 5e-6, "m3", false, true
	case "[tbs_m]":
		return 1.5e-5, "m3", false, true
	case "[foz_m]":
		return 3e-5, "m3", false, true
	case "[in_i'Hg]":
		return 133322000 * 0.0254, "g m-1 s-2", false, true
	case "[in_i'H2O]":
		return 9806650 * 0.0254, "g m-1 s-2", false, true
	case "[Btu]", "[Btu_IT]":
		return 1055055.85262, "g m2 s-2", false, true
	case "[HP]":
		return 745699.87158227, "g m2 s-3", false, true
	case "[acr_us]":
		return 4046.872609874252, "m2", false, true
	}
	return 0, "", false, false
}

// arbitraryUnit knows units that are defined by an assay or a scale.
func arbitraryUnit(s string) (metric, ok bool) {
	switch s {
	case "[iU]", "[IU]", "[arb'U]", "[APL'U]", "[GPL'U]", "[MPL'U]", "[beth'U]", "[CFU]", "[FFU]", "[PFU]",
		"[CCID_50]", "[EID_50]", "[TCID_50]", "[AU]", "[BAU]", "[Amb'a'1'U]", "[anti'Xa'U]", "[bdsk'U]", "[D'ag'U]",
		"[dye'U]", "[ELU]", "[EU]", "[FEU]", "[GPELISA'U]", "[hnsf'U]", "[HPF]", "[LPF]", "[kb'U]", "[knk'U]", "[Lf]",
		"[mclg'U]", "[MPELISA'U]", "[Ch]", "[PNU]", "[ptm'U]", "[smgy'U]", "[todd'U]", "[tb'U]", "[USP'U]", "[S]",
		"[pH]", "B", "Np", "B[SPL]", "[HU]", "bit", "By", "[PRU]", "[wood'U]":
		switch s {
		case "[iU]", "[IU]", "[EU]", "[CFU]", "[USP'U]", "B", "Np", "By", "B[SPL]":
			return true, true
		}
		return false, true
	}
	return false, false
}
