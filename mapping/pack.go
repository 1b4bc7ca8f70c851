package mapping

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	slashpath "path"
	"slices"
	"sort"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
)

//go:embed all:packs
var embedded embed.FS

// Packs are the packs that come with the program: one folder each, and shared/ with what several of them include.
func Packs() fs.FS {
	sub, err := fs.Sub(embedded, "packs")
	if err != nil {
		return embedded // "packs" is a valid path: fs.Sub has no other error
	}
	return sub
}

// Layout of a packs folder.
const (
	sharedDir = "shared"
	packFile  = "pack.yaml"
	codesDir  = "codes"
)

// Names lists the packs of a folder: every directory with a pack.yaml.
func Names(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("mapping: list packs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if _, err := fs.Stat(fsys, e.Name()+"/"+packFile); err == nil {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

// A Pack is a loaded, checked pack. It is immutable and may be used by many goroutines at once.
type Pack struct {
	Name, Version, Title string
	// Format is "json" (use MapJSON) or "csv" (use MapFiles).
	Format string

	source  string // name of the id space, shared by packs that describe one record keeper's records
	fsys    fs.FS
	dates   dateRules
	tables  map[string]*table
	cel     *cel.Env
	leaves  int // how many were made
	fields  fieldSet
	order   []int // field numbers by name
	ignored map[int]string
	// consulted names, per field, the first rule that only reads it to decide something.
	consulted map[int]string
	joined    map[int]bool   // columns that rows are grouped or joined by
	restated  map[int]string // columns that say again what another one says, by number
	files     []*fileKind
	comma     rune
	maps      []*recordMap
	buffers   sync.Pool  // of *buffers
	responses *responses // nil unless the pack takes QuestionnaireResponses too

	// used while loading
	facts      []fact
	compilers  []*compiler // one for each mapping, with the places its nodes were written at
	uses       map[int]bool
	usedTables map[string]bool
	lookups    map[string][]lookup // uses of each table
	undecided  []undecided
	doubts     []Fault // legal and suspicious, for lint
	slotRefs   []slotRef

	recordsLine, datesLine int // where pack.yaml lists its records and says how dates are written
}

// LoadAll loads every pack of a folder, in the order of their names and several at a time: most of loading is parsing
// expressions.
func LoadAll(fsys fs.FS) ([]*Pack, error) {
	names, err := Names(fsys)
	if err != nil {
		return nil, err
	}
	packs, faults := make([]*Pack, len(names)), make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { packs[i], faults[i] = Load(fsys, name) })
	}
	group.Wait()
	return packs, errors.Join(faults...)
}

// Load reads and checks a pack of fsys, a folder of packs. All faults come back at once as a *LoadError.
func Load(fsys fs.FS, name string) (*Pack, error) {
	f := &faults{}
	p, err := compilePack(fsys, name, f)
	if err != nil {
		return nil, err
	}
	p.checkAll(f)
	if err := f.err(name); err != nil {
		return nil, err
	}
	p.forget()
	return p, nil
}

// checkAll holds what was compiled against R4, the profiles it claims and its own schema.
func (p *Pack) checkAll(f *faults) {
	for _, c := range p.compilers {
		c.checkShapes()
	}
	p.checkRows(f)
}

// forget lets go of what only loading needs.
func (p *Pack) forget() {
	p.uses, p.slotRefs, p.facts, p.compilers, p.lookups, p.undecided, p.doubts = nil, nil, nil, nil, nil, nil, nil
}

// compilePack reads a pack and compiles its mappings, as far as its faults allow. The error is for what leaves nothing
// to look at; it and every fault so far are in f too.
func compilePack(fsys fs.FS, name string, f *faults) (*Pack, error) {
	if !fs.ValidPath(name) || strings.Contains(name, "/") || name == "." {
		f.add(name, 0, "is not the name of a pack")
		return nil, f.err(name)
	}
	p := &Pack{
		Name: name, fsys: fsys, tables: map[string]*table{}, ignored: map[int]string{},
		consulted: map[int]string{}, joined: map[int]bool{}, uses: map[int]bool{}, usedTables: map[string]bool{}, lookups: map[string][]lookup{},
		facts: readFacts(),
	}
	file := name + "/" + packFile
	root := readYAML(fsys, file, f)
	if root == nil {
		return nil, f.err(name)
	}
	p.readTables(sharedDir, f)
	p.readTables(name, f)
	env, err := newCEL(p)
	if err != nil {
		return nil, fmt.Errorf("mapping: CEL environment: %w", err)
	}
	p.cel = env
	p.read(root, file, f)
	p.findOnlyJoined()
	for _, m := range p.maps {
		if m.assembly != nil {
			m.findCarried()
		}
	}
	p.checkFields(f)
	return p, nil
}

// read takes pack.yaml apart and compiles what it names.
func (p *Pack) read(root *yamlNode, file string, f *faults) {
	s := newSection(root, file, f)
	if got := s.str("pack", true); got != p.Name {
		f.add(file, s.line("pack"), "pack is %q, but its folder is %q", got, p.Name)
	}
	p.Version, p.Title = s.str("version", true), s.str("title", true)
	p.source, p.Format = s.str("source", true), s.str("format", true)
	if dates := s.child("dates"); dates != nil {
		p.dates, p.datesLine = newDateRules(dates, file, f), s.line("dates")
	}
	switch p.Format {
	case "json":
	case "csv":
		p.readFileKinds(s, file, f)
	default:
		f.hint(file, s.line("format"), didYouMean(p.Format, []string{"json", "csv"}), "format must be json or csv")
		// The rest is read as what it looks like, so that its faults are told too.
		if p.Format = "json"; s.child("files") != nil {
			p.Format = "csv"
			p.readFileKinds(s, file, f)
		}
	}
	switch accepts := s.str("accepts", false); accepts {
	case "":
	case "questionnaire-response":
		p.readResponses(file, s.line("accepts"), f)
	default:
		f.hint(file, s.line("accepts"), didYouMean(accepts, []string{"questionnaire-response"}), "there is no other form of records called %q", accepts)
	}
	records := s.list("records")
	p.recordsLine = s.line("records")
	if len(records) == 0 {
		f.add(file, root.line, "records is missing: the mapping files of the pack")
	}
	for _, n := range records {
		p.readRecord(n, file, f)
	}
	s.done()
}

// readRecord compiles one mapping file with its schema or assembly.
func (p *Pack) readRecord(n *yamlNode, file string, f *faults) {
	s := newSection(n, file, f)
	m := &recordMap{pack: p, varSlot: map[string]int{}, file: p.Name + "/" + s.str("map", true)}
	if p.Format == "json" {
		schema := readSchema(p.fsys, p.Name+"/"+s.str("schema", true), f)
		if schema == nil {
			return
		}
		m.schema = newNativeSchema(schema)
		m.tree = p.fields.tree(schema, "", 0)
	} else if !p.readAssembly(s, m, file, f) {
		return
	}
	s.done()
	root := readYAML(p.fsys, m.file, f)
	if root == nil {
		return
	}
	c := &compiler{p: p, m: m, file: m.file, f: f, envs: map[string]*cel.Env{}, walked: map[string]int{}}
	c.compileMap(root)
	p.compilers = append(p.compilers, c)
	p.maps = append(p.maps, m)
}

// readTables reads every CSV below dir/codes.
func (p *Pack) readTables(dir string, f *faults) {
	entries, err := fs.ReadDir(p.fsys, dir+"/"+codesDir)
	if err != nil {
		return // no code tables here
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".csv")
		if !ok {
			f.add(dir+"/"+codesDir+"/"+e.Name(), 0, "is not a .csv file")
			continue
		}
		p.tables[name] = readTable(p.fsys, slashpath.Join(dir, codesDir, e.Name()), name, f)
	}
}

// checkFields faults native fields that are neither mapped nor ignored, so that nothing is lost unsaid.
func (p *Pack) checkFields(f *faults) {
	p.order = make([]int, len(p.fields.names))
	for i, name := range p.fields.names {
		p.order[i] = i
		if !p.uses[i] && p.ignored[i] == "" {
			f.hint(p.Name+"/"+packFile, p.recordsLine, `map it, or add to ignore: {field: "`+name+`", reason: …}`,
				"native field %q is neither mapped nor ignored with a reason", name)
		}
	}
	sort.Slice(p.order, func(i, j int) bool { return p.fields.names[p.order[i]] < p.fields.names[p.order[j]] })
}

// Types lists the types of resources that records of the pack can make.
func (p *Pack) Types() []string {
	seen := map[string]bool{}
	for _, m := range p.maps {
		for i := range m.emissions {
			seen[m.emissions[i].resource] = true
		}
		if m.provenance != nil {
			seen["Provenance"] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
