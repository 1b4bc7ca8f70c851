package path

import (
	"slices"
	"strconv"
	"strings"

	"trellis/fhir"
)

// maxOperations bounds a patch.
const maxOperations = 1000

// Patch is a FHIRPath Patch that has been read. Apply may be called any number of times.
type Patch struct{ operations []operation }

// operation is one operation of the patch as the Parameters give it.
type operation struct {
	kind, path, name    string
	index               int
	source, destination int
	value               fhir.Node // the part named value
}

func unfit(why string) error {
	return fhir.NewProblem(fhir.Unprocessable, "processing", "the patch does not fit the resource: "+why)
}

// ReadPatch reads a patch from a Parameters resource that was checked when it was parsed.
func ReadPatch(res *fhir.Resource) (*Patch, error) {
	if res.Type != "Parameters" {
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "a FHIRPath Patch is a Parameters resource")
	}
	p := &Patch{}
	for _, parameter := range res.Root.Get("parameter").List() {
		if parameter.Get("name").Text() != "operation" {
			return nil, fhir.NewProblem(fhir.Invalid, "invalid", "every parameter of a FHIRPath Patch is an operation")
		}
		op, err := readOperation(parameter)
		if err != nil {
			return nil, err
		}
		p.operations = append(p.operations, op)
	}
	if len(p.operations) == 0 {
		return nil, fhir.NewProblem(fhir.Invalid, "required", "the patch has no operation")
	}
	if len(p.operations) > maxOperations {
		return nil, fhir.NewProblem(fhir.TooLarge, "too-costly", "the patch has too many operations")
	}
	return p, nil
}

func readOperation(parameter fhir.Node) (operation, error) {
	op := operation{index: -1, source: -1, destination: -1}
	number := func(part fhir.Node) int {
		n, err := strconv.Atoi(part.Get("valueInteger").Text())
		if err != nil {
			return -1
		}
		return n
	}
	for _, part := range parameter.Get("part").List() {
		switch part.Get("name").Text() {
		case "type":
			op.kind = part.Get("valueCode").Text()
		case "path":
			op.path = part.Get("valueString").Text()
		case "name":
			op.name = part.Get("valueString").Text()
		case "value":
			op.value = part
		case "index":
			op.index = number(part)
		case "source":
			op.source = number(part)
		case "destination":
			op.destination = number(part)
		default:
			return op, fhir.NewProblem(fhir.Invalid, "invalid", "an operation of the patch has a part R4 does not know")
		}
	}
	return op, op.check()
}

// check holds an operation to the parts R4 demands of its kind.
func (op operation) check() error {
	missing := false
	switch op.kind {
	case "add":
		missing = op.name == "" || op.value.IsZero()
	case "insert":
		missing = op.index < 0 || op.value.IsZero()
	case "replace":
		missing = op.value.IsZero()
	case "move":
		missing = op.source < 0 || op.destination < 0
	case "delete":
	default:
		return fhir.NewProblem(fhir.Invalid, "invalid", "an operation of the patch is none of add, insert, delete, replace and move")
	}
	if missing || op.path == "" {
		return fhir.NewProblem(fhir.Invalid, "required", "an operation of the patch lacks a part it needs")
	}
	return nil
}

// Apply makes the operations one after the other on a copy of a resource. What comes out is JSON and not yet checked.
func (p *Patch) Apply(res *fhir.Resource) ([]byte, error) {
	root := grow(res.Root)
	for _, op := range p.operations {
		e, err := compile(op.path, res.Type)
		if err != nil {
			return nil, err
		}
		if err := op.apply(res.Type, root, e); err != nil {
			return nil, err
		}
	}
	return root.write(nil), nil
}

func (op operation) apply(typ string, root *node, e expression) error {
	switch op.kind {
	case "insert", "move":
		return op.inList(typ, root, e)
	}
	places, err := e.find(typ, root)
	if err != nil {
		return err
	}
	switch {
	case op.kind == "delete" && len(places) == 0: // what is not there need not go
		return nil
	case len(places) != 1:
		return unfit("a path does not reach exactly one element")
	}
	at := places[0]
	switch op.kind {
	case "add":
		return op.add(typ, at)
	case "delete":
		return at.remove()
	}
	return op.replace(typ, at)
}

func (op operation) add(typ string, at place) error {
	if at.value.kind != '{' {
		return unfit("add needs an element that has elements")
	}
	name, shape, err := element(typ, at.path, op.name, op.value)
	if err != nil {
		return err
	}
	value, err := build(typ, append(slices.Clone(at.path), name), op.value)
	if err != nil {
		return err
	}
	if shape.Repeats {
		list := at.value.get(name)
		if list == nil {
			list = &node{kind: '['}
			at.value.set(name, list)
		}
		return place{owner: at.value, name: name}.insert(list, len(list.items), value)
	}
	for _, taken := range append(shape.Choices, name) {
		if at.value.get(taken) != nil {
			return unfit("add names an element that is there and does not repeat")
		}
	}
	at.value.set(name, value)
	return nil
}

// element is the JSON name of an element, which for a choice depends on the value's type.
func element(typ string, path []string, name string, value fhir.Node) (string, fhir.Shape, error) {
	shape := fhir.ShapeOf(typ, append(slices.Clone(path), name)...)
	if !shape.Known {
		return "", shape, malformed("names an element R4 does not have there")
	}
	if shape.Choices != nil {
		_, suffix := valueOf(value)
		if name += suffix; !slices.Contains(shape.Choices, name) {
			return "", shape, unfit("a value is of a type the element cannot have")
		}
	}
	return name, shape, nil
}

func (op operation) replace(typ string, at place) error {
	if at.owner == nil {
		return unfit("replace names the whole resource")
	}
	if at.index >= 0 {
		value, err := build(typ, at.path, op.value)
		if err != nil {
			return err
		}
		if err := at.plain(); err != nil {
			return err
		}
		at.owner.get(at.name).items[at.index] = value
		return nil
	}
	name := at.name
	if choice := choiceOf(typ, at); choice != "" {
		var err error
		if name, _, err = element(typ, at.path[:len(at.path)-1], choice, op.value); err != nil {
			return err
		}
	}
	value, err := build(typ, append(slices.Clone(at.path[:len(at.path)-1]), name), op.value)
	if err != nil {
		return err
	}
	for i, m := range at.owner.members { // in its old position
		if m.name == at.name {
			at.owner.members[i] = member{name, value}
		}
	}
	at.owner.drop("_" + at.name)
	return nil
}

// choiceOf is the name without type of the choice element a place is an alternative of, "" when it is none.
func choiceOf(typ string, at place) string {
	for i := len(at.name) - 1; i > 0; i-- {
		if at.name[i] < 'A' || at.name[i] > 'Z' {
			continue
		}
		shape := fhir.ShapeOf(typ, append(slices.Clone(at.path[:len(at.path)-1]), at.name[:i])...)
		if slices.Contains(shape.Choices, at.name) {
			return at.name[:i]
		}
	}
	return ""
}

func (p place) remove() error {
	if p.owner == nil {
		return unfit("delete names the whole resource")
	}
	if p.index < 0 {
		p.owner.drop(p.name)
		return nil
	}
	if err := p.plain(); err != nil {
		return err
	}
	list := p.owner.get(p.name)
	list.items = slices.Delete(list.items, p.index, p.index+1)
	if len(list.items) == 0 {
		p.owner.drop(p.name)
	}
	return nil
}

// plain refuses lists of primitives with extensions: those stand in a second list that would no longer fit.
func (p place) plain() error {
	if p.owner.get("_"+p.name) != nil {
		return unfit("a list of primitive values with extensions cannot be changed item by item")
	}
	return nil
}

func (p place) insert(list *node, index int, value *node) error {
	if err := p.plain(); err != nil {
		return err
	}
	if list.kind != '[' || index > len(list.items) {
		return unfit("an index lies outside the list")
	}
	list.items = slices.Insert(list.items, index, value)
	return nil
}

// inList does insert and move, whose path names a whole list.
func (op operation) inList(typ string, root *node, e expression) error {
	if len(e) == 0 || e[len(e)-1].kind != "member" {
		return malformed("of an insert or move must end with the name of a list")
	}
	name := e[len(e)-1].name
	owners, err := e[:len(e)-1].find(typ, root)
	if err != nil {
		return err
	}
	if len(owners) != 1 || owners[0].value.kind != '{' {
		return unfit("a path does not reach exactly one list")
	}
	owner := owners[0]
	path := append(slices.Clone(owner.path), name)
	if !fhir.ShapeOf(typ, path...).Repeats {
		return malformed("of an insert or move must name a list")
	}
	at := place{owner: owner.value, name: name, path: path}
	list := owner.value.get(name)
	if op.kind == "move" {
		return op.move(at, list)
	}
	value, err := build(typ, path, op.value)
	if err != nil {
		return err
	}
	if list == nil {
		list = &node{kind: '['}
	}
	if err := at.insert(list, op.index, value); err != nil {
		return err
	}
	owner.value.set(name, list)
	return nil
}

func (op operation) move(at place, list *node) error {
	if err := at.plain(); err != nil {
		return err
	}
	if list == nil || op.source >= len(list.items) || op.destination >= len(list.items) {
		return unfit("an index lies outside the list")
	}
	item := list.items[op.source]
	list.items = slices.Delete(list.items, op.source, op.source+1)
	return at.insert(list, op.destination, item)
}

// valueOf is the value[x] of a part with its type as the JSON name ends with it.
func valueOf(part fhir.Node) (fhir.Node, string) {
	for _, m := range part.Members {
		if suffix, ok := strings.CutPrefix(m.Name, "value"); ok {
			return m.Value, suffix
		}
	}
	return fhir.Node{}, ""
}

// build makes the value of a part: its value[x], its resource, or an element put together from parts of its own.
func build(typ string, path []string, part fhir.Node) (*node, error) {
	if value, _ := valueOf(part); !value.IsZero() {
		return grow(value), nil
	}
	if resource := part.Get("resource"); !resource.IsZero() {
		return grow(resource), nil
	}
	parts := part.Get("part").List()
	if len(parts) == 0 {
		return nil, fhir.NewProblem(fhir.Invalid, "required", "a value of the patch is empty")
	}
	out := &node{kind: '{'}
	for _, p := range parts {
		name, shape, err := element(typ, path, p.Get("name").Text(), p)
		if err != nil {
			return nil, err
		}
		value, err := build(typ, append(slices.Clone(path), name), p)
		if err != nil {
			return nil, err
		}
		switch list := out.get(name); {
		case shape.Repeats && list == nil:
			out.set(name, &node{kind: '[', items: []*node{value}})
		case shape.Repeats:
			list.items = append(list.items, value)
		case list != nil:
			return nil, unfit("a value names an element twice that does not repeat")
		default:
			out.set(name, value)
		}
	}
	return out, nil
}
