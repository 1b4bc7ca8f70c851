package search

// Condition is one node of what a query asks of a resource. A store compiles the tree into its own
// language; the closed set of nodes is And, Or, Not, Index, Element, Near, Chain, Has, Field, Label, Typed and Scan.
type Condition interface{ condition() }

// And holds when all its conditions hold; the empty And always does.
type And []Condition

// Or holds when one of its conditions holds; the empty Or never does.
type Or []Condition

// Not holds when its condition does not.
type Not struct{ Condition Condition }

// Index holds when the resource has an index row of one of Params that one of Values matches, or with Other one with a value
// that none of them matches; without Values, when it has any row of them. Kind says in which kind of rows to look: a reference parameter may
// also be asked for its URI rows and, as "<code>:identifier", its token rows; KindComposite, without
// Values only, for element rows.
type Index struct {
	Kind   Kind
	Params []string // index parameters of the type (never aliases; see Registry)
	Target string   // references: only those to this resource type; "" for any
	Mode   Mode     // how texts and URIs compare
	Values []Value
	Other  bool // texts and tokens
}

// Element holds when one element of the resource (one row of a composite parameter) matches A and B.
type Element struct {
	Params []string
	A, B   Component
}

// Component is one half of an Element; Values has alternatives.
type Component struct {
	Kind   Kind
	Mode   Mode
	Values []Value
}

// Near holds when a position of the resource (an element row of longitude and latitude, in millionths of a degree) is at most
// so many metres from a place on the globe.
type Near struct {
	Params              []string
	Latitude, Longitude float64 // degrees
	Metres              float64
}

// Chain holds when a reference of Params leads to a resource of type Target that meets Where. The caller
// must be able to see that resource; a store adds that.
type Chain struct {
	Params []string
	Target string
	Where  Condition
}

// Has holds when a resource of Type, visible to the caller, refers to this one by one of Params and meets Where.
type Has struct {
	Type   string
	Params []string
	Where  Condition
}

// Typed holds when the resource is of Type and meets Where, in a search across types.
type Typed struct {
	Type  string
	Where Condition
}

// Field compares a column every resource has: "_id" (Code), "_lastUpdated" (Prefix and Range), "_type" (Code), and
// "_period" (Range), which the time care happened overlaps; what has no such time meets any.
type Field struct {
	Name   string
	Values []Value
}

// Label holds when the resource bears one of these security labels (token values); without Values, when it bears any.
type Label struct{ Values []Value }

// Scan holds when Holds says so of the stored body. It stands at the top of a query only, beside conditions
// that narrow what must be read.
type Scan struct {
	Param string // the parameter, for errors
	Holds func(doc []byte) bool
}

func (And) condition()     {}
func (Or) condition()      {}
func (Not) condition()     {}
func (Index) condition()   {}
func (Element) condition() {}
func (Near) condition()    {}
func (Chain) condition()   {}
func (Has) condition()     {}
func (Field) condition()   {}
func (Label) condition()   {}
func (Typed) condition()   {}
func (Scan) condition()    {}

// Mode is how a text or URI compares.
type Mode int

// Includes is the comparison that holds when a stored span includes the value's: co of _filter. No prefix says that.
const Includes = "co"

// The modes. Prefix is the default of strings, Exact that of URIs.
const (
	Exact    Mode = iota
	Prefix        // starts with the value
	Contains      // holds the value
	Below         // is the value or starts with the value and a slash
	Same          // equals the value, both folded
	Ends          // ends with the value, both folded
)

// Value is one alternative of a condition; which fields are set depends on the kind.
type Value struct {
	System    string // token
	AnySystem bool   // token without a bar
	Code      string // token: "" with a system matches any code of it; Field: the id or type

	Prefix string // ordered kinds: eq ne gt lt ge le sa eb ap, or Includes
	Range  Range  // date, in microseconds

	// number and quantity: the half-open span the value stands for; what that is depends on the prefix
	// (R4 3.1.1.4.6: eq and ne have the precision the value was written in, ap a tenth around it, the
	// others are the value itself). Ordered makes the integers a store compares.
	Low, High float64
	Unit      Unit // quantity: zero for any

	Text string // string (folded unless Exact) or URI

	RefType string // reference to a resource of ours; "" when the type was not given
	RefID   string
}

// Unit is a unit of measure; Code alone is a unit in any system or by its printed name.
type Unit struct{ System, Code string }
